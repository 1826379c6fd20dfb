"""Small images with the boot partition of Raspberry Pi OS, made on the spot.

Belongs here: what several tests of images share.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from random import Random

from homelab_platform.tools.disks.fat import FatPartition
from homelab_platform.tools.disks.partitions import boot_partition
from homelab_platform_tests.testlab.requirements import ensure

MIB = 1 << 20
COMMAND_LINE = "console=serial0,115200 console=tty1 root=PARTUUID=1a2b3c4d-02 rootfstype=ext4 fsck.repair=yes rootwait"
TRIXIE = {
    "cmdline.txt": f"{COMMAND_LINE}\n",
    "config.txt": "dtparam=audio=on\n",
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n# examples, all of them comments\n",
    "network-config": "network:\n  version: 2\n",
}
"""What the boot partition of Raspberry Pi OS (trixie) has, of what matters here."""
BOOKWORM = {"cmdline.txt": f"{COMMAND_LINE} init=/usr/lib/raspberrypi-sys-mods/firstboot\n", "config.txt": "\n"}
_TABLES = {
    "dos": "label: dos\nstart=8192, size=32768, type=c\nstart=40960, type=83\n",
    "gpt": "label: gpt\nstart=8192, size=32768, type=uefi\nstart=40960, size=30000, type=linux\n",
}


def make_image(file: Path, files: Mapping[str, str] = TRIXIE, table: str = "dos") -> Path:
    """An image with a FAT partition that has `files`, and a second partition of random bytes."""
    for program, package in (("sfdisk", "fdisk"), ("mcopy", "mtools")):
        assert ensure(program, package), f"{package} is needed"
    with file.open("wb") as stream:
        stream.truncate(40 * MIB)
    subprocess.run(["sfdisk", "--quiet", file], input=_TABLES[table], text=True, check=True)
    boot = f"{file}@@{8192 * 512}"
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(["mformat", "-i", boot, "-T", "32768", "-v", "bootfs", "::"], check=True, env=environment)
    for name, content in files.items():
        subprocess.run(["mcopy", "-i", boot, "-", f"::/{name}"], input=content.encode(), check=True, env=environment)
    with file.open("r+b") as stream:
        stream.seek(40960 * 512)
        stream.write(Random(5).randbytes(8 * MIB))
    return file


def boot_of(image: Path) -> FatPartition:
    """The boot partition of an image."""
    return FatPartition(image, boot_partition(image))

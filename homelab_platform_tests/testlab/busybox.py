"""An image with a shell and small programs, for pods that tests start: Debian's busybox, 2 MB.

Belongs here: making it once. Not here: images of real workloads (debian_images.py).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from homelab_platform.names import Say, silent
from homelab_platform.servers.install import apt, shared
from homelab_platform_tests.testlab.images import Image

NAME = "localhost/busybox:1"
PACKAGE = "busybox"  # not the static one: that one cannot ask for names
RECIPE = shared.Recipe("test-image-busybox", "2", PACKAGE)


def busybox_image(progress: Say = silent) -> Image:
    """The image; its package is fetched first if need be. Raises HomelabError when it cannot be had."""
    return Image(NAME, (shared.install(RECIPE, _make, progress) / "root",), command=("sh",))


def _make(folder: Path, progress: Say) -> None:
    package, programs = folder / "package", folder / "root" / "bin"
    apt.unpack(PACKAGE, [package / "bin" / "busybox"], package, progress)
    programs.mkdir(parents=True)
    busybox = (package / "bin" / "busybox").rename(programs / "busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (programs / name).symlink_to("busybox")
    for empty in ("tmp", "etc", "root"):
        (folder / "root" / empty).mkdir()
    for library in _libraries(busybox):
        place = folder / "root" / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    (folder / "root" / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (folder / "root" / "etc" / "nsswitch.conf").write_text("hosts: files dns\n")


def _libraries(program: Path) -> list[Path]:
    """The libraries of this machine that a program of this machine's distribution needs (ldd(1))."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(word) for word in said.split() if word.startswith("/")]

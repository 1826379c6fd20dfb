"""Which disks are refused, which have to be named, and that a disk is looked at once more before it is written."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.images.flash import check_disk, flash, holdings, needs_typed_confirmation
from homelab_platform.tools.disks.probe import Disk, disk_of, look
from homelab_platform.tools.disks.source import Image, survey

CONTENT = Random(3).randbytes(4 << 20)
CARD = 64 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("image") / "pi.img"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A blank card as a file."""
    file = tmp_path / "card"
    with file.open("wb") as stream:
        stream.truncate(CARD)
    return file


def make_ext4(place: str | Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "photos", place], check=True)


def test_the_disk_that_this_machine_runs_from_is_refused(image: Path) -> None:
    found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", "/"], capture_output=True, text=True, check=True).stdout
    disk = look(found.strip())
    assert disk.runs_this_machine
    with pytest.raises(HomelabError, match="the disk that this machine runs from"):
        check_disk(disk, survey(image))


# What lsblk says of a laptop: its own disk encrypted, a used card of a Pi, a reader without a card.
LSBLK = """{"blockdevices": [{"name": "/dev/%s", "type": "%s", "size": %d, "model": "%s", "tran": "%s", "rm": true,
  "ro": false, "fstype": null, "label": null, "mountpoints": [null], "children": [%s]}]}"""
PART = """{"name": "/dev/%s", "type": "%s", "size": 1, "model": null, "tran": null, "rm": false, "ro": false,
  "fstype": "%s", "label": %s, "mountpoints": [%s]%s}"""
CRYPT = PART % ("mapper/root", "crypt", "btrfs", "null", '"/home", "/"', "")
OWN = LSBLK % ("nvme0n1", "disk", 10**12, "Samsung 990", "nvme",
               PART % ("nvme0n1p2", "part", "crypto_LUKS", "null", "null", f', "children": [{CRYPT}]'))  # fmt: skip
USED = LSBLK % ("sdb", "disk", 32 * 10**9, "Ultra ", "usb",
                ",".join((PART % ("sdb1", "part", "vfat", '"bootfs"', "null", ""),
                          PART % ("sdb2", "part", "ext4", '"rootfs"', "null", ""))))  # fmt: skip
POOL = LSBLK % ("sdc", "disk", 10**12, "WD", "sata",
                PART % ("vg-data", "lvm", "xfs", "null", "null", ""))  # fmt: skip
EMPTY = LSBLK % ("sdd", "disk", 0, "Reader", "usb", "")
SMALL = Image(Path("pi.img"), 3 * 10**9)


def test_disks_are_told_apart_as_lsblk_describes_them() -> None:
    used = disk_of(USED, "/dev/sdb")
    assert (used.model, used.transport, used.holds) == ("Ultra", "usb", ('vfat "bootfs"', 'ext4 "rootfs"'))
    check_disk(used, SMALL)
    assert needs_typed_confirmation(used)
    for text, path, what in (
        (OWN, "/dev/nvme0n1", "runs from"),
        (POOL, "/dev/sdc", "in use by /dev/vg-data"),
        (EMPTY, "/dev/sdd", "holds no card"),
    ):
        with pytest.raises(HomelabError, match=what):
            check_disk(disk_of(text, path), SMALL)
    with pytest.raises(HomelabError, match=r"too small: 32,000,000,000 bytes, pi.img needs 40,000,000,000"):
        check_disk(used, Image(Path("pi.img"), 40 * 10**9))
    with pytest.raises(HomelabError, match="is a partition"):
        check_disk(Disk("/dev/sdb1", "part", CARD, parent="/dev/sdb"), SMALL)


def test_bytes_of_no_known_kind_are_somebodys_too(card: Path) -> None:
    assert look(str(card)).blank and not needs_typed_confirmation(look(str(card)))
    with card.open("r+b") as stream:
        stream.seek(9999)
        stream.write(b"keys of an encrypted disk")
    assert needs_typed_confirmation(look(str(card))) and holdings(look(str(card))) == "data of an unknown kind"


def test_a_card_that_is_exchanged_after_the_question_is_not_written_to(image: Path, card: Path) -> None:
    before = look(str(card))
    make_ext4(card)
    held = card.read_bytes()
    with pytest.raises(HomelabError, match="is another disk now"):
        flash(before, survey(image), lambda *_of: None)
    assert card.read_bytes() == held

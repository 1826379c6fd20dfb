"""The partitions of an image file, as `sfdisk` reads them: no kernel has to know the table.

Belongs here: finding a partition. Not here: what is in it (fat.py).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from homelab_platform.errors import HomelabError

FAT_TYPES = frozenset(
    {"1", "4", "6", "b", "c", "e", "ef"}
    | {"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"}
)
"""MBR types of FAT, and the GPT types that firmware reads FAT from: EFI system, Microsoft basic data."""


@dataclass(frozen=True)
class Partition:
    """A partition: where it begins and how long it is, in bytes."""

    begin: int
    size: int


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")
    start: int
    size: int
    type: str


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore")
    sectorsize: int = 512
    partitions: list[_Row] = []


class _Answer(BaseModel):
    partitiontable: _Table


def boot_partition(image: Path) -> Partition:
    """The first FAT partition of an image, which the firmware reads.

    Raises HomelabError if the image has no partition table, no such partition, or ends before it does.
    """
    table = _table(image)
    row = next((row for row in table.partitions if row.type.lower() in {kind.lower() for kind in FAT_TYPES}), None)
    if row is None:
        raise HomelabError.of(
            str(image), "has no FAT partition to start from", "Is it an image of Raspberry Pi OS? Take one of those."
        )
    found = Partition(row.start * table.sectorsize, row.size * table.sectorsize)
    if found.begin + found.size > image.stat().st_size:
        raise HomelabError.of(str(image), "ends before its boot partition does", "Download it again.")
    return found


def _table(image: Path) -> _Table:
    try:
        done = subprocess.run(["sfdisk", "--json", image], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HomelabError.of("sfdisk", "is not installed here", "sudo apt-get install fdisk") from None
    if done.returncode:
        raise HomelabError.of(str(image), "has no partition table", "Is it the image of a whole card?")
    return _Answer.model_validate_json(done.stdout).partitiontable

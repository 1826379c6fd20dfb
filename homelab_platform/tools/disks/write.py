"""Writing an image to a disk so that it is whole or does not start.

Belongs here: the order of writes and comparisons. Not here: whether the disk may be overwritten (layers/images), or
how bytes reach it (medium.py).

The first sector holds the partition table, without which no firmware starts anything. It says `not finished` from the
first write on; everything else is written, brought to the disk, read back and compared; only then the image's own first
sector is written, one sector at once. Whatever cuts this off earlier leaves a disk that says that it is not finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from homelab_platform.errors import HomelabError
from homelab_platform.tools.disks.ahead import filled_ahead
from homelab_platform.tools.disks.capacity import check_capacity
from homelab_platform.tools.disks.medium import Medium, aligned
from homelab_platform.tools.disks.probe import UNFINISHED
from homelab_platform.tools.disks.source import DAMAGED, Image, damaged, fill, opened

BLOCK = 4 << 20
"""Bytes of one transfer: the erase block of common cards."""

Progress = Callable[[str, int, int], None]
"""Takes what is done (`checking`, `writing`, `comparing`), how many bytes of it are done, and of how many."""


@dataclass(frozen=True)
class Written:
    """What a finished write did: bytes of the image, SHA-256 of them as read back, blocks of the capacity check."""

    size: int
    sha256: str
    capacity_blocks: int


@dataclass(frozen=True)
class _Sent:
    """What went to the disk: the image's first sector, not written yet; SHA-256 of all; checksum of each block."""

    first: bytes
    sha256: str
    checksums: list[int]
    padded: int


def write_image(medium: Medium, image: Image, progress: Progress, *, block: int = BLOCK) -> Written:
    """Write an image to a disk, read it back, compare, and only then make it startable.

    Raises HomelabError, with the disk left unfinished, if the disk lies about its size, fails, or reads back other
    bytes, or if the image cannot be read to its end or is another one than when it was surveyed.
    """
    if image.size > medium.size:
        raise too_small(medium.path, medium.size, image)
    _mark_unfinished(medium, image)
    progress("checking", 0, medium.size)
    blocks = check_capacity(medium)
    sent = _send(medium, image, progress, block)
    _compare(medium, sent, image.size, progress, block)
    _finish(medium, sent.first)
    return Written(image.size, sent.sha256, blocks)


def too_small(path: str, size: int, image: Image) -> HomelabError:
    """The error for a disk that the image does not fit on."""
    return HomelabError.of(
        path, f"is too small: {size:,} bytes, {image.path.name} needs {image.size:,}", "Use a larger card."
    )


def _mark_unfinished(medium: Medium, image: Image) -> None:
    medium.write_at(0, _marker(medium.sector, image.path))
    medium.sync()


def _marker(sector: int, image: Path) -> memoryview:
    note = (UNFINISHED + f"image: {image.name}\n".encode())[: sector - 1]
    marker = aligned(sector)
    marker[: len(note)] = note
    return marker


def _send(medium: Medium, image: Image, progress: Progress, block: int) -> _Sent:
    """Write all of the image but its first sector."""
    digest, checksums, first, offset = hashlib.sha256(), [], b"", 0
    marker = _marker(medium.sector, image.path)
    progress("writing", 0, image.size)

    with image.path.open("rb", buffering=0) as file, opened(image.path, file) as content:

        def read(buffer: memoryview) -> int:
            try:
                got = fill(content, buffer)
            except DAMAGED as error:
                raise damaged(image.path, error) from None
            digest.update(buffer[:got])
            return got

        with filled_ahead(read, block) as buffers:
            for data in buffers:
                whole = _padded(data, medium.sector)
                if offset == 0:
                    first = bytes(whole[: medium.sector])
                checksums.append(isal_zlib.crc32(whole))
                if offset == 0:
                    whole[: medium.sector] = marker
                _check_room(medium, image, offset + len(data))
                medium.write_at(offset, whole)
                offset += len(whole)
                progress("writing", offset, image.size)
    if offset - image.size not in range(medium.sector):
        raise HomelabError.of(str(image.path), "changed while it was written", "Flash again.")
    medium.sync()
    return _Sent(first, digest.hexdigest(), checksums, offset)


def _check_room(medium: Medium, image: Image, end: int) -> None:
    if end > image.size:
        raise HomelabError.of(str(image.path), "changed while it was written", "Flash again.")


def _padded(data: memoryview, sector: int) -> memoryview:
    """The buffer up to the end of its last sector, zeros behind what it holds."""
    whole = -(-len(data) // sector) * sector
    if whole == len(data):
        return data
    padded = aligned(whole)
    padded[: len(data)] = data
    return padded


def _compare(medium: Medium, sent: _Sent, size: int, progress: Progress, block: int) -> None:
    """Read everything back and compare it, the image's first sector, which is not written yet, from memory.

    Raises HomelabError with the place of the first block that differs.
    """
    digest = hashlib.sha256()
    begin = 0
    progress("comparing", 0, size)

    def read(buffer: memoryview) -> int:
        nonlocal begin
        length = min(len(buffer), sent.padded - begin)
        if length:
            medium.read_at(begin, buffer[:length])
        if begin == 0:
            buffer[: len(sent.first)] = sent.first
        begin += length
        return length

    offset = 0
    with filled_ahead(read, block) as buffers:
        for checksum, data in zip(sent.checksums, buffers, strict=False):
            if isal_zlib.crc32(data) != checksum:
                raise _differs(medium, offset)
            digest.update(data[: size - offset])
            offset += len(data)
            progress("comparing", offset, size)
    if offset != sent.padded or digest.hexdigest() != sent.sha256:
        raise _differs(medium, 0)


def _differs(medium: Medium, offset: int) -> HomelabError:
    return HomelabError.of(
        medium.path,
        f"reads back other data than was written, in the block at byte {offset:,}; what is on it does not start",
        "The card or the reader is damaged. Try another reader, then another card.",
    )


def _finish(medium: Medium, first: bytes) -> None:
    """Write the image's first sector, and see that it is there."""
    sector = aligned(len(first))
    sector[:] = first
    medium.write_at(0, sector)
    medium.sync()
    again = aligned(len(first))
    medium.read_at(0, again)
    if again != sector:
        raise _differs(medium, 0)

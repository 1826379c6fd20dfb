"""Finding out a card that lies about its size, before anything is written that matters.

Belongs here: where to write, and comparing. A counterfeit card answers for more bytes than it has: what is written
beyond its real size is dropped, or lands on top of an earlier place (address modulo real size). The first kind shows
at any place beyond the real size. For the second, two places must differ by the real size: the units 0, 1 … m-1 and
n-1, n-1-m, n-1-2m … of n units have every difference from 1 to n-1 between them (a difference basis), so some 2√n
blocks find every real size that is a multiple of the unit.
"""

from __future__ import annotations

import hashlib
import secrets
from math import isqrt

from homelab_platform.errors import HomelabError
from homelab_platform.tools.disks.medium import ALIGNMENT, Medium, aligned

_UNIT = 1 << 20
"""Cards of up to 80 GiB are looked through by whole MiB; larger disks by a power of two of them."""
_MOST_PLACES = 600
_FIRST = ALIGNMENT
"""The first sector is left alone: it says that the disk is being written."""


def places(size: int) -> list[int]:
    """Byte offsets of the blocks to write on a disk of `size` bytes, ascending, the very last block among them."""
    unit = _UNIT
    while 2 * (isqrt(size // unit) + 1) > _MOST_PLACES:
        unit *= 2
    units = size // unit
    step = isqrt(units) + 1
    chosen = {*range(min(step, units)), *range(units - 1, -1, -step)}
    last = (size - ALIGNMENT) // ALIGNMENT * ALIGNMENT
    offsets = {place * unit + _FIRST for place in chosen} | {last}
    return sorted(offset for offset in offsets if _FIRST <= offset <= last)


def check_capacity(medium: Medium) -> int:
    """Write a block of its own at each of `places` and read all of them back; how many there were.

    What was there is lost. Raises HomelabError, with the size up to which the disk can be real, if one does not come
    back.
    """
    offsets = places(medium.size)
    token = secrets.token_bytes(16)
    block = aligned(ALIGNMENT)
    for offset in offsets:
        block[:] = _pattern(token, offset)
        medium.write_at(offset, block)
    medium.sync()
    for offset in offsets:
        medium.read_at(offset, block)
        if block != _pattern(token, offset):
            raise _lies(medium, offset)
    return len(offsets)


def _pattern(token: bytes, offset: int) -> bytes:
    """A block that no other place and no other run has."""
    seed = hashlib.sha256(token + offset.to_bytes(8, "big"))
    return hashlib.shake_128(seed.digest()).digest(ALIGNMENT)


def _lies(medium: Medium, offset: int) -> HomelabError:
    return HomelabError.of(
        medium.path,
        f"does not have the size that it says ({medium.size:,} bytes): "
        f"what is written at byte {offset:,} does not come back",
        "It is a counterfeit or worn-out card. Nothing of the image was written; use another one.",
    )

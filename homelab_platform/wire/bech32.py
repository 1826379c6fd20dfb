"""Bech32 (BIP 173, without its limit of length): how age writes its keys.

Belongs here: the encoding and its checksum.
"""

from __future__ import annotations

from collections.abc import Sequence

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    """`data` under a human-readable `prefix` in lower case."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]
    check = _checksum(prefix, [*values, 0, 0, 0, 0, 0, 0]) ^ 1
    ending = [(check >> 5 * (5 - i)) & 31 for i in range(6)]
    return f"{prefix}1" + "".join(CHARSET[value] for value in [*values, *ending])


def is_valid(text: str) -> bool:
    """Whether the checksum of `text` holds."""
    prefix, _, data = text.rpartition("1")
    if not prefix or not data or not set(data) <= set(CHARSET):
        return False
    return _checksum(prefix, [CHARSET.index(c) for c in data]) == 1


def _checksum(prefix: str, values: Sequence[int]) -> int:
    check = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            check ^= _GENERATOR[bit] if top >> bit & 1 else 0
    return check

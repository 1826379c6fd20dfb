"""Raw bytes to whole lines, in blocks of bounded size, whatever the object holds.

Belongs here: cutting at newlines. Not here: decompression (content), what a line means (record, decode). A block
never holds more than `BLOCK` bytes, and a line that is longer than the limit is skipped without being held in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from homelab_platform.wire.contract import MAX_LINE, MAX_RAW

BLOCK = 8 * 1024 * 1024
PAD = 4096  # bytes behind a block that the compiled scanner may read
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
_NEWLINE = 10
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]


class BrokenObject(Exception):
    """The object as a whole cannot be read: nothing of it is ingested."""


@dataclass(frozen=True)
class Block:
    """Whole lines: `data[:size]` ends with a newline. The array is used again for the next block."""

    data: NDArray[np.uint8]
    size: int

    def tobytes(self) -> bytes:
        """The lines as bytes."""
        return self.data[: self.size].tobytes()


@dataclass(frozen=True)
class LongLine:
    """A line beyond the limit: its first bytes and its whole length."""

    head: bytes
    length: int


def _fill(stream: BinaryIO, view: memoryview) -> int:
    """Read until `view` is full or the stream ends. Raises BrokenObject when the compressed data is damaged."""
    filled = 0
    try:
        while filled < len(view):
            more = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not more:
                break
            filled += more
    except (EOFError, OSError, zlib.error, _ISAL_ERROR) as error:
        if type(error) is OSError:
            raise
        raise BrokenObject(f"damaged gzip: {error}") from None
    return filled


def blocks(stream: BinaryIO, *, block: int = BLOCK, longest: int = MAX_LINE) -> Iterator[Block | LongLine]:
    """The lines of a plain stream, in order. A UTF-8 byte order mark is dropped; the last line need not end."""
    data = np.zeros(block + PAD, dtype=np.uint8)
    view = memoryview(data)  # type: ignore[arg-type]
    held, first = 0, True
    while True:
        read = _fill(stream, view[held:block])
        size = held + read
        if first and view[: len(BOM)] == BOM and size >= len(BOM):
            data[: size - len(BOM)] = data[len(BOM) : size].copy()
            size -= len(BOM)
        first = False
        ended = held + read < block
        cut = size if ended else _last_newline(data, size)
        if ended and size and data[size - 1] != _NEWLINE:
            data[size] = _NEWLINE
            cut = size + 1
        if cut:
            data[cut if ended else block :] = 0
            yield from _split(data, cut, longest)
        if ended:
            return
        held = size - cut
        if held > longest:
            line, held = _skip(stream, view[:block], data, cut, held)
            yield line
        else:
            data[:held] = data[cut:size].copy()


def _last_newline(data: NDArray[np.uint8], size: int) -> int:
    """The position behind the last newline; 0 if there is none."""
    stop = size
    while stop > 0:
        start = max(0, stop - 65_536)
        found = data[start:stop].tobytes().rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def _split(data: NDArray[np.uint8], size: int, longest: int) -> Iterator[Block | LongLine]:
    """The block as it is, or in pieces around lines beyond the limit."""
    raw = data[:size]
    if size <= longest or not _may_hold_long(raw, longest):
        yield Block(data, size)
        return
    ends = np.flatnonzero(raw == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    begin = 0
    for index in np.flatnonzero(ends - starts > longest):
        start, end = int(starts[index]), int(ends[index])
        if start > begin:
            yield _copy(data, begin, start)
        yield LongLine(data[start : start + MAX_RAW].tobytes(), end - start)
        begin = end + 1
    if begin < size:
        yield _copy(data, begin, size)


def _may_hold_long(raw: NDArray[np.uint8], longest: int) -> bool:
    """Whether a line may be longer than `longest`: then some window of half that length holds no newline."""
    step = longest // 2
    for start in range(0, len(raw) - step + 1, step):
        if (
            not (raw[start : start + min(step, 4096)] == _NEWLINE).any()
            and not (raw[start : start + step] == _NEWLINE).any()
        ):
            return True
    return False


def _copy(data: NDArray[np.uint8], start: int, stop: int) -> Block:
    piece = np.zeros(stop - start + PAD, dtype=np.uint8)
    piece[: stop - start] = data[start:stop]
    return Block(piece, stop - start)


def _skip(stream: BinaryIO, view: memoryview, data: NDArray[np.uint8], cut: int, held: int) -> tuple[LongLine, int]:
    """Read past the end of a line that is too long; what was read behind it moves to the front of the buffer."""
    head = data[cut : cut + MAX_RAW].tobytes()
    length = held
    while True:
        read = _fill(stream, view)
        found = data[:read].tobytes().find(b"\n")
        if found >= 0:
            rest = read - found - 1
            data[:rest] = data[found + 1 : read].copy()
            return LongLine(head, length + found), rest
        length += read
        if read < len(view):
            return LongLine(head, length), 0

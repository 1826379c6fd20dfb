"""Readings as columns while they are in memory: dictionary codes for texts, numpy arrays for numbers.

Belongs here: collecting decoded chunks of several objects until they are written. Not here: decoding (decode), sorting,
removing duplicates and writing (parts).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homelab_platform.readings.decode.record import Rejected, Row
from homelab_platform.wire.contract import TEXT_COLUMNS

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Column = NDArray[Any]


class Interner:
    """Texts and their codes, in order of first appearance."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.codes: dict[str, int] = {}
        self.size = 0  # characters held

    def code(self, value: str | None) -> int:
        """The code of a text, new if need be; -1 for none."""
        if value is None:
            return -1
        found = self.codes.get(value)
        if found is None:
            found = self.codes[value] = len(self.values)
            self.values.append(value)
            self.size += len(value)
        return found


@dataclass
class Chunk:
    """Some decoded readings. Texts are codes of the buffer's interners (-1: none); doubles use NaN and booleans -1
    for none; `line` is where each stood in its object.
    """

    ts: Ints
    value: Floats
    line: Ints
    codes: dict[str, Codes]
    extras: dict[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts)

    def where(self, mask: NDArray[np.bool_]) -> Chunk:
        """Only the rows that `mask` selects."""
        return self._each(lambda column: column[mask])

    def cut(self, start: int, stop: int) -> Chunk:
        """The rows from `start` until `stop`, as views."""
        return self._each(lambda column: column[start:stop])

    def _each(self, change: Callable[[Any], Any]) -> Chunk:
        return Chunk(
            change(self.ts),
            change(self.value),
            change(self.line),
            {k: change(v) for k, v in self.codes.items()},
            {k: change(v) for k, v in self.extras.items()},
        )


def empty_extra(kind: str, length: int) -> Column:
    """A column of `length` absent values of an extra column's kind."""
    if kind == "string":
        return np.full(length, -1, dtype=np.int32)
    if kind == "boolean":
        return np.full(length, -1, dtype=np.int8)
    return np.full(length, np.nan)


class RowBuffer:
    """Decoded readings that are not written yet, with the object each came from."""

    def __init__(self, kinds: dict[str, str]) -> None:
        """`kinds` of extra columns; the decoder adds to it while it meets new fields."""
        self.kinds = kinds
        self.texts: dict[str, Interner] = {}
        self._chunks: list[Chunk] = []
        self._sources: list[tuple[int, int]] = []  # (object, rows) of each chunk
        self.rows = 0

    def interner(self, column: str) -> Interner:
        """The texts of a column."""
        return self.texts.setdefault(column, Interner())

    @property
    def text_size(self) -> int:
        """Characters of all texts held."""
        return sum(i.size for i in self.texts.values())

    def add(self, chunk: Chunk, source: int) -> None:
        """Append rows of the object number `source`."""
        if len(chunk):
            self._chunks.append(chunk)
            self._sources.append((source, len(chunk)))
            self.rows += len(chunk)

    def drop(self, source: int) -> None:
        """Forget every row of an object, because it turned out to be broken."""
        kept = [(c, s) for c, s in zip(self._chunks, self._sources, strict=True) if s[0] != source]
        self._chunks = [c for c, _ in kept]
        self._sources = [s for _, s in kept]
        self.rows = sum(n for _, n in self._sources)

    def take(self, wanted: Callable[[int], bool]) -> tuple[Chunk, Codes]:
        """Remove and return the rows of the objects that `wanted` selects, and each row's object."""
        out = [(c, s) for c, s in zip(self._chunks, self._sources, strict=True) if wanted(s[0])]
        kept = [(c, s) for c, s in zip(self._chunks, self._sources, strict=True) if not wanted(s[0])]
        self._chunks, self._sources = [c for c, _ in kept], [s for _, s in kept]
        self.rows = sum(n for _, n in self._sources)
        sources = np.repeat(
            np.array([s for _, (s, _) in out], dtype=np.int32), np.array([n for _, (_, n) in out], dtype=np.int64)
        )
        return self._joined([c for c, _ in out]), sources

    def _joined(self, chunks: Sequence[Chunk]) -> Chunk:
        def join(parts: list[Any], dtype: Any) -> Any:
            return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)

        names = {name for c in chunks for name in c.extras}
        return Chunk(
            join([c.ts for c in chunks], np.int64),
            join([c.value for c in chunks], np.float64),
            join([c.line for c in chunks], np.int64),
            {name: join([c.codes[name] for c in chunks], np.int32) for name in TEXT_COLUMNS},
            {
                name: join(
                    [c.extras[name] if name in c.extras else empty_extra(self.kinds[name], len(c)) for c in chunks],
                    np.int32,
                )
                for name in sorted(names)
            },
        )


def chunk_of_rows(rows: Sequence[Row], buffer: RowBuffer, lines: Sequence[int]) -> Chunk:
    """Single readings as a chunk; `lines` says where each stood in its object."""
    interners = {name: buffer.interner(name) for name in TEXT_COLUMNS}
    codes = {
        name: np.fromiter((i.code(getattr(r, name)) for r in rows), dtype=np.int32, count=len(rows))
        for name, i in interners.items()
    }
    extras: dict[str, Column] = {}
    for index, row in enumerate(rows):
        for name, value in (row.extras or {}).items():
            if name not in extras:
                extras[name] = empty_extra(buffer.kinds[name], len(rows))
            extras[name][index] = buffer.interner(name).code(str(value)) if buffer.kinds[name] == "string" else value
    return Chunk(
        np.fromiter((r.ts for r in rows), dtype=np.int64, count=len(rows)),
        np.fromiter((r.value for r in rows), dtype=np.float64, count=len(rows)),
        np.array(lines, dtype=np.int64),
        codes,
        extras,
    )


def spelled(chunk: Chunk, buffer: RowBuffer, row: int) -> str:
    """A reading as a line of JSON, where its own spelling is no longer at hand."""
    names = {name: buffer.interner(name).values[chunk.codes[name][row]] for name in ("device", "sensor")}
    ts = np.datetime64(int(chunk.ts[row]), "us")
    return json.dumps({"ts": f"{ts}Z", **names, "value": float(chunk.value[row])}, ensure_ascii=False)


@dataclass
class Decoded:
    """What one step of decoding gave: readings as columns, and refused lines."""

    chunk: Chunk | None = None
    rejected: list[Rejected] = field(default_factory=list)

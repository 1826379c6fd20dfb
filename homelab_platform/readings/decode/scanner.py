"""Blocks of NDJSON through the compiled kernel, with every line that it leaves over decided by `record`.

Belongs here: the kernel's tables, turning its entries into texts, and putting both kinds of lines back in order.
Not here: the kernel itself (kernel) or what a reading is (record).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from homelab_platform.readings.decode.columns import Chunk, Decoded, RowBuffer, empty_extra
from homelab_platform.readings.decode.kernel import (
    DONE,
    FULL_ENTRIES,
    KIND_BOOLEAN,
    KIND_DOUBLE,
    KIND_TEXT,
    KIND_TS,
    KIND_VALUE,
    STATUS_SLOW,
    scan,
)
from homelab_platform.readings.decode.lines import Block
from homelab_platform.readings.decode.record import PLAIN, ExtraColumns, Rejected, Row, Spelling, cut, read_line
from homelab_platform.wire.contract import MAX_TEXT, QUALITY_OK, TEXT_COLUMNS

ROWS = 1 << 17
ENTRIES = 1 << 14
ARENA = 1 << 20
LEARN_FROM = 256  # left-over lines of a block from which it pays to learn their fields
LEARN_LINES = 256
LEARN_TRIES = 4
MOST_KEYS = 60  # a bit each in the kernel's word of fields seen
_PLAIN = re.compile(r"[A-Za-z0-9_.\- ]{1,64}", re.ASCII)
_KINDS = {"string": KIND_TEXT, "double": KIND_DOUBLE, "boolean": KIND_BOOLEAN}
_BAD = -2


@dataclass(frozen=True)
class _Key:
    raw: str
    column: str
    kind: int
    slot: int


class Scanner:
    """Scans the blocks of one batch; texts become codes of the batch's buffer."""

    def __init__(self, buffer: RowBuffer, extra: ExtraColumns, latest: int) -> None:
        self._buffer = buffer
        self._extra = extra
        self._latest = np.int64(latest)
        self._entries_size, self._arena_size = ENTRIES, ARENA
        self._signature: tuple[tuple[str, str], ...] | None = None
        self._spelling = PLAIN
        self._ts = np.empty(ROWS, dtype=np.int64)
        self._value = np.empty(ROWS)
        self._status = np.empty(ROWS, dtype=np.uint8)
        self._places = np.empty((ROWS, 3), dtype=np.int64)
        self._prepare()

    def reset(self) -> None:
        """Forget all texts, because the buffer has."""
        self._entries = np.zeros((self._entries_size, 4), dtype=np.int64)
        self._table = np.full(self._entries_size * 4, -1, dtype=np.int32)
        self._arena = np.zeros(self._arena_size + 8, dtype=np.uint8)
        self._state = np.zeros(2, dtype=np.int64)
        self._last = np.full(len(self._text_columns), -1, dtype=np.int64)
        self._meaning = np.full(self._entries_size + 1, -1, dtype=np.int32)  # the last stays -1: no text
        self._meant = 0

    def _known(self) -> tuple[tuple[str, str], ...]:
        """The producers' fields that the kernel can take, with their columns' kinds."""
        return tuple(
            (raw, column)
            for raw, column in self._extra.names.items()
            if self._extra.kinds.get(column) in _KINDS and _PLAIN.fullmatch(raw)
        )[: MOST_KEYS - len(TEXT_COLUMNS) - 2]

    def _prepare(self) -> bool:
        """Bring the kernel's keys up to date with the extra columns; whether anything changed."""
        signature = tuple((raw, f"{column}:{self._extra.kinds[column]}") for raw, column in self._known())
        if signature == self._signature:
            return False
        self._signature = signature
        self._text_columns = list(TEXT_COLUMNS)
        self._slots: dict[str, tuple[int, int]] = {}  # extra column → kind, slot
        keys = [_Key("ts", "ts", KIND_TS, 0)]
        keys += [_Key(name, name, KIND_TEXT, slot) for slot, name in enumerate(TEXT_COLUMNS)]
        keys.insert(4, _Key("value", "value", KIND_VALUE, 0))
        counts = {KIND_DOUBLE: 0, KIND_BOOLEAN: 0}
        for raw, column in self._known():
            kind = _KINDS[self._extra.kinds[column]]
            if column not in self._slots:
                self._slots[column] = (kind, len(self._text_columns) if kind == KIND_TEXT else counts[kind])
                if kind == KIND_TEXT:
                    self._text_columns.append(column)
                else:
                    counts[kind] += 1
            keys.append(_Key(raw, column, *self._slots[column]))
        self._fill_keys(keys)
        self._codes = np.empty((len(self._text_columns), ROWS), dtype=np.int32)
        self._doubles = np.empty((max(1, counts[KIND_DOUBLE]), ROWS))
        self._booleans = np.empty((max(1, counts[KIND_BOOLEAN]), ROWS), dtype=np.int8)
        self.reset()
        return True

    def _fill_keys(self, keys: list[_Key]) -> None:
        columns = list(dict.fromkeys(k.column for k in keys))
        text = b""
        rows = []
        for i, k in enumerate(keys):
            raw = k.raw.encode()
            rows.append((len(text), len(raw), k.kind, k.slot, (i + 1) % len(keys), columns.index(k.column)))
            text += raw
        self._key_bytes = np.frombuffer(text + bytes(8), dtype=np.uint8).copy()
        self._keys = np.array(rows, dtype=np.int64)
        self._required = np.uint64(sum(1 << columns.index(n) for n in ("ts", "device", "sensor", "value")))

    def scan(self, block: Block, number: int, spelling: Spelling = PLAIN) -> Iterator[tuple[Decoded, int]]:
        """The readings and refused lines of a block; `number` lines came before. Each step also tells the new count."""
        self._spelling = spelling
        position = 0
        tries = 0
        self._prepare()
        while position < block.size:
            rows, lines, reached, why = self._call(block, position)
            slow = self._slow(rows)
            if len(slow) > LEARN_FROM and tries < LEARN_TRIES and self._learn(block, slow):
                tries += 1
                continue
            yield self._decoded(block, rows, slow, number), number + lines
            number += lines
            position = reached
            if why == FULL_ENTRIES:
                if rows < ROWS // 8:
                    self._entries_size *= 2
                    self._arena_size *= 2
                self.reset()
            elif why == DONE:
                return

    def _call(self, block: Block, position: int) -> tuple[int, int, int, int]:
        self._codes.fill(-1)
        self._doubles.fill(np.nan)
        self._booleans.fill(-1)
        rows, lines, reached, why = scan(
            block.data,
            position,
            block.size,
            self._key_bytes,
            self._keys,
            self._required,
            self._latest,
            self._entries,
            self._table,
            self._arena,
            self._state,
            self._last,
            self._ts,
            self._value,
            self._codes,
            self._doubles,
            self._booleans,
            self._status,
            self._places,
        )
        return int(rows), int(lines), int(reached), int(why)

    def _slow(self, rows: int) -> Any:
        """The rows that `record` has to decide: left over by the kernel, or with a text that is not one."""
        self._understand()
        slow = self._status[:rows] == STATUS_SLOW
        if (self._meaning[: self._meant] == _BAD).any():
            slow = slow | (self._meaning[self._codes[:, :rows]] == _BAD).any(axis=0)
        return np.flatnonzero(slow)

    def _understand(self) -> None:
        """Give every new entry of the kernel its meaning: the code of its text."""
        for entry in range(self._meant, int(self._state[0])):
            start, length, slot, _ = self._entries[entry].tolist()
            column = self._text_columns[slot]
            self._meaning[entry] = self._code(column, self._arena[start : start + length].tobytes())
        self._meant = int(self._state[0])

    def _code(self, column: str, raw: bytes) -> int:
        try:
            text: str = orjson.loads(b'"' + raw + b'"')
        except orjson.JSONDecodeError:
            return _BAD
        if column not in TEXT_COLUMNS:
            return self._buffer.interner(column).code(text)
        if len(text) > MAX_TEXT or "\0" in text or (column in ("device", "sensor") and not text.strip()):
            return _BAD
        if text == "":
            return self._buffer.interner(column).code(QUALITY_OK if column == "quality" else None)
        return self._buffer.interner(column).code(text)

    def _learn(self, block: Block, slow: Any) -> bool:
        """Read the first left-over lines; whether they taught us fields that the kernel can take from now on.

        The first and in their order: a column has the kind of its first value, whoever reads the lines.
        """
        spelling, counted = replace(self._spelling, clock=None), self._extra.left_out
        for row in slow[:LEARN_LINES].tolist():
            self._read(block, row, spelling)
        self._extra.left_out = counted  # the same lines are read again, or scanned
        return self._prepare()

    def _read(self, block: Block, row: int, spelling: Spelling) -> Row | tuple[str, bytes]:
        start, end, _ = self._places[row].tolist()
        line = block.data[start:end].tobytes()
        try:
            return read_line(line, int(self._latest), self._extra, spelling)
        except ValueError as error:
            return str(error), line

    def _decoded(self, block: Block, rows: int, slow: Any, number: int) -> Decoded:
        quality = self._buffer.interner("quality").code(QUALITY_OK)
        codes = {name: self._meaning[self._codes[i, :rows]] for i, name in enumerate(self._text_columns)}
        codes["quality"] = np.where(codes["quality"] == -1, np.int32(quality), codes["quality"])
        extras: dict[str, Any] = {}
        for column, (kind, slot) in self._slots.items():
            if kind == KIND_TEXT:
                extras[column] = codes.pop(column)
            else:
                extras[column] = (self._doubles if kind == KIND_DOUBLE else self._booleans)[slot, :rows].copy()
        chunk = Chunk(self._ts[:rows].copy(), self._value[:rows].copy(), number + self._places[:rows, 2], codes, extras)
        rejected = []
        keep = np.ones(rows, dtype=np.bool_)
        for row in slow.tolist():
            found = self._read(block, row, self._spelling)
            if isinstance(found, Row):
                self._put(chunk, row, found)
            else:
                keep[row] = False
                rejected.append(Rejected(number + int(self._places[row, 2]), found[0], cut(found[1])))
        chunk.extras = {name: column for name, column in chunk.extras.items() if not _absent(column)}
        return Decoded(chunk if not rejected else chunk.where(keep), rejected)

    def _put(self, chunk: Chunk, at: int, row: Row) -> None:
        """Fill one row of a chunk from a line that `record` has read."""
        chunk.ts[at], chunk.value[at] = row.ts, row.value
        for name in TEXT_COLUMNS:
            chunk.codes[name][at] = self._buffer.interner(name).code(getattr(row, name))
        for name, column in chunk.extras.items():
            column[at] = empty_extra(self._extra.kinds[name], 1)[0]
        for name, value in (row.extras or {}).items():
            kind = self._extra.kinds[name]
            if name not in chunk.extras:
                chunk.extras[name] = empty_extra(kind, len(chunk))
            chunk.extras[name][at] = self._buffer.interner(name).code(str(value)) if kind == "string" else value


def _absent(column: Any) -> bool:
    return bool(np.isnan(column).all() if column.dtype == np.float64 else (column < 0).all())

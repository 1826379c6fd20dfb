"""NDJSON objects to columns and rejections, by the compiled kernel where it pays and line by line where it must.

Belongs here: the choice between the two, and joining their results so that nobody can tell which one read a line.
Not here: what a reading is (record), the scanner itself (kernel), other file formats (files).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import orjson

from homelab_platform.readings.decode.columns import Decoded, RowBuffer, chunk_of_rows
from homelab_platform.readings.decode.lines import Block, LongLine, blocks
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.decode.record import ExtraColumns, Rejected, Row, cut, read_line, read_record

if TYPE_CHECKING:
    from homelab_platform.readings.decode.scanner import Scanner

ROWS_PER_CHUNK = 20_000


@dataclass
class Decoder:
    """Decodes the objects of one batch: extra columns known so far, the last acceptable `ts`, the scanner if any."""

    buffer: RowBuffer
    latest: int
    extra: ExtraColumns
    scanner: Scanner | None = None

    def ndjson(self, stream: BinaryIO, mapping: Mapping | None = None) -> Iterator[Decoded]:
        """The readings and refused lines of a plain NDJSON stream, in bounded steps. Raises BrokenObject."""
        number = 0
        for piece in blocks(stream):
            if isinstance(piece, LongLine):
                number += 1
                reason = f"line of {piece.length} bytes: more than 1 MiB"
                yield Decoded(rejected=[Rejected(number, reason, cut(piece.head, piece.length))])
            elif self.scanner is not None and mapping is None:
                for decoded, lines in self.scanner.scan(piece, number):
                    yield decoded
                    number = lines
            else:
                for decoded, lines in self._lines(piece, number, mapping):
                    yield decoded
                    number = lines

    def _lines(self, block: Block, number: int, mapping: Mapping | None) -> Iterator[tuple[Decoded, int]]:
        """The slow path: every line by itself."""
        lines = block.tobytes().split(b"\n")
        lines.pop()  # what follows the last newline
        for start in range(0, len(lines), ROWS_PER_CHUNK):
            rows: list[Row] = []
            decoded = Decoded()
            for line in lines[start : start + ROWS_PER_CHUNK]:
                number += 1
                if not line.strip(b" \t\r"):
                    continue
                try:
                    if mapping is None:
                        rows.append(read_line(line, self.latest, self.extra))
                    else:
                        rows += self.mapped(_object(line), mapping)
                except ValueError as error:
                    decoded.rejected.append(Rejected(number, str(error), cut(line)))
            decoded.chunk = chunk_of_rows(rows, self.buffer)
            yield decoded, number

    def mapped(self, record: dict[str, object], mapping: Mapping | None, *, text_numbers: bool = False) -> list[Row]:
        """The readings of one record of a foreign file. Raises ValueError with the reason; then none of them counts."""
        if mapping is None:
            return [read_record(record, self.latest, self.extra, text_numbers=text_numbers)]
        zone, pattern = mapping.ts_zone, mapping.ts_format
        return [
            read_record(r, self.latest, self.extra, text_numbers=text_numbers, zone=zone, pattern=pattern)
            for r in mapping.apply(record)
        ]


def _object(line: bytes) -> dict[str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record

"""NDJSON objects to columns and rejections, by the compiled kernel where it pays and line by line where it must.

Belongs here: the choice between the two, and joining their results so that nobody can tell which one read a line.
Not here: what a reading is (record), the scanner itself (kernel), other file formats (files).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from homelab_platform.readings.decode.columns import Decoded, RowBuffer, chunk_of_rows
from homelab_platform.readings.decode.lines import Block, LongLine, blocks
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.decode.record import (
    PLAIN,
    ExtraColumns,
    Rejected,
    Row,
    Spelling,
    cut,
    read_line,
    read_object,
    read_record,
)
from homelab_platform.wire.contract import PLATFORM_COLUMNS
from homelab_platform.wire.timestamps import LocalClock

if TYPE_CHECKING:
    from homelab_platform.readings.decode.scanner import Scanner

ROWS_PER_CHUNK = 20_000


@dataclass
class Decoder:
    """Decodes the objects of one batch: extra columns known so far, the last acceptable `ts`, the scanner if any, the
    zone of times without one in the object at hand.
    """

    buffer: RowBuffer
    latest: int
    extra: ExtraColumns
    scanner: Scanner | None = None
    zone: str | None = None

    def ndjson(self, stream: BinaryIO, mapping: Mapping | None = None) -> Iterator[Decoded]:
        """The readings and refused lines of a plain NDJSON stream, in bounded steps. Raises BrokenObject."""
        number = 0
        spelling = self._spelling(mapping)
        for piece in blocks(stream):
            if isinstance(piece, LongLine):
                number += 1
                reason = f"line of {piece.length} bytes: more than 1 MiB"
                yield Decoded(rejected=[Rejected(number, reason, cut(piece.head, piece.length))])
            elif self.scanner is not None and mapping is None:
                for decoded, lines in self.scanner.scan(piece, number, spelling):
                    yield decoded
                    number = lines
            else:
                for decoded, lines in self._lines(piece, number, mapping, spelling):
                    yield decoded
                    number = lines

    def _spelling(self, mapping: Mapping | None) -> Spelling:
        if mapping is None and self.zone is None:
            return PLAIN
        zone, pattern = (mapping.ts_zone, mapping.ts_format) if mapping else (None, None)
        return Spelling(mapping is not None, zone=zone or self.zone, pattern=pattern, clock=LocalClock())

    def _lines(
        self, block: Block, number: int, mapping: Mapping | None, spelling: Spelling
    ) -> Iterator[tuple[Decoded, int]]:
        """The slow path: every line by itself."""
        lines = block.tobytes().split(b"\n")
        lines.pop()  # what follows the last newline
        for start in range(0, len(lines), ROWS_PER_CHUNK):
            rows: list[Row] = []
            numbers: list[int] = []
            decoded = Decoded()
            for line in lines[start : start + ROWS_PER_CHUNK]:
                number += 1
                if not line.strip(b" \t\r"):
                    continue
                try:
                    if mapping is None:
                        made = [read_line(line, self.latest, self.extra, spelling)]
                    else:
                        made = self.mapped(read_object(line), mapping, spelling)
                except ValueError as error:
                    decoded.rejected.append(Rejected(number, str(error), cut(line)))
                    continue
                rows += made
                numbers += [number] * len(made)
            decoded.chunk = chunk_of_rows(rows, self.buffer, numbers)
            yield decoded, number

    def mapped(self, record: dict[str, object], mapping: Mapping | None, spelling: Spelling) -> list[Row]:
        """The readings of one record of a foreign file. Raises ValueError with the reason; then none of them counts.

        Without a mapping the columns are the contract's own, as our exports have them: what the platform fills is left
        out.
        """
        made = (
            [{name: cell for name, cell in record.items() if name not in PLATFORM_COLUMNS}]
            if mapping is None
            else mapping.apply(record)
        )
        return [read_record(one, self.latest, self.extra, spelling) for one in made]

"""Files that people drop, in CSV or Parquet, to columns and rejections.

Belongs here: taking these formats apart into records. Not here: what a reading is (record) or NDJSON (decode).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from homelab_platform.readings.contract import MAX_LINE
from homelab_platform.readings.decode.columns import Decoded, chunk_of_rows
from homelab_platform.readings.decode.lines import BrokenObject, LongLine, blocks
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.decode.ndjson import ROWS_PER_CHUNK, Decoder
from homelab_platform.readings.decode.record import Rejected, Row, cut

if TYPE_CHECKING:
    import pyarrow as pa


class _Lines:
    """Text lines of a plain stream for the csv module; bytes that are not UTF-8 mark the line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        for piece in blocks(self._stream):
            if isinstance(piece, LongLine):
                raise BrokenObject(f"a line of {piece.length} bytes: more than 1 MiB")
            for line in piece.tobytes().splitlines(keepends=True):
                yield line.decode("utf-8", "surrogateescape")


def read_csv(decoder: Decoder, stream: BinaryIO, mapping: Mapping | None) -> Iterator[Decoded]:
    """The readings and refused rows of a CSV stream with a header; `,`, `;` or tab separated. Raises BrokenObject."""
    lines = iter(_Lines(stream))
    header = next(lines, "")
    delimiter = max((",", ";", "\t"), key=header.count)
    csv.field_size_limit(MAX_LINE)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if len(set(names)) != len(names) or not any(names):
        raise BrokenObject("the first line is not a header of distinct column names")
    reader = csv.reader(lines, delimiter=delimiter)
    rows: list[Row] = []
    decoded = Decoded()
    try:
        for cells in reader:
            if cells:
                _csv_row(decoder, mapping, names, cells, line=reader.line_num + 1, rows=rows, decoded=decoded)
            if len(rows) + len(decoded.rejected) >= ROWS_PER_CHUNK:
                decoded.chunk = chunk_of_rows(rows, decoder.buffer)
                yield decoded
                rows, decoded = [], Decoded()
    except csv.Error as error:
        raise BrokenObject(f"line {reader.line_num + 1}: {error}") from None
    decoded.chunk = chunk_of_rows(rows, decoder.buffer)
    yield decoded


def _csv_row(
    decoder: Decoder,
    mapping: Mapping | None,
    names: list[str],
    cells: list[str],
    *,
    line: int,
    rows: list[Row],
    decoded: Decoded,
) -> None:
    try:
        if len(cells) > len(names):
            raise ValueError(f"{len(cells)} cells, the header has {len(names)}")
        if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
            raise ValueError("not UTF-8")
        record: dict[str, Any] = {
            n: c if n in _TEXTS else _typed(c) for n, c in zip(names, cells, strict=False) if n and c != ""
        }
        rows += decoder.mapped(record, mapping, text_numbers=True)
    except ValueError as error:
        raw = io.StringIO()
        csv.writer(raw, lineterminator="").writerow(cells)
        decoded.rejected.append(Rejected(line, str(error), cut(raw.getvalue().encode("utf-8", "surrogateescape"))))


_TEXTS = frozenset({"ts", "site", "device", "sensor", "value", "unit", "quality"})
_WORDS = {"true": True, "false": False}


def _typed(cell: str) -> str | float | bool:
    """A further column's cell: a boolean or a number where it reads as one."""
    word = _WORDS.get(cell.strip().lower())
    if word is not None:
        return word
    try:
        return float(cell) if "_" not in cell else cell
    except ValueError:
        return cell


def read_parquet(decoder: Decoder, stream: BinaryIO, mapping: Mapping | None) -> Iterator[Decoded]:
    """The readings and refused rows of a Parquet file; rows count from 1. Raises BrokenObject."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(stream)
        for batch in file.iter_batches(batch_size=ROWS_PER_CHUNK, use_threads=False):
            rows: list[Row] = []
            decoded = Decoded()
            for record in _records(batch):
                number += 1
                try:
                    rows += decoder.mapped(record, mapping)
                except ValueError as error:
                    decoded.rejected.append(Rejected(number, str(error), cut(repr(record).encode())))
            decoded.chunk = chunk_of_rows(rows, decoder.buffer)
            yield decoded
    except (pa.ArrowException, OSError) as error:
        raise BrokenObject(f"damaged Parquet: {str(error).splitlines()[0]}") from None


def _records(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries; nanosecond times are cut to microseconds, which is all that Python's datetime holds."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            values = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        columns[name] = values.to_pylist()
    for cells in zip(*columns.values(), strict=True):
        yield {n: c for n, c in zip(columns, cells, strict=True) if c is not None}

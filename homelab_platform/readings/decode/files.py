"""Files that people drop, in any format but NDJSON, to columns and rejections.

Belongs here: their records one by one, and what each becomes. Not here: what a reading is (record), NDJSON (ndjson),
how a text is written (wire/tabular.py), formats of other programs (foreign.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from homelab_platform.readings.decode import foreign
from homelab_platform.readings.decode.columns import Decoded, chunk_of_rows
from homelab_platform.readings.decode.content import Content
from homelab_platform.readings.decode.foreign import Found
from homelab_platform.readings.decode.lines import BrokenObject
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.decode.ndjson import ROWS_PER_CHUNK, Decoder
from homelab_platform.readings.decode.record import Rejected, Row, Spelling, cut, read_object
from homelab_platform.wire import tabular
from homelab_platform.wire.timestamps import LocalClock

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_COLUMN = "__index_level_0__"  # what pandas adds to Parquet


def records(content: Content) -> Iterator[Found]:
    """The records of a file in order, with their lines, and what is none with the reason. Raises BrokenObject."""
    if content.kind == "csv":
        yield from _table_records(content)
    elif content.kind == "parquet":
        yield from _parquet_records(content.stream)
    elif content.kind == "ndjson":
        yield from _json_lines(content)
    elif content.kind == "json":
        data = content.stream.read(foreign.MOST_JSON + 1)
        if len(data) > foreign.MOST_JSON:
            raise BrokenObject(f"one JSON value of more than {foreign.MOST_JSON >> 20} MiB; write one object per line")
        yield from foreign.json_array(data)
    else:
        yield from foreign.of_text(content.kind)(content.lines())


def read_file(decoder: Decoder, content: Content, mapping: Mapping | None) -> Iterator[Decoded]:
    """The readings and refused lines of a file that is not NDJSON, in bounded steps. Raises BrokenObject."""
    if foreign.is_series(content.kind):
        mapping = replace(mapping or Mapping(keep=("metric", "labels")), series=True)
    spelling = spelling_of(decoder.zone, content, mapping)
    rows: list[Row] = []
    numbers: list[int] = []
    rejected: list[Rejected] = []
    for found in records(content):
        try:
            if found.record is None:
                raise ValueError(found.reason)
            made = decoder.mapped(found.record, mapping, spelling)
            rows += made
            numbers += [found.line] * len(made)
        except ValueError as error:
            rejected.append(Rejected(found.line, str(error), cut(_raw(found).encode("utf-8", "surrogateescape"))))
        if len(rows) + len(rejected) >= ROWS_PER_CHUNK:
            yield Decoded(chunk_of_rows(rows, decoder.buffer, numbers), rejected)
            rows, numbers, rejected = [], [], []
    yield Decoded(chunk_of_rows(rows, decoder.buffer, numbers), rejected)


def spelling_of(zone: str | None, content: Content, mapping: Mapping | None) -> Spelling:
    """How the records of a file spell their values; `zone` of times without one, where no mapping says it."""
    return Spelling(
        text_numbers=mapping is not None or content.kind == "csv",
        text_cells=content.kind == "csv",
        decimal=content.form.decimal if content.form else ".",
        zone=(mapping.ts_zone if mapping else None) or zone,
        pattern=mapping.ts_format if mapping else None,
        clock=LocalClock(),
    )


def _raw(found: Found) -> str:
    return found.raw or (repr(found.record) if found.record is not None else "")


def _table_records(content: Content) -> Iterator[Found]:
    form = content.form
    if form is None:
        raise BrokenObject("has no header")
    names = form.names
    for row in tabular.rows(content.lines(), form):
        text = row.text.rstrip("\r\n")
        if row.reason:
            yield Found(row.line, None, row.reason, text)
        elif not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text):
            reason = "not UTF-8 (the lines before it are; --encoding says what the file is)"
            yield Found(row.line, None, reason, text)
        elif row.cells:
            record = {n: c for n, c in zip(names, row.cells, strict=False) if n and c != ""}
            yield Found(row.line, record, raw=text)


def _json_lines(content: Content) -> Iterator[Found]:
    """For a look at the first lines only; the ingest reads NDJSON in blocks (ndjson.py)."""
    for number, line in enumerate(content.lines(), 1):
        raw = line.rstrip("\r\n")
        if not raw.strip():
            continue
        try:
            yield Found(number, read_object(raw.encode("utf-8", "surrogateescape")), raw=raw)
        except ValueError as error:
            yield Found(number, None, str(error), raw)


def _parquet_records(stream: BinaryIO) -> Iterator[Found]:
    """The rows of a Parquet file, from 1. Raises BrokenObject."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(stream)
        for batch in file.iter_batches(batch_size=ROWS_PER_CHUNK, use_threads=False):
            for record in _records(batch):
                number += 1
                yield Found(number, record)
    except (pa.ArrowException, OSError) as error:
        raise BrokenObject(f"damaged Parquet: {str(error).splitlines()[0]}") from None


def _records(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries. Nanoseconds are cut to microseconds, which is all that Python's datetime holds; decimals
    become doubles.
    """
    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name != INDEX_COLUMN:
            columns[name] = _plain_column(column).to_pylist()
    for cells in zip(*columns.values(), strict=True):
        yield {n: c for n, c in zip(columns, cells, strict=True) if c is not None and c == c}  # noqa: PLR0124 - NaN


def _plain_column(column: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date64(kind):
        return column.cast(pa.date32())
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    return column

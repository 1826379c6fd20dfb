"""The first rows of a file that somebody dropped: which format it is, its columns, some of its cells.

Belongs here: looking into a file by its content, never by its name alone. Not here: what the columns mean (guess.py)
or the whole file (readings/decode/files.py reads it when it is ingested; the header is taken apart the same way).
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

Format = Literal["ndjson", "csv", "parquet"]
SAMPLE_BYTES = 256 * 1024
SAMPLE_ROWS = 200
_FOREIGN: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive (or a spreadsheet); unpack it or save it as CSV",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it, or use gzip",
    b"BZh": "compressed by bzip2; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it, or use gzip",
    b"SQLite format 3\x00": "an SQLite database; export its table as CSV",
    b"%PDF": "a PDF",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


class CannotRead(ValueError):
    """The file is not one that can be ingested; the text says why and what to do."""


@dataclass(frozen=True)
class Sample:
    """The start of a file: `name` without folder and suffixes; rows by column name, at most 200 of them."""

    name: str
    format: Format
    compressed: bool
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]

    def cells(self, column: str) -> list[Any]:
        """The sample's cells of a column that are not empty."""
        return [row[column] for row in self.rows if row.get(column) not in (None, "")]


def take_sample(path: Path) -> Sample:
    """Look into a file. Raises CannotRead, or OSError when it cannot be opened."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise CannotRead("is empty")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise CannotRead(f"is {what}")
    name = _plain_name(path)
    if head.startswith(b"PAR1"):
        return _from_parquet(path, name)
    compressed = head.startswith(b"\x1f\x8b")
    data, whole = _start(path, compressed)
    if not data.strip():
        raise CannotRead("holds nothing but blank")
    if data.startswith(b"PAR1"):
        raise CannotRead("is a gzipped Parquet file; unpack it: Parquet is compressed inside")
    text = _text(data, whole)
    first = text.lstrip("\ufeff \t\r\n")[:1]
    if first == "[":
        raise CannotRead("is one JSON array; write one object per line, e.g. with `jq -c '.[]'`")
    columns, rows = _from_ndjson(text) if first == "{" else _from_csv(text)
    return Sample(name, "ndjson" if first == "{" else "csv", compressed, columns, rows)


def _plain_name(path: Path) -> str:
    name = path.name
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", ".parquet"):
        name = name.removesuffix(suffix)
    return name or path.name


def _start(path: Path, compressed: bool) -> tuple[bytes, bool]:
    """The first bytes of the content, and whether that is all of it."""
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            data = file.read(SAMPLE_BYTES + 1)
    except EOFError:
        raise CannotRead("is a gzip file that was cut off") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CannotRead(f"is a damaged gzip file: {error}") from None
    return data[:SAMPLE_BYTES], len(data) <= SAMPLE_BYTES


def _text(data: bytes, whole: bool) -> str:
    """The sample's whole lines as text."""
    if not whole:
        end = data.rfind(b"\n")
        if end < 0:
            raise CannotRead(f"has no line break in its first {SAMPLE_BYTES // 1024} KiB; it is not lines of text")
        data = data[: end + 1]
    if b"\0" in data:
        raise CannotRead("is binary data, not NDJSON, CSV or Parquet")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotRead(
            f"is not UTF-8 text (byte {data[error.start]:#04x} in line {data.count(10, 0, error.start) + 1}); "
            "save it as UTF-8"
        ) from None


def _from_ndjson(text: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # one bad line is rejected by the ingest; only a file without any good one is refused
        if isinstance(record, dict):
            rows.append(record)
        if len(rows) >= SAMPLE_ROWS:
            break
    if not rows:
        raise CannotRead("looks like JSON but no line of it is a JSON object; write one object per line")
    columns = tuple(dict.fromkeys(str(name) for row in rows for name in row))
    return columns, rows


def _from_csv(text: str) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    lines = text.splitlines(keepends=True)
    delimiter = max((",", ";", "\t"), key=lines[0].count)
    try:
        table = list(csv.reader(lines[: SAMPLE_ROWS + 1], delimiter=delimiter))
    except csv.Error as error:
        raise CannotRead(f"cannot be read as CSV: {error}") from None
    header = [name.strip() for name in table[0]]
    if len(header) < 2:
        raise CannotRead("has no columns separated by comma, semicolon or tab in its first line")
    if len(set(header)) != len(header):
        raise CannotRead("names a column twice in its first line")
    if any(_is_number(name) for name in header):
        raise CannotRead("has values in its first line; put a line with the columns' names before it")
    if len(table) < 2:
        raise CannotRead("holds a header and no rows")
    return tuple(header), [dict(zip(header, cells, strict=False)) for cells in table[1:] if cells]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_parquet(path: Path, name: str) -> Sample:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(path.read_bytes()) if path.stat().st_size < SAMPLE_BYTES else path) as file:
            batch = next(file.iter_batches(batch_size=SAMPLE_ROWS, use_threads=False), None)
            columns = tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise CannotRead(f"is a damaged Parquet file: {str(error).splitlines()[0]}") from None
    if batch is None or batch.num_rows == 0:
        raise CannotRead("is a Parquet file without rows")
    return Sample(name, "parquet", False, columns, _plain_rows(batch))


def _plain_rows(batch: Any) -> list[dict[str, Any]]:
    """Rows as dictionaries; nanosecond times cut to microseconds, which is all that Python's datetime holds."""
    import pyarrow as pa

    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        is_fine = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        values = column.cast(pa.timestamp("us", column.type.tz), safe=False) if is_fine else column
        columns[name] = values.to_pylist()
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]

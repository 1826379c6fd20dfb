"""Columns in memory to Parquet files in the lake, described as Iceberg wants them described.

Belongs here: encodings, field ids, the bounds that let a query skip a file. Not here: which rows go into which file
(parts), or making files part of a table (commit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema

ROW_GROUP = 1 << 19
_BOUNDED = ("ts", "date", "device", "sensor", "value", "source", "line", "ingested_at")


def arrow_schema(schema: Schema, names: Sequence[str]) -> pa.Schema:
    """The Arrow schema of some columns of an Iceberg table, with their field ids."""
    import pyarrow as pa
    from pyiceberg.types import (
        BooleanType,
        DateType,
        DoubleType,
        FloatType,
        IntegerType,
        LongType,
        StringType,
        TimestamptzType,
    )

    kinds: dict[type, pa.DataType] = {
        TimestamptzType: pa.timestamp("us", tz="UTC"),
        DateType: pa.date32(),
        StringType: pa.string(),
        DoubleType: pa.float64(),
        FloatType: pa.float32(),
        LongType: pa.int64(),
        IntegerType: pa.int32(),
        BooleanType: pa.bool_(),
    }
    return pa.schema(
        [
            pa.field(
                f.name,
                kinds[type(f.field_type)],
                nullable=not f.required,
                metadata={"PARQUET:field_id": str(f.field_id)},
            )
            for f in schema.fields
            if f.name in names
        ]
    )


def encode(table: pa.Table) -> tuple[bytes, Any]:
    """The Parquet file of a table, and its footer.

    Sorted times are delta-encoded and values split by byte, which costs half the CPU of plain pages and is read by
    DuckDB, PyArrow and Trino; texts are written from their dictionaries.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    special = {"ts": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT", "line": "DELTA_BINARY_PACKED"}
    encodings = {name: kind for name, kind in special.items() if name in table.schema.names}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[n for n in table.schema.names if n not in encodings],
        column_encoding=encodings,
        write_statistics=[n for n in _BOUNDED if n in table.schema.names],
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)
    buffer = sink.getvalue()
    return buffer.to_pybytes(), pq.read_metadata(pa.BufferReader(buffer))


def describe(path: str, footer: Any, schema: Schema, *, size: int, partition: date | None, spec_id: int) -> DataFile:
    """The Iceberg description of a written file: counts, sizes and bounds from its footer."""
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    ids = {f.name: f.field_id for f in schema.fields}
    sizes: dict[int, int] = {}
    nulls: dict[int, int] = {}
    bounds: dict[str, tuple[Any, Any]] = {}
    offsets = []
    for g in range(footer.num_row_groups):
        group = footer.row_group(g)
        first = group.column(0)
        offsets.append(first.dictionary_page_offset or first.data_page_offset)
        for c in range(group.num_columns):
            column = group.column(c)
            name = column.path_in_schema
            sizes[ids[name]] = sizes.get(ids[name], 0) + column.total_compressed_size
            found = column.statistics
            if found is not None and found.has_null_count:
                nulls[ids[name]] = nulls.get(ids[name], 0) + found.null_count
            if found is not None and found.has_min_max and name in _BOUNDED:
                # the physical values: a timestamp as microseconds needs no time zone library
                raw = name in ("ts", "date", "ingested_at")
                least, most = (found.min_raw, found.max_raw) if raw else (found.min, found.max)
                low, high = bounds.get(name, (least, most))
                bounds[name] = (min(low, least), max(high, most))
    lower, upper = _bounds(schema, bounds)
    described = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record() if partition is None else Record(partition.toordinal() - 719_163),
        record_count=footer.num_rows,
        file_size_in_bytes=size,
        column_sizes=sizes,
        value_counts=dict.fromkeys(sizes, footer.num_rows),
        null_value_counts=nulls,
        nan_value_counts={},
        lower_bounds=lower,
        upper_bounds=upper,
        key_metadata=None,
        split_offsets=sorted(offsets),
        equality_ids=None,
        sort_order_id=None,
    )
    described.spec_id = spec_id
    return described


def _bounds(schema: Schema, bounds: Mapping[str, tuple[Any, Any]]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    from pyiceberg.conversions import to_bytes
    from pyiceberg.types import PrimitiveType

    lower, upper = {}, {}
    for name, (low, high) in bounds.items():
        field = schema.find_field(name)
        if not isinstance(field.field_type, PrimitiveType):
            continue
        lower[field.field_id] = to_bytes(field.field_type, low)
        upper[field.field_id] = to_bytes(field.field_type, high)
    return lower, upper


def read(data: bytes) -> pa.Table:
    """The rows of a Parquet file's bytes. Not by `read_table`, which imports pandas: half a second and 50 MB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)

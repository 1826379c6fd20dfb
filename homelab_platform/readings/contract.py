"""The two tables of readings: their names, schemas and properties, and making them.

Belongs here: what ingest, marts and queries share of the tables. Not here: what a reading is (wire/contract.py), how
raw bytes become rows (record, decode) or how rows are committed (commit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

    from homelab_platform.tools.iceberg.tables import TableState

NAMESPACE = "default"
READINGS = "default.sensor_data"
REJECTED = "default.sensor_data_rejected"

TABLE_PROPERTIES: Mapping[str, str] = {
    "format-version": "2",
    "write.format.default": "parquet",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.previous-versions-max": "16",
    "write.metadata.delete-after-commit.enabled": "true",
    "homelab.contract": "1",
}


@dataclass(frozen=True)
class Declared:
    """A table as it should be beyond its columns. `partition_by` and `sort_by` name columns, taken as they are."""

    schema: Callable[[], Schema]
    partition_by: tuple[str, ...] = ()
    sort_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=lambda: TABLE_PROPERTIES)


def readings_schema() -> Schema:
    """The Iceberg schema of `default.sensor_data` as it is first made; later columns come from new fields."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import DateType, DoubleType, NestedField, StringType, TimestamptzType

    def doc(text: str) -> dict[str, Any]:
        return {"doc": text}

    return Schema(
        NestedField(1, "ts", TimestamptzType(), required=True, **doc("when it was measured, UTC")),
        NestedField(2, "date", DateType(), required=True, **doc("day of ts in UTC; the partition")),
        NestedField(3, "site", StringType(), required=False, **doc("place")),
        NestedField(4, "device", StringType(), required=True, **doc("what measured")),
        NestedField(5, "sensor", StringType(), required=True, **doc("what was measured")),
        NestedField(6, "value", DoubleType(), required=True, **doc("finite")),
        NestedField(7, "unit", StringType(), required=False),
        NestedField(8, "quality", StringType(), required=False, **doc("ok, out_of_range, simulated, …")),
        NestedField(9, "source", StringType(), required=False, **doc("key of the raw object")),
        NestedField(10, "ingested_at", TimestamptzType(), required=False),
        identifier_field_ids=[1, 4, 5],
    )


def rejected_schema() -> Schema:
    """The Iceberg schema of `default.sensor_data_rejected`."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

    return Schema(
        NestedField(1, "source", StringType(), required=True, doc="key of the raw object"),
        NestedField(2, "line", LongType(), required=True, doc="counted from 1; 0 means the whole object"),
        NestedField(3, "reason", StringType(), required=True),
        NestedField(4, "raw", StringType(), required=False, doc="the line as it came, cut at 8 KiB"),
        NestedField(5, "ingested_at", TimestamptzType(), required=True),
        NestedField(6, "stream", StringType(), required=False),
    )


DECLARED: Mapping[str, Declared] = {
    READINGS: Declared(readings_schema, ("date",), ("device", "sensor", "ts")),
    REJECTED: Declared(rejected_schema),
}
"""The one place that says what the tables of readings are; other engines' changes are seen and put back by it."""


def ensure_tables(lakehouse: Lakehouse) -> None:
    """Make the catalog, both tables and the ledger where they are missing; check the contract's columns where not.

    Idempotent and safe to call from several processes at once. Raises HomelabError if PostgreSQL or S3 does not
    answer, or if an existing table no longer has a contract column.
    """
    import homelab_platform.readings.ledger as ledger  # noqa: PLR0402
    import homelab_platform.tools.iceberg.tables as iceberg

    with ledger.connect(lakehouse) as connection:
        ledger.ensure_ledger(connection)
        with ledger.commit_lock(connection):
            for name, wanted in DECLARED.items():
                iceberg.ensure_table(
                    lakehouse,
                    name,
                    wanted.schema(),
                    partition_by=wanted.partition_by[0] if wanted.partition_by else None,
                    sort_by=wanted.sort_by,
                    properties=wanted.properties,
                )
                check_schema(name, iceberg.load_table(connection, lakehouse, name).schema(), wanted.schema())


def check_partitioning(table: str, state: TableState) -> None:
    """Refuse to write to a table that somebody else partitioned in another way: its days could not be told apart.

    Raises HomelabError; nothing is written until the partitioning is put back.
    """
    fields = [state.schema().find_column_name(f.source_id) for f in state.metadata.spec().fields]
    plain = all(str(f.transform) == "identity" for f in state.metadata.spec().fields)
    if tuple(fields) != DECLARED[table].partition_by or not plain:
        raise HomelabError.of(
            f"{CATALOG}.{table}",
            f"is partitioned by {', '.join(str(name) for name in fields) or 'nothing'}, not as it was declared",
            "`homelab apply` puts it back; raw objects are kept until then.",
            "contract",
        )


def check_schema(table: str, found: Schema, wanted: Schema | None = None) -> None:
    """Refuse a table whose contract columns were dropped, renamed or changed in type by somebody else.

    Raises HomelabError that names each column; nothing is written to such a table.
    """
    from homelab_platform.errors import Problem

    expected = wanted if wanted is not None else DECLARED[table].schema()
    by_name = {f.name: f for f in found.fields}
    problems = []
    for column in expected.fields:
        other = by_name.get(column.name)
        if other is None:
            what = f"column {column.name} ({column.field_type}) is missing"
        elif other.field_type != column.field_type:
            what = f"column {column.name} is {other.field_type}, not {column.field_type}"
        else:
            continue
        remedy = f"Put it back (ALTER TABLE {CATALOG}.{table} …) and ingest again; raw objects are kept until then."
        problems.append(Problem(f"{CATALOG}.{table}", what, remedy, "contract"))
    if problems:
        raise HomelabError(problems)

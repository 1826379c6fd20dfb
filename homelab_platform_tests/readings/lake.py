"""Help for tests of the reading side: Iceberg tables made with the library itself, without the ingest under test.

Belongs here: rows as the contract has them, written in one commit. Not a fixture: tests say what they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from sqlalchemy import NullPool, create_engine

from homelab_platform.readings.contract import READINGS, REJECTED, readings_schema, rejected_schema
from homelab_platform.tools.endpoints import Lakehouse


def catalog_of(lakehouse: Lakehouse) -> SqlCatalog:
    """The lake's catalog as PyIceberg opens it, without a pool: no connection outlives its use."""
    url = lakehouse.postgres.url("postgresql+psycopg")
    catalog = SqlCatalog(
        "hive",
        uri=url,
        warehouse=f"s3://{lakehouse.lake_bucket}/warehouse",
        **{
            "s3.endpoint": lakehouse.objects.url,
            "s3.access-key-id": lakehouse.objects.access_key,
            "s3.secret-access-key": lakehouse.objects.secret_key,
            "s3.region": lakehouse.objects.region,
        },
    )
    catalog.engine.dispose()
    catalog.engine = create_engine(url, poolclass=NullPool)
    return catalog


def make_table(catalog: SqlCatalog, identifier: str, schema: Schema, *, by_date: bool = True) -> Table:
    """A table, partitioned by its column `date`."""
    catalog.create_namespace_if_not_exists(identifier.split(".", maxsplit=1)[0])
    if not by_date:
        return catalog.create_table(identifier, schema=schema)
    field = PartitionField(schema.find_field("date").field_id, 1000, IdentityTransform(), "date")
    return catalog.create_table(identifier, schema=schema, partition_spec=PartitionSpec(field))


def make_readings(lakehouse: Lakehouse, rows: Sequence[Mapping[str, Any]]) -> Table:
    """`default.sensor_data` with these rows, each given at least ts, device, sensor, value."""
    table = make_table(catalog_of(lakehouse), READINGS, readings_schema())
    add_readings(table, rows)
    return table


def add_readings(table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Commit rows, `date` filled from `ts`."""
    if rows:
        made = [{"site": "home", "quality": "ok", **row, "date": row["ts"].astimezone(UTC).date()} for row in rows]
        table.append(pa.Table.from_pylist(made, schema=table.schema().as_arrow()))


def make_rejected(lakehouse: Lakehouse, rows: Sequence[Mapping[str, Any]]) -> Table:
    """`default.sensor_data_rejected` with these rows."""
    table = make_table(catalog_of(lakehouse), REJECTED, rejected_schema(), by_date=False)
    table.append(pa.Table.from_pylist([dict(row) for row in rows], schema=table.schema().as_arrow()))
    return table


def at(text: str) -> datetime:
    """A moment in UTC from `2026-11-01 10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

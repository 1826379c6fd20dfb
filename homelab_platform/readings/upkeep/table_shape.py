"""How a table lies in the object store: files, bytes, manifests, snapshots, and how long a look at a day takes.

Belongs here: measuring, so that upkeep can say what it saved. Not here: upkeep itself (maintenance.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.marts.relations import on_days
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg

if TYPE_CHECKING:
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.iceberg.tables import TableState


@dataclass(frozen=True)
class Shape:
    """A table at one moment: what its current snapshot and its metadata refer to."""

    table: str
    rows: int
    files: int
    bytes: int
    delete_files: int
    manifests: int
    manifest_bytes: int
    snapshots: int
    statistics: int


def shape(lakehouse: Lakehouse, name: str) -> Shape:
    """The shape of the table `namespace.name`. Raises HomelabError if there is none."""
    io = iceberg.open_io(lakehouse)
    with closing(io.store), ledger.connect(lakehouse) as connection:
        return _of(iceberg.load_table(connection, lakehouse, name), io)


def _of(state: TableState, io: StoreFileIO) -> Shape:
    snapshot = state.metadata.current_snapshot()
    totals = dict(snapshot.summary.additional_properties) if snapshot and snapshot.summary else {}
    manifests = iceberg.manifests(state, io)
    return Shape(
        state.name,
        int(totals.get("total-records", 0)),
        int(totals.get("total-data-files", 0)),
        int(totals.get("total-files-size", 0)),
        int(totals.get("total-delete-files", 0)),
        len(manifests),
        sum(manifest.manifest_length for manifest in manifests),
        len(state.metadata.snapshots),
        len(state.metadata.statistics),
    )


def scan_seconds(lakehouse: Lakehouse, days: Sequence[date]) -> float | None:
    """Seconds that DuckDB takes to add up the values of these days; None without days."""
    if not days:
        return None
    with closing(engine.connect(lakehouse)) as sql:
        query = f"SELECT count(*), sum(value) FROM {CATALOG}.{READINGS} WHERE {on_days(days)}"  # noqa: S608
        began = time.monotonic()
        sql.execute(query).fetchall()
        return time.monotonic() - began

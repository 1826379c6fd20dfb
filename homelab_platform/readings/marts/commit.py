"""The commit of a mart: the files of the days computed in the place of those of before, as one Iceberg snapshot.

Belongs here: which files come and go, and the report of it. Not here: what to compute (refresh.py).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.readings import parquet
from homelab_platform.readings.marts.files import sweep
from homelab_platform.readings.marts.tables import Mart
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.iceberg.snapshot import Change

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO

ATTEMPTS = 5


@dataclass(frozen=True)
class MartReport:
    """What a refresh did: rows of the days computed, which days, those whose rows changed, the snapshot now, and the
    rows of each day computed.
    """

    name: str
    rows: int
    dates: tuple[date, ...]
    changed: tuple[date, ...]
    snapshot_id: int | None
    by_day: Mapping[date, int] = field(default_factory=dict)


def entries(connection: psycopg.Connection, lakehouse: Lakehouse, mart: Mart) -> list[Any]:
    """The manifest entries of the files that the mart consists of now."""
    io = iceberg.open_io(lakehouse)
    with closing(io.store):
        return iceberg.live_entries(iceberg.load_table(connection, lakehouse, mart.identifier), io)


def day_of(file: DataFile) -> date:
    """The day whose rows a file holds: its partition, as a date or in days since 1970."""
    value = file.partition[0]
    return value if isinstance(value, date) else date(1970, 1, 1) + timedelta(days=int(value))


def commit(
    connection: psycopg.Connection,
    lakehouse: Lakehouse,
    mart: Mart,
    dates: Sequence[date],
    tables: Mapping[date, pa.Table],
) -> MartReport:
    """Put the rows computed for `dates` in the place of what the mart holds of them, in one snapshot; none if nothing
    changed. Raises HomelabError where other engines change it each time.
    """
    io = iceberg.open_io(lakehouse)
    by_day = {day: len(tables[day]) if day in tables else 0 for day in dates}
    rows = sum(by_day.values())
    with closing(io.store):
        for _ in range(ATTEMPTS):
            state = iceberg.load_table(connection, lakehouse, mart.identifier)
            change, changed = _change(state, dates, tables, io)
            if not changed:
                return MartReport(mart.name, rows, tuple(dates), (), state.snapshot_id, by_day)
            try:
                staged = iceberg.stage(state, change, io)
                with connection.transaction():
                    iceberg.swap(connection, staged)
            except iceberg.TableMoved:
                continue
            if len(staged.after.metadata.snapshots) < len(state.metadata.snapshots):
                sweep(staged.after, io)
            return MartReport(mart.name, rows, tuple(dates), changed, staged.after.snapshot_id, by_day)
    raise HomelabError.of(mart.identifier, "other engines keep changing it", "Try again in a moment.")


def _change(
    state: iceberg.TableState, dates: Sequence[date], tables: Mapping[date, pa.Table], io: StoreFileIO
) -> tuple[Change, tuple[date, ...]]:
    """What turns the table's days into the computed ones. A file's name begins with the hash of its content."""
    standing: dict[date, list[str]] = {}
    for entry in iceberg.live_entries(state, io):
        standing.setdefault(day_of(entry.data_file), []).append(entry.data_file.file_path)
    added: list[DataFile] = []
    removed: set[str] = set()
    changed: list[date] = []
    for day in dates:
        before = standing.get(day, [])
        table = tables.get(day)
        data, footer = parquet.encode(table) if table is not None else (b"", None)
        name = hashlib.sha256(data).hexdigest()[:24]
        if (footer is None and not before) or [path.rsplit("/", 1)[1][:24] for path in before] == [name]:
            continue
        changed.append(day)
        removed.update(before)
        if footer is not None:
            path = f"{state.metadata.location}/data/date={day}/{name}-{uuid.uuid4().hex[:8]}.parquet"
            io.store.put(*split_location(path), data)
            spec = state.metadata.default_spec_id
            added.append(parquet.describe(path, footer, state.schema(), size=len(data), partition=day, spec_id=spec))
    operation = "append" if not removed else "overwrite" if added else "delete"
    return Change(added=added, removed=frozenset(removed), operation=operation), tuple(changed)

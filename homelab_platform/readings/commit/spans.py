"""Which stretches of time each series covers on each day, so that new readings are compared with the table only where
they can meet it.

Belongs here: asking and updating `series_span`, finding readings that the table already holds, and learning about
commits by other engines. Not here: sorting and writing new readings (parts).

A span may cover more than the table holds (rows deleted since, gaps): that costs a comparison, never correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.readings import ledger
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO


@dataclass(frozen=True)
class Span:
    """Readings of one series on one day lie within `low` and `high` (inclusive, microseconds since 1970)."""

    date: date
    device: str
    sensor: str
    low: int
    high: int


@dataclass(frozen=True)
class Basis:
    """What new readings were compared with: the table's metadata file and the number of the newest commit."""

    location: str
    seq: int


def basis(connection: psycopg.Connection, lakehouse: Lakehouse, io: StoreFileIO) -> Basis:
    """The state of the table and of the spans, which agree; commits by other engines are taken in first."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = _recorded(connection)
        location = iceberg.pointer(connection, READINGS)
    if found is not None and found.location == location:
        return found
    with ledger.commit_lock(connection):
        return settle(connection, lakehouse, io)


def settle(connection: psycopg.Connection, lakehouse: Lakehouse, io: StoreFileIO) -> Basis:
    """Under the commit lock: bring the spans up to the table's state if another engine moved it."""
    location = iceberg.pointer(connection, READINGS)
    found = _recorded(connection)
    if found is not None and found.location == location:
        return found
    state = iceberg.read_state(READINGS, location, io)
    dates = _foreign_dates(connection, state, io)
    seq = ledger.record_change(connection, "foreign", state.snapshot_id, sorted(dates or ()))
    if dates is None or dates:
        everything = _rebuild(connection, lakehouse, location, dates, seq)
        if dates is None:
            connection.execute("UPDATE lake_changes SET dates = %s WHERE seq = %s", (sorted(everything), seq))
    ledger.record_state(connection, READINGS, location, state.snapshot_id, seq)
    return Basis(location, seq)


def _recorded(connection: psycopg.Connection) -> Basis | None:
    row = connection.execute(
        "SELECT metadata_location, seq FROM lake_state WHERE table_name = %s", (READINGS,)
    ).fetchone()
    return None if row is None else Basis(str(row[0]), int(row[1]))


def _foreign_dates(connection: psycopg.Connection, state: iceberg.TableState, io: StoreFileIO) -> set[date] | None:
    """The days that commits not ours added data files to; None if that can no longer be told."""
    from pyiceberg.manifest import read_manifest_list

    row = connection.execute("SELECT snapshot_id FROM lake_state WHERE table_name = %s", (READINGS,)).fetchone()
    ours = None if row is None else row[0]
    dates: set[date] = set()
    snapshot = state.metadata.current_snapshot()
    while snapshot is not None and snapshot.snapshot_id != ours:
        for manifest in read_manifest_list(io.new_input(snapshot.manifest_list)):
            if manifest.added_snapshot_id == snapshot.snapshot_id:
                for entry in manifest.fetch_manifest_entry(io, discard_deleted=False):
                    if entry.snapshot_id == snapshot.snapshot_id:
                        dates.add(partition_day(entry.data_file.partition[0]))
        parent = snapshot.parent_snapshot_id
        if parent is None:
            return dates if ours is None else None
        snapshot = state.metadata.snapshot_by_id(parent)
        if snapshot is None:
            return None
    return dates


def partition_day(value: Any) -> date:
    """The day of a partition value, which PyIceberg gives as days since 1970."""
    return value if isinstance(value, date) else date.fromordinal(719_163 + int(value))


def _rebuild(
    connection: psycopg.Connection, lakehouse: Lakehouse, location: str, dates: set[date] | None, seq: int
) -> set[date]:
    """Compute the spans of some days (None: of all) from the table itself; returns the days that it holds."""
    from homelab_platform.tools import duckdb

    where = "" if dates is None else "WHERE date IN (SELECT unnest($days))"
    engine = duckdb.connect(lakehouse, pointers=pointers(location))
    try:
        rows = engine.execute(
            "SELECT date, device, sensor, epoch_us(min(ts)), epoch_us(max(ts)) FROM hive.default.sensor_data"  # noqa: S608 - no input in it
            f" {where} GROUP BY ALL",
            {} if dates is None else {"days": sorted(dates)},
        ).fetchall()
    finally:
        engine.close()
    if dates is None:
        connection.execute("DELETE FROM series_span")
    else:
        connection.execute("DELETE FROM series_span WHERE date = ANY(%s)", (sorted(dates),))
    widen(connection, [Span(*row) for row in rows], seq)
    return {row[0] for row in rows}


def pointers(location: str) -> list[Any]:
    """What makes DuckDB see the readings as of one metadata file."""
    from homelab_platform.tools import duckdb

    namespace, _, name = READINGS.partition(".")
    return [duckdb.TablePointer(namespace, name, location)]


def widen(connection: psycopg.Connection, spans: Sequence[Span], seq: int) -> None:
    """Make the recorded spans cover `spans` too, inside the caller's transaction."""
    if not spans:
        return
    connection.execute(
        "INSERT INTO series_span AS s (date, device, sensor, min_ts, max_ts, seq)"
        " SELECT d, v, n, min(a), max(b), %s FROM"
        " unnest(%s::date[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS x (d, v, n, a, b) GROUP BY d, v, n"
        " ON CONFLICT (date, device, sensor) DO UPDATE SET min_ts = least(s.min_ts, excluded.min_ts),"
        " max_ts = greatest(s.max_ts, excluded.max_ts), seq = excluded.seq",
        (seq, *_arrays(spans)),
    )


def meeting(connection: psycopg.Connection, spans: Sequence[Span], after_seq: int = -1) -> list[int]:
    """The positions of those `spans` that meet a recorded span changed after commit `after_seq`."""
    if not spans:
        return []
    rows = connection.execute(
        "SELECT x.i - 1 FROM unnest(%s::date[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])"
        " WITH ORDINALITY AS x (d, v, n, a, b, i) JOIN series_span s"
        " ON s.date = x.d AND s.device = x.v AND s.sensor = x.n AND s.min_ts <= x.b AND s.max_ts >= x.a"
        " WHERE s.seq > %s",
        (*_arrays(spans), after_seq),
    ).fetchall()
    return sorted(int(row[0]) for row in rows)


def _arrays(spans: Sequence[Span]) -> tuple[list[Any], ...]:
    return (
        [s.date for s in spans],
        [s.device for s in spans],
        [s.sensor for s in spans],
        [s.low for s in spans],
        [s.high for s in spans],
    )


@dataclass(frozen=True)
class Known:
    """A reading that is there already: its row in what was asked; `other` is the source of one with another value."""

    row: int
    other: str | None


def already_there(
    lakehouse: Lakehouse, ours: pa.Table, dates: Sequence[date], *, location: str | None, files: Sequence[str] = ()
) -> list[Known]:
    """Which rows of `ours` (columns row, device, sensor, ts in µs, value) the table, or one of the Parquet `files`,
    holds.

    Reads only the identity columns of the given days, with a bounded memory.
    """
    from homelab_platform.tools import duckdb

    if not len(ours):
        return []
    engine = duckdb.connect(lakehouse, pointers=pointers(location) if location else [], threads=1)
    try:
        duckdb.lend(engine, "ours", ours)
        low, high = engine.execute("SELECT min(ts), max(ts) FROM ours").fetchone() or (0, 0)
        # In the text and not as parameters, for which DuckDB imports pandas as well.
        days = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(set(dates)))
        listed = ", ".join(duckdb.text(file) for file in files)
        found: dict[int, Known] = {}
        for source in (["hive.default.sensor_data"] if location else []) + (
            [f"read_parquet([{listed}], hive_partitioning=false)"] if files else []
        ):
            rows = engine.execute(
                "SELECT o.row, CASE WHEN t.value <> o.value THEN coalesce(t.source, '') END FROM ours o JOIN"  # noqa: S608 - fixed sources, dates, numbers, quoted names
                f" (SELECT device, sensor, epoch_us(ts) AS ts, value, source FROM {source} WHERE date IN ({days})"
                f" AND ts BETWEEN make_timestamptz({int(low)}) AND make_timestamptz({int(high)})) t"
                " ON o.device = t.device AND o.sensor = t.sensor AND o.ts = t.ts"
            ).fetchall()
            found.update((int(row), Known(int(row), other)) for row, other in rows)
    finally:
        engine.close()
    return [found[row] for row in sorted(found)]

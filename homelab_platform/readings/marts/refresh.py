"""Computing marts for the days that changed, and committing each as one Iceberg snapshot.

Belongs here: making tables, which days to compute, the relations that the SQL reads, the commit. Not here: what a mart
holds (tables.py).

A day of a mart is one partition and one file. A refresh replaces the files of exactly the days it computed, in one
commit; a day whose rows did not change keeps its file, and if no day changed nothing is committed. Refreshes of the
same mart wait for each other, so that the newer one always reads the newer readings.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.readings import ledger, parquet
from homelab_platform.readings.contract import CATALOG, READINGS
from homelab_platform.readings.marts.anomaly_rows import anomaly_rows
from homelab_platform.readings.marts.files import sweep
from homelab_platform.readings.marts.tables import ANOMALIES, MARTS, NAMESPACE, Mart
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools import iceberg
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg_io import split_location

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile

    from homelab_platform.tools.iceberg_io import StoreFileIO

FINGERPRINT = "homelab.fingerprint"
VERSION_PROPERTY = "homelab.mart"
LOCK_CLASS = 0x48_4C_4D
CHUNK_DAYS = 31
ATTEMPTS = 5
_READINGS_COLUMNS = "ts, date, site, device, sensor, value, unit, quality, source"


@dataclass(frozen=True)
class MartReport:
    """What a refresh did: rows of the days computed, which days, those whose rows changed, the snapshot now."""

    name: str
    rows: int
    dates: tuple[date, ...]
    changed: tuple[date, ...]
    snapshot_id: int | None


def ensure_mart_tables(
    lakehouse: Lakehouse, names: Iterable[str] | None = None, *, fingerprints: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make the tables of these marts (None: of all); returns `created`, `replaced` or `present` for each.

    A table whose columns are not the mart's any more is replaced by an empty one, as all its rows can be computed
    again. `fingerprints` become the table property `homelab.fingerprint`.
    """
    done: dict[str, str] = {}
    for name in MARTS if names is None else names:
        mart = _mart(name)
        done[name] = _ensure(lakehouse, mart)
        fingerprint = (fingerprints or {}).get(name)
        if fingerprint is not None:
            _set_property(lakehouse, mart, FINGERPRINT, fingerprint)
    return done


def remove_mart(lakehouse: Lakehouse, name: str) -> bool:
    """Take a mart's table out of the catalog and delete its files; returns whether it was there."""
    mart = _mart(name)
    with _locked(lakehouse, mart) as connection:
        gone = connection.execute(
            "DELETE FROM iceberg_tables WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s",
            (CATALOG, NAMESPACE, name),
        )
    store = iceberg.open_io(lakehouse).store
    with closing(store):
        store.delete(lakehouse.lake_bucket, (f.key for f in store.list(lakehouse.lake_bucket, f"{NAMESPACE}/{name}/")))
    return gone.rowcount == 1


def refresh_mart(
    lakehouse: Lakehouse,
    name: str,
    dates: Iterable[date] | None = None,
    streams: Mapping[str, ResolvedStream] | None = None,
    *,
    now: datetime | None = None,
) -> MartReport:
    """Compute a mart for the days on which readings changed (None: for all days), and commit it.

    `streams` gives expected paces, listed devices and tables of readings. Days after a changed one that depend on it
    are computed too. Afterwards the mart is what a computation of all days would give. Raises HomelabError if the mart
    or the lake is not there.
    """
    mart = _mart(name)
    known = dict(streams or {})
    moment = now or datetime.now(UTC)
    with _locked(lakehouse, mart) as connection, closing(engine.connect(lakehouse)) as sql:
        _make_relations(sql, known, moment)
        present = _days_present(sql)
        if dates is None:
            kept = {_day(entry.data_file) for entry in _entries(connection, lakehouse, mart)}
            wanted = tuple(sorted(present | kept))
        else:
            wanted = _affected(mart, set(dates), present)
        tables = _compute(sql, mart, wanted)
        return _commit(connection, lakehouse, mart, wanted, tables)


def _mart(name: str) -> Mart:
    mart = MARTS.get(name.removeprefix(f"{NAMESPACE}."))
    if mart is None:
        raise HomelabError.of(f"mart {name}", "there is no such mart", f"There are: {', '.join(MARTS)}.")
    return mart


@contextmanager
def _locked(lakehouse: Lakehouse, mart: Mart) -> Iterator[psycopg.Connection[Any]]:
    """A connection that holds the mart's lock until it is closed."""
    with ledger.connect(lakehouse) as connection:
        number = zlib.crc32(mart.name.encode()) & 0x7FFF_FFFF
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, number))
        yield connection


# Tables


def _ensure(lakehouse: Lakehouse, mart: Mart) -> str:
    made = _create(lakehouse, mart)
    if made:
        return "created"
    with ledger.connect(lakehouse) as connection:
        state = iceberg.load_table(connection, lakehouse, mart.identifier)
    found = [(f.name, str(f.field_type)) for f in state.schema().fields]
    if found == [(f.name, str(f.field_type)) for f in mart.schema().fields]:
        return "present"
    remove_mart(lakehouse, mart.name)
    _create(lakehouse, mart)
    return "replaced"


def _create(lakehouse: Lakehouse, mart: Mart) -> bool:
    return iceberg.ensure_table(
        lakehouse,
        mart.identifier,
        mart.schema(),
        partition_by="date",
        sort_by=mart.sort,
        properties={
            "format-version": "2",
            "write.format.default": "parquet",
            "write.metadata.previous-versions-max": "8",
            "write.metadata.delete-after-commit.enabled": "true",
            "comment": mart.about,
        },
    )


def _set_property(lakehouse: Lakehouse, mart: Mart, name: str, value: str) -> None:
    from pyiceberg.table.update import SetPropertiesUpdate

    io = iceberg.open_io(lakehouse)
    with closing(io.store), _locked(lakehouse, mart) as connection:
        for _ in range(ATTEMPTS):
            state = iceberg.load_table(connection, lakehouse, mart.identifier)
            if state.metadata.properties.get(name) == value:
                return
            staged = iceberg.stage(state, iceberg.Change(updates=(SetPropertiesUpdate(updates={name: value}),)), io)
            try:
                with connection.transaction():
                    iceberg.swap(connection, staged)
            except iceberg.TableMoved:
                continue
            return
    raise HomelabError.of(mart.identifier, "other engines keep changing it", "Try again in a moment.")


# What to compute


def _affected(mart: Mart, changed: set[date], present: set[date]) -> tuple[date, ...]:
    """The changed days, and those with readings after them that depend on them."""
    later = {
        day + timedelta(days=ahead)
        for day in changed
        for ahead in range(1, mart.affects + 1)
        if day + timedelta(days=ahead) in present
    }
    return tuple(sorted(changed | later))


def _days_present(sql: DuckDBPyConnection) -> set[date]:
    return {row[0] for row in sql.execute("SELECT DISTINCT date FROM readings").fetchall()}


def _make_relations(sql: DuckDBPyConnection, streams: Mapping[str, ResolvedStream], moment: datetime) -> None:
    """The relations and variables that tables.py promises to the SQL of the marts."""
    names = {str(row[0]) for row in sql.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE database_name = 'hive' AND NOT internal"
    ).fetchall()}  # fmt: skip
    tables = sorted({READINGS, *(stream.table for stream in streams.values())} & names)
    if not tables:
        raise HomelabError.of(f"{CATALOG}.{READINGS}", "there is no table of readings", "`homelab apply` makes it.")
    parts = [f"SELECT {_READINGS_COLUMNS} FROM {CATALOG}.{_quoted(table)}" for table in tables]  # noqa: S608
    sql.execute(f"CREATE TEMP VIEW readings AS {' UNION ALL '.join(parts)}")
    refused = [f"SELECT source FROM {CATALOG}.{_quoted(f'{t}_rejected')}" for t in tables if f"{t}_rejected" in names]  # noqa: S608
    sql.execute(
        f"CREATE TEMP VIEW rejected AS {' UNION ALL '.join(refused) or 'SELECT NULL::VARCHAR AS source WHERE false'}"
    )
    sql.execute("SET VARIABLE as_of = $1::TIMESTAMP", [moment.astimezone(UTC).replace(tzinfo=None)])
    sql.execute("CREATE TEMP TABLE days (date DATE)")
    sql.execute("CREATE TEMP TABLE sensors (stream VARCHAR, sensor VARCHAR, every DOUBLE)")
    sql.execute("CREATE TEMP TABLE devices (stream VARCHAR, device VARCHAR, site VARCHAR)")
    for stream in streams.values():
        place = stream.source_settings.get("site")
        for sensor in stream.sensors.values():
            sql.execute("INSERT INTO sensors VALUES ($1, $2, $3)", [stream.name, sensor.name, sensor.every])
        for device in stream.devices:
            sql.execute("INSERT INTO devices VALUES ($1, $2, $3)", [stream.name, device, place])


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def _compute(sql: DuckDBPyConnection, mart: Mart, dates: Sequence[date]) -> dict[date, pa.Table]:
    """The rows of each day, sorted, with the columns of the mart; days without rows are not in it."""
    found: dict[date, pa.Table] = {}
    for begin in range(0, len(dates), CHUNK_DAYS):
        chunk = dates[begin : begin + CHUNK_DAYS]
        found.update(_split(mart, _rows(sql, mart, chunk)))
    return found


def _rows(sql: DuckDBPyConnection, mart: Mart, chunk: Sequence[date]) -> pa.Table:
    back = [day - timedelta(days=n) for day in chunk for n in range(mart.affects + 1)]
    history = _in(back)
    if mart is ANOMALIES:
        return anomaly_rows(sql, history, chunk)
    sql.execute("DELETE FROM days")
    sql.execute("INSERT INTO days SELECT unnest($1::DATE[])", [[day.isoformat() for day in chunk]])
    return sql.execute(mart.sql.format(dates=_in(chunk), history=history)).to_arrow_table()


def _in(days: Sequence[date]) -> str:
    """A condition on `date` that Iceberg can use to leave files unread."""
    listed = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(set(days)))
    return f"(date >= DATE '{min(days)}' AND date <= DATE '{max(days)}' AND date IN ({listed}))"


def _split(mart: Mart, rows: pa.Table) -> dict[date, pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [column[0] for column in mart.columns]
    schema = parquet.arrow_schema(mart.schema(), names)
    ordered = rows.select(names).sort_by([(name, "ascending") for name in ("date", *mart.sort)])
    table = pa.table([ordered[name].cast(schema.field(name).type) for name in names], schema=schema)
    return {day: table.filter(pc.equal(table["date"], day)) for day in table["date"].unique().to_pylist()}


# The commit


def _entries(connection: psycopg.Connection[Any], lakehouse: Lakehouse, mart: Mart) -> list[Any]:
    io = iceberg.open_io(lakehouse)
    with closing(io.store):
        return iceberg.live_entries(iceberg.load_table(connection, lakehouse, mart.identifier), io)


def _day(file: DataFile) -> date:
    value = file.partition[0]
    return value if isinstance(value, date) else date(1970, 1, 1) + timedelta(days=int(value))


def _commit(
    connection: psycopg.Connection[Any],
    lakehouse: Lakehouse,
    mart: Mart,
    dates: Sequence[date],
    tables: Mapping[date, pa.Table],
) -> MartReport:
    io = iceberg.open_io(lakehouse)
    rows = sum(len(table) for table in tables.values())
    with closing(io.store):
        for _ in range(ATTEMPTS):
            state = iceberg.load_table(connection, lakehouse, mart.identifier)
            change, changed = _change(state, dates, tables, io)
            if not changed:
                return MartReport(mart.name, rows, tuple(dates), (), state.snapshot_id)
            try:
                staged = iceberg.stage(state, change, io)
                with connection.transaction():
                    iceberg.swap(connection, staged)
            except iceberg.TableMoved:
                continue
            if len(staged.after.metadata.snapshots) < len(state.metadata.snapshots):
                sweep(staged.after, io)
            return MartReport(mart.name, rows, tuple(dates), changed, staged.after.snapshot_id)
    raise HomelabError.of(mart.identifier, "other engines keep changing it", "Try again in a moment.")


def _change(
    state: iceberg.TableState, dates: Sequence[date], tables: Mapping[date, pa.Table], io: StoreFileIO
) -> tuple[iceberg.Change, tuple[date, ...]]:
    """What turns the table's days into the computed ones. A file's name begins with the hash of its content."""
    standing: dict[date, list[str]] = {}
    for entry in iceberg.live_entries(state, io):
        standing.setdefault(_day(entry.data_file), []).append(entry.data_file.file_path)
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
    return iceberg.Change(added=added, removed=frozenset(removed), operation=operation), tuple(changed)

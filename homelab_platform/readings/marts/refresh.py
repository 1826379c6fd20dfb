"""Computing marts for the days that changed, and committing each as one Iceberg snapshot.

Belongs here: making tables, which days to compute, the relations that the SQL reads. Not here: what a mart holds
(tables.py), or how its files are replaced (commit.py).

A day of a mart is one partition and one file. A refresh replaces the files of exactly the days it computed, in one
commit; a day whose rows did not change keeps its file, and if no day changed nothing is committed. Refreshes of the
same mart wait for each other, so that the newer one always reads the newer readings.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger, parquet
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.marts import relations
from homelab_platform.readings.marts.anomaly_rows import anomaly_rows
from homelab_platform.readings.marts.commit import ATTEMPTS, MartReport, commit, day_of, entries
from homelab_platform.readings.marts.relations import Sources
from homelab_platform.readings.marts.tables import DETECTED, MARTS, NAMESPACE, Mart, known_mart, reach
from homelab_platform.tools import advisory_locks
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.snapshot import Change

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


FINGERPRINT = "homelab.fingerprint"
VERSION_PROPERTY = "homelab.mart"
CHUNK_DAYS = 31
AT_ONCE = 250_000
"""Readings that are computed together: statistics hold each value twice, in order, some 500 bytes a reading."""


def ensure_mart_tables(
    lakehouse: Lakehouse,
    names: Iterable[str] | None = None,
    *,
    fingerprints: Mapping[str, str] | None = None,
    marts: Mapping[str, Mart] = MARTS,
) -> dict[str, str]:
    """Make the tables of these marts (None: of all); returns `created`, `replaced` or `present` for each.

    A table whose columns are not the mart's any more is replaced by an empty one, as all its rows can be computed
    again. `fingerprints` become the table property `homelab.fingerprint`.
    """
    done: dict[str, str] = {}
    for name in marts if names is None else names:
        mart = known_mart(name, marts)
        done[name] = _ensure(lakehouse, mart)
        fingerprint = (fingerprints or {}).get(name)
        if fingerprint is not None:
            _set_property(lakehouse, mart, FINGERPRINT, fingerprint)
    return done


def remove_mart(lakehouse: Lakehouse, name: str) -> bool:
    """Take a mart's table out of the catalog and delete its files; returns whether it was there."""
    name = name.removeprefix(f"{NAMESPACE}.")
    with _locked(lakehouse, name) as connection:
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
    marts: Mapping[str, Mart] = MARTS,
    exactly: bool = False,
) -> MartReport:
    """Compute a mart for the days on which readings changed (None: for all days), and commit it.

    `streams` gives expected paces, listed devices and tables of readings; `marts` are those of the lab. Days after a
    changed one that depend on it are computed too, unless just the given ones are wanted (`exactly`). Afterwards the
    mart is what a computation of all days would give. Raises HomelabError if the mart or the lake is not there, or if
    the mart's SQL cannot be run.
    """
    mart = known_mart(name, marts)
    known = dict(streams or {})
    moment = now or datetime.now(UTC)
    with _locked(lakehouse, mart.name) as connection, closing(engine.connect(lakehouse)) as sql:
        sources = _sources(sql, known, moment)
        counts = _counts(sql, sources)
        present = set(counts)
        if dates is None:
            kept = {day_of(entry.data_file) for entry in entries(connection, lakehouse, mart)}
            wanted = tuple(sorted(present | kept))
        else:
            wanted = _affected(set(dates), 0 if exactly else reach(mart, marts), present)
        tables = _compute(sql, mart, sources, wanted, counts)
        return commit(connection, lakehouse, mart, wanted, tables)


@contextmanager
def _locked(lakehouse: Lakehouse, name: str) -> Iterator[psycopg.Connection]:
    """A connection that holds the mart's lock until it is closed."""
    with ledger.connect(lakehouse) as connection:
        number = zlib.crc32(name.encode()) & 0x7FFF_FFFF
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (advisory_locks.MART, number))
        yield connection


def days_of_mart(
    lakehouse: Lakehouse,
    name: str,
    streams: Mapping[str, ResolvedStream] | None = None,
    *,
    marts: Mapping[str, Mart] = MARTS,
) -> tuple[date, ...]:
    """Every day that a computation of the whole mart looks at: those with readings, and those the mart has rows of."""
    mart = known_mart(name, marts)
    with ledger.connect(lakehouse) as connection, closing(engine.connect(lakehouse)) as sql:
        present = set(_counts(sql, _sources(sql, dict(streams or {}), datetime.now(UTC))))
        kept = {day_of(entry.data_file) for entry in entries(connection, lakehouse, mart)}
    return tuple(sorted(present | kept))


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
    with closing(io.store), _locked(lakehouse, mart.name) as connection:
        for _ in range(ATTEMPTS):
            state = iceberg.load_table(connection, lakehouse, mart.identifier)
            if state.metadata.properties.get(name) == value:
                return
            staged = iceberg.stage(state, Change(updates=(SetPropertiesUpdate(updates={name: value}),)), io)
            try:
                with connection.transaction():
                    iceberg.swap(connection, staged)
            except iceberg.TableMoved:
                continue
            return
    raise HomelabError.of(mart.identifier, "other engines keep changing it", "Try again in a moment.")


# What to compute


def _affected(changed: set[date], ahead_most: int, present: set[date]) -> tuple[date, ...]:
    """The changed days, and those with readings after them that depend on them."""
    later = {
        day + timedelta(days=ahead)
        for day in changed
        for ahead in range(1, ahead_most + 1)
        if day + timedelta(days=ahead) in present
    }
    return tuple(sorted(changed | later))


def _counts(sql: DuckDBPyConnection, sources: Sources) -> dict[date, int]:
    """How many readings each day has."""
    parts = [f"SELECT date FROM {CATALOG}.{relations.quoted(table)}" for table in sources.tables]  # noqa: S608
    query = f"SELECT date, count(*) FROM ({' UNION ALL '.join(parts)}) AS dates GROUP BY date"  # noqa: S608
    return dict(sql.execute(query).fetchall())


def _sources(sql: DuckDBPyConnection, streams: Mapping[str, ResolvedStream], moment: datetime) -> Sources:
    """The tables of readings, and of rejected lines, that are there now."""
    names = {str(row[0]) for row in sql.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE database_name = 'hive' AND NOT internal"
    ).fetchall()}  # fmt: skip
    tables = sorted({READINGS, *(stream.table for stream in streams.values())} & names)
    if not tables:
        raise HomelabError.of(f"{CATALOG}.{READINGS}", "there is no table of readings", "`homelab apply` makes it.")
    refused = tuple(f"{table}_rejected" for table in tables if f"{table}_rejected" in names)
    return Sources(tuple(tables), refused, streams, moment)


def _compute(
    sql: DuckDBPyConnection, mart: Mart, sources: Sources, dates: Sequence[date], counts: Mapping[date, int]
) -> dict[date, pa.Table]:
    """The rows of each day, sorted, with the columns of the mart; days without rows are not in it."""
    import pyarrow as pa

    found: dict[date, pa.Table] = {}
    for chunk, readings in portions(dates, counts, mart.affects):
        number = math.ceil(readings / AT_ONCE) if mart.apart else 1
        parts = [relations.Part(mart.apart, n, number) for n in range(number)] or [relations.WHOLE]
        found.update(_split(mart, pa.concat_tables([_rows(sql, mart, sources, chunk, part) for part in parts])))
    return found


def portions(
    dates: Sequence[date], counts: Mapping[date, int], lookback: int
) -> Iterator[tuple[tuple[date, ...], int]]:
    """Runs of `dates` to be computed together, each with the number of readings that are read for it.

    No more than AT_ONCE readings come together, unless a single day with the `lookback` days before it has more.
    """

    def read_for(days: Sequence[date]) -> int:
        back = {day - timedelta(days=n) for day in days for n in range(lookback + 1)}
        return sum(counts.get(day, 0) for day in back)

    chunk: tuple[date, ...] = ()
    for day in dates:
        if chunk and (len(chunk) == CHUNK_DAYS or read_for((*chunk, day)) > AT_ONCE):
            yield chunk, read_for(chunk)
            chunk = ()
        chunk = (*chunk, day)
    if chunk:
        yield chunk, read_for(chunk)


def _rows(
    sql: DuckDBPyConnection, mart: Mart, sources: Sources, chunk: Sequence[date], part: relations.Part
) -> pa.Table:
    import duckdb

    try:
        relations.prepare(sql, sources, chunk, mart.affects, part)
        if mart.name == DETECTED:
            return anomaly_rows(sql, mart, chunk)
        return sql.execute(relations.of_days(mart, chunk)).to_arrow_table()
    except duckdb.IOException:
        raise  # the lake does not answer: that is not the mart's fault
    except duckdb.OutOfMemoryException:
        raise HomelabError.of(
            f"{mart.identifier} ({mart.file})",
            f"the readings of {chunk[0]} need more memory than it may use ({engine.MEMORY_LIMIT})",
            "Its table is unchanged. If rows of different devices or sensors need nothing of each other, say so beside "
            "its SQL: `apart: [device, sensor]`; then a large day is computed in parts.",
        ) from None
    except duckdb.Error as error:
        what = str(error).strip().split("\n\n", maxsplit=1)[0].replace("\n", " ")[:600]
        raise HomelabError.of(
            f"{mart.identifier} ({mart.file})", what, "Correct its SQL; its table is unchanged."
        ) from None


def _split(mart: Mart, rows: pa.Table) -> dict[date, pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [column.name for column in mart.columns]
    schema = parquet.arrow_schema(mart.schema(), names)
    missing = [name for name in names if name not in rows.column_names]
    if missing:
        what = f"its SQL gives no column {missing[0]}"
        raise HomelabError.of(f"{mart.identifier} ({mart.file})", what, "Compute it, or take it out of its columns.")
    ordered = rows.select(names).sort_by([(name, "ascending") for name in ("date", *mart.sort)])
    table = pa.table([_cast(mart, ordered[name], schema.field(name)) for name in names], schema=schema)
    return {day: table.filter(pc.equal(table["date"], day)) for day in table["date"].unique().to_pylist()}


def _cast(mart: Mart, values: Any, field: Any) -> Any:
    import pyarrow as pa

    try:
        return values.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = f"column {field.name}: {values.type} does not become {field.type}: {str(error).splitlines()[0]}"
        raise HomelabError.of(
            f"{mart.identifier} ({mart.file})", what, "Cast it in the SQL, or say its type."
        ) from None

"""The measurements that the verdicts of verdicts.py judge: read from the lake, the ledger and the raw bucket.

Belongs here: queries. Not here: what is good enough (verdicts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.readings import ledger
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.readings.quality import arrivals, verdicts
from homelab_platform.readings.quality.columns import demand_contract
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WINDOW = timedelta(days=1)  # that range, gaps and rejected lines are judged over
REMEMBERED = timedelta(days=7)  # a series silent for longer has ended, it is not late
SETTLING = timedelta(minutes=10)  # an object younger than this may still wait

# A device whose clock is ahead is as fresh as its last arrival, not as its times say: `seen` is the earlier of the two.
_SERIES = """
WITH r AS (
    SELECT split_part(source, '/', 1) AS stream, device, sensor, ts, quality, least(ts, ingested_at) AS seen,
        epoch(ts) - epoch(lag(ts) OVER (PARTITION BY device, sensor ORDER BY ts)) AS step
    FROM sensor_data
    WHERE date >= $since::DATE AND date <= CAST($until::DATE + INTERVAL '1' DAY AS DATE) AND ts > $since::TIMESTAMPTZ
        AND least(ts, ingested_at) <= $until::TIMESTAMPTZ
), windowed AS (
    SELECT r.*, p.every, r.ts > $recent::TIMESTAMPTZ AS recent
    FROM r LEFT JOIN paces p ON p.stream = r.stream AND p.sensor = r.sensor
)
SELECT arg_max(stream, ts), device, sensor, max(seen),
    count(*) FILTER (WHERE recent),
    count(*) FILTER (WHERE recent AND quality = 'out_of_range'),
    count(*) FILTER (WHERE recent AND quality = 'simulated'),
    min(every),
    coalesce(sum(step / every - 1) FILTER (WHERE recent AND step > 3 * every), 0),
    coalesce(max(step) FILTER (WHERE recent AND step > 3 * every), 0)
FROM windowed GROUP BY device, sensor ORDER BY device, sensor
"""
_REJECTED = """
SELECT coalesce(a.stream, b.stream) AS stream, coalesce(accepted, 0), reason, coalesce(lines, 0) FROM (
    SELECT split_part(source, '/', 1) AS stream, count(*) AS accepted FROM sensor_data
    WHERE date >= $oldest::DATE AND ingested_at > $recent::TIMESTAMPTZ GROUP BY 1
) a FULL JOIN (
    SELECT split_part(source, '/', 1) AS stream, reason, count(*) AS lines FROM sensor_data_rejected
    WHERE ingested_at > $recent::TIMESTAMPTZ GROUP BY 1, 2
) b ON b.stream = a.stream ORDER BY 1, 4 DESC, 3
"""


def check_readings(
    lakehouse: Lakehouse, streams: Mapping[str, ResolvedStream], *, now: datetime | None = None
) -> list[verdicts.CheckResult]:
    """The verdicts on `default.sensor_data`: freshness, range, gaps, rejected, conservation, clocks, burst.

    Raises HomelabError if the lake cannot be read, or lacks a column that every measurement needs.
    """
    moment = now or datetime.now(UTC)
    with ObjectStore(lakehouse.objects) as store:
        objects = {o.key: o.etag for o in store.list(lakehouse.raw_bucket) if o.last_modified < moment - SETTLING}
    book = read_ledger(lakehouse)
    with ledger.connect(lakehouse) as connection:
        rates = arrivals.measure_rates(connection, lakehouse.raw_bucket, moment)
    with closing(engine.connect(lakehouse, pointers=book.pointers)) as sql:
        demand_contract(sql)
        found_clocks = arrivals.measure_clocks(sql, moment)
        series = measure_series(sql, streams, moment)
        refused = measure_rejected(sql, moment)
        counted = measure_conservation(sql, objects, book)
    return [
        verdicts.freshness(series, moment),
        verdicts.value_range(series),
        verdicts.gaps(series),
        verdicts.rejected(refused),
        verdicts.conservation(counted),
        arrivals.clocks(found_clocks),
        arrivals.burst(rates),
    ]


@dataclass(frozen=True)
class Book:
    """The ledger's rows (key, etag, status, rows, rejected) and the tables, both as of the same commit."""

    rows: Sequence[tuple[str, str, str, int, int]]
    removed: bool
    pointers: tuple[engine.TablePointer, ...]


def read_ledger(lakehouse: Lakehouse) -> Book:
    """Ledger and table pointers in one transaction: an ingest that commits now is in both or in neither."""
    with ledger.connect(lakehouse) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = connection.execute(
            "SELECT key, etag, status, rows, rejected FROM ingest_ledger WHERE bucket = %s", (lakehouse.raw_bucket,)
        ).fetchall()
        removed = connection.execute(
            "SELECT count(*) > 0 FROM lake_changes WHERE kind IN ('retention', 'foreign')"
        ).fetchone()
        return Book(rows, bool(removed and removed[0]), engine.table_pointers(lakehouse, connection))


def measure_series(
    sql: DuckDBPyConnection, streams: Mapping[str, ResolvedStream], now: datetime
) -> list[verdicts.SeriesMeasure]:
    """Every series with a reading in the last week, over the last day; `sql` is a connection to the lake."""
    sql.execute("CREATE OR REPLACE TEMP TABLE paces (stream VARCHAR, sensor VARCHAR, every DOUBLE)")
    for stream in streams.values():
        for sensor in stream.sensors.values():
            if sensor.every:
                sql.execute("INSERT INTO paces VALUES ($1, $2, $3)", [stream.name, sensor.name, sensor.every])
    found = sql.execute(_SERIES, {"since": now - REMEMBERED, "until": now, "recent": now - WINDOW}).fetchall()
    return [verdicts.SeriesMeasure(*row) for row in found]


def measure_rejected(sql: DuckDBPyConnection, now: datetime) -> list[verdicts.RejectedMeasure]:
    """Accepted readings and rejected lines of the last day, by the time of their ingest."""
    oldest = now - timedelta(days=3650)
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for stream, accepted, reason, lines in sql.execute(
        _REJECTED, {"recent": now - WINDOW, "oldest": oldest}
    ).fetchall():
        reasons = found.setdefault(str(stream), (int(accepted), {}))[1]
        if reason is not None:
            reasons[str(reason)] = int(lines)
    return [verdicts.RejectedMeasure(stream, *rest) for stream, rest in found.items()]


def measure_conservation(sql: DuckDBPyConnection, objects: Mapping[str, str], book: Book) -> verdicts.Conservation:
    """The bucket's objects (key and etag, those old enough) against the ledger, the ledger against the tables."""
    known = {(key, etag) for key, etag, *_ in book.rows}
    quarantined = sorted(key for key, _etag, status, *_ in book.rows if status == "quarantined")
    return verdicts.Conservation(
        objects=len(objects),
        known=len(book.rows),
        waiting=sorted(key for key, etag in objects.items() if (key, etag) not in known),
        quarantined=quarantined,
        ledger_rows=sum(row[3] for row in book.rows),
        table_rows=_count(sql, READINGS),
        ledger_rejected=sum(row[4] for row in book.rows) + len(quarantined),  # each of those is one row, line 0
        table_rejected=_count(sql, REJECTED),
        removed=book.removed,
    )


def _count(sql: DuckDBPyConnection, table: str) -> int:
    found = sql.execute(f"SELECT count(*) FROM hive.{table}").fetchone()  # noqa: S608 - one of two constants
    return int(found[0]) if found else 0

"""Do bucket, ledger, tables and files agree with each other? Asked of what is there, not of what was once written down.

Belongs here: recounting rows against the ledger, looking for readings that are there twice, and the verdicts on both.
Files against metadata are reconciliation_files.py. Not here: shares, ranges and freshness (verdicts.py).

The usual look is at what changed since the last clean one, remembered in `check_progress`; days that were found wrong
are looked at again until they are right. `everything` looks at all days.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.readings.marts.relations import on_days
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg

if TYPE_CHECKING:
    import psycopg
    from duckdb import DuckDBPyConnection

SHOWN = 20
SAMPLE = 200  # objects drawn at random from the whole ledger, beside those that are new
MOST_OBJECTS = 5_000  # new objects that one look recounts; the rest comes at the next
CHUNK_DAYS = 7  # compared at once, which bounds the memory
REMEDY = "what to do"

_TABLE = """
CREATE TABLE IF NOT EXISTS check_progress (
    name text PRIMARY KEY, seq bigint NOT NULL, wrong date[] NOT NULL, looked_at timestamptz NOT NULL DEFAULT now());
"""


@dataclass(frozen=True)
class Progress:
    """Up to which commit a check has looked, and which days it found wrong."""

    seq: int = 0
    wrong: tuple[date, ...] = ()


def progress_of(connection: psycopg.Connection, name: str) -> Progress:
    """How far the check of this name has come."""
    connection.execute(_TABLE)
    row = connection.execute("SELECT seq, wrong FROM check_progress WHERE name = %s", (name,)).fetchone()
    return Progress() if row is None else Progress(int(row[0]), tuple(row[1]))


def remember(connection: psycopg.Connection, name: str, progress: Progress) -> None:
    """Keep how far the check of this name has come."""
    connection.execute(
        "INSERT INTO check_progress (name, seq, wrong) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, wrong = excluded.wrong, looked_at = now()",
        (name, progress.seq, sorted(progress.wrong)),
    )


def _settle(connection: psycopg.Connection, lakehouse: Lakehouse) -> None:
    """Take note of commits by other engines, so that the days they touched count as changed."""
    io = iceberg.open_io(lakehouse)
    with closing(io.store):
        spans.basis(connection, lakehouse, io)


# Readings that are there twice


def no_duplicates(lakehouse: Lakehouse, *, everything: bool = False) -> CheckResult:
    """Whether each reading (device, sensor, ts) is in the table once, on the days that changed since the last look.

    Raises HomelabError if the lake cannot be read.
    """
    name = "no_duplicates"
    with ledger.connect(lakehouse) as connection:
        _settle(connection, lakehouse)
        before = progress_of(connection, name)
        changed, newest = ledger.dates_changed_since(lakehouse, 0 if everything else before.seq)
        days = sorted({*changed, *before.wrong})
        with closing(engine.connect(lakehouse)) as sql:
            found = [row for chunk in _chunks(days) for row in _doubled(sql, chunk)]
        wrong = tuple(sorted({row["date"] for row in found}))
        remember(connection, name, Progress(newest, wrong))
    looked = f"{len(days):,} days looked at"
    facts: dict[str, object] = {"days": len(days), "doubled": len(found)}
    if not found:
        return CheckResult(name, True, "error", f"No reading is there twice; {looked}.", facts)
    first = found[0]
    text = (
        f"{len(found):,} readings are there more than once, the first {first['device']}/{first['sensor']} at "
        f"{first['ts']:%Y-%m-%d %H:%M:%S} UTC; {looked}."
    )
    remedy = (
        "Ingest never writes a reading twice, so another engine did. Delete its copies there, by their source or "
        "ingested_at: DELETE FROM hive.default.sensor_data WHERE date = … AND device = … AND sensor = … AND source …"
    )
    return CheckResult(name, False, "error", text, {**facts, "readings": found[:SHOWN], REMEDY: remedy})


def _chunks(days: Sequence[date]) -> Iterable[Sequence[date]]:
    return (days[begin : begin + CHUNK_DAYS] for begin in range(0, len(days), CHUNK_DAYS))


def _doubled(sql: DuckDBPyConnection, days: Sequence[date]) -> list[dict[str, Any]]:
    rows = sql.execute(
        "SELECT date, device, sensor, ts, count(*), string_agg(DISTINCT coalesce(source, 'no source'), ', ')"  # noqa: S608
        f" FROM {CATALOG}.{READINGS} WHERE {on_days(days)} GROUP BY date, device, sensor, ts HAVING count(*) > 1"
        " ORDER BY ts, device, sensor LIMIT 10000"
    ).fetchall()
    return [dict(zip(("date", "device", "sensor", "ts", "copies", "sources"), row, strict=True)) for row in rows]


# Rows against the ledger


@dataclass(frozen=True)
class Account:
    """One object: rows and refused lines that the ledger counted, and those that the tables hold."""

    key: str
    rows: int
    rejected: int
    days: tuple[date, ...]
    in_table: int = 0
    in_rejected: int = 0


@dataclass(frozen=True)
class Counted:
    """What a recount found. `stray` are rows by their source that no object of the ledger accounts for; `dropped` days
    that retention took away, `foreign` those that another engine changed.
    """

    accounts: Sequence[Account]
    stray: Mapping[str, int]
    dropped: frozenset[date]
    foreign: frozenset[date]


def rows_agree(lakehouse: Lakehouse, *, everything: bool = False) -> CheckResult:
    """Whether tables hold, object by object, as many rows as the ledger says: of the objects since the last look and of
    some drawn at random, or of all. Raises HomelabError if the lake cannot be read.
    """
    name = "rows_agree"
    with ledger.connect(lakehouse) as connection:
        _settle(connection, lakehouse)
        before = progress_of(connection, name)
        pointers = engine.table_pointers(lakehouse)
        said, newest = _objects(connection, lakehouse, before, everything)
        days = sorted({day for one in said for day in one.days} | set(before.wrong))
        dropped, foreign = _days_changed(connection, "retention"), _days_changed(connection, "foreign")
        known = _known_keys(connection, lakehouse, None if everything else days)
        with closing(engine.connect(lakehouse, pointers=pointers)) as sql:
            found = _recount(sql, said, None if everything else days, known)
        counted = Counted(found[0], found[1], dropped, foreign)
        result = judged(name, counted, len(days))
        wrong = () if result.passed else tuple(sorted(_wrong_days(counted)))
        remember(connection, name, Progress(newest, wrong))
    return result


def _objects(
    connection: psycopg.Connection, lakehouse: Lakehouse, before: Progress, everything: bool
) -> tuple[list[Account], int]:
    """The objects to recount, and the number of the newest commit among them."""
    columns = (
        "SELECT key, sum(rows)::bigint, sum(rejected)::bigint + count(*) FILTER (WHERE status = 'quarantined'),"
        " array(SELECT DISTINCT d FROM ingest_ledger i, unnest(i.dates) d WHERE i.bucket = l.bucket AND i.key = l.key),"
        " max(seq) FROM ingest_ledger l WHERE bucket = %s"
    )
    if everything:
        rows = connection.execute(f"{columns} GROUP BY bucket, key", (lakehouse.raw_bucket,)).fetchall()
    else:
        rows = connection.execute(
            f"{columns} AND key IN (SELECT key FROM ingest_ledger WHERE bucket = %s AND (seq > %s OR dates && %s)"  # noqa: S608
            " ORDER BY seq LIMIT %s) GROUP BY bucket, key",
            (lakehouse.raw_bucket, lakehouse.raw_bucket, before.seq, list(before.wrong), MOST_OBJECTS),
        ).fetchall()
    newest = max((int(row[4]) for row in rows), default=before.seq)
    if not everything:
        rows += _drawn(connection, lakehouse, columns, {row[0] for row in rows})
    accounts = [Account(key, int(count), int(refused), tuple(days)) for key, count, refused, days, _ in rows]
    return accounts, max(newest, before.seq)


def _drawn(
    connection: psycopg.Connection, lakehouse: Lakehouse, columns: str, without: set[str]
) -> list[tuple[Any, ...]]:
    """Some objects of the whole history: what was right once may have been broken since."""
    span = connection.execute(
        "SELECT min(seq), max(seq) FROM ingest_ledger WHERE bucket = %s", (lakehouse.raw_bucket,)
    ).fetchone()
    if span is None or span[0] is None:
        return []
    drawn = sorted({random.randint(int(span[0]), int(span[1])) for _ in range(SAMPLE)})  # noqa: S311 - a sample
    rows = connection.execute(
        f"{columns} AND key IN (SELECT key FROM ingest_ledger WHERE bucket = %s AND seq = ANY(%s) LIMIT %s)"  # noqa: S608
        " GROUP BY bucket, key",
        (lakehouse.raw_bucket, lakehouse.raw_bucket, drawn, SAMPLE),
    ).fetchall()
    return [row for row in rows if row[0] not in without]


def _days_changed(connection: psycopg.Connection, kind: str) -> frozenset[date]:
    rows = connection.execute("SELECT DISTINCT unnest(dates) FROM lake_changes WHERE kind = %s", (kind,)).fetchall()
    return frozenset(row[0] for row in rows)


def _known_keys(connection: psycopg.Connection, lakehouse: Lakehouse, days: Sequence[date] | None) -> list[str]:
    """The objects that readings of these days (None: of any) may come from."""
    rows = connection.execute(
        "SELECT DISTINCT key FROM ingest_ledger WHERE bucket = %s AND (%s::date[] IS NULL OR dates && %s::date[])",
        (lakehouse.raw_bucket, days, days),
    ).fetchall()
    return [row[0] for row in rows]


def _recount(
    sql: DuckDBPyConnection, said: Sequence[Account], days: Sequence[date] | None, known: Sequence[str]
) -> tuple[list[Account], dict[str, int]]:
    import pyarrow as pa

    sql.register("known", pa.table({"source": pa.array(list(known), pa.string())}))
    where = "true" if days is None else on_days(days) if days else "false"
    held: dict[str, int] = {}
    stray: dict[str, int] = {}
    for source, mine, count in sql.execute(
        f"SELECT t.source, k.source IS NOT NULL, count(*) FROM {CATALOG}.{READINGS} t"  # noqa: S608
        f" LEFT JOIN known k ON k.source = t.source WHERE {where} GROUP BY ALL"
    ).fetchall():
        (held if mine else stray)[source or "no source"] = int(count)
    refused = dict(
        sql.execute(
            f"SELECT source, count(*) FROM {CATALOG}.{REJECTED} WHERE source IN (SELECT unnest($keys)) GROUP BY ALL",  # noqa: S608
            {"keys": [one.key for one in said]},
        ).fetchall()
    )
    found = [
        Account(one.key, one.rows, one.rejected, one.days, held.get(one.key, 0), int(refused.get(one.key, 0)))
        for one in said
    ]
    return found, stray


def _off(one: Account) -> tuple[int, int]:
    """How many rows and refused lines too few the tables hold."""
    return one.rows - one.in_table, one.rejected - one.in_rejected


def _wrong_days(found: Counted) -> set[date]:
    return {day for one in found.accounts if any(_off(one)) for day in one.days}


def judged(name: str, found: Counted, days: int) -> CheckResult:
    """The verdict on a recount: nothing lost and nothing added that nobody accounts for."""
    lost = [one for one in found.accounts if any(_off(one)) and not found.dropped & set(one.days)]
    by_others = [one for one in lost if found.foreign & set(one.days) and min(_off(one)) >= 0]
    unexplained = [one for one in lost if one not in by_others]
    strays = sum(found.stray.values())
    facts: dict[str, object] = {
        "objects": len(found.accounts),
        "days": days,
        "objects_off": len(lost),
        "stray_rows": strays,
    }
    if not lost and not strays:
        text = f"{len(found.accounts):,} objects recounted on {days:,} days: tables and ledger agree on each."
        return CheckResult(name, True, "error", text, facts)
    said = []
    if unexplained:
        one = unexplained[0]
        said.append(
            f"{len(unexplained):,} objects have other rows than the ledger counted, the first {one.key}: "
            f"{one.in_table:,} of {one.rows:,} readings, {one.in_rejected:,} of {one.rejected:,} rejected lines"
        )
    if by_others:
        missing = sum(_off(one)[0] for one in by_others)
        said.append(f"another engine took {missing:,} readings of {len(by_others):,} objects away")
    if strays:
        said.append(f"{strays:,} rows were written by another engine: no raw object accounts for them")
    facts["objects off"] = [_row(one) for one in (*unexplained, *by_others)[:SHOWN]]
    facts["stray"] = [{"source": source, "rows": rows} for source, rows in sorted(found.stray.items())[:SHOWN]]
    facts[REMEDY] = (
        'Look who wrote to hive.default.sensor_data (in Trino: default."sensor_data$history"). Lost readings come back '
        "from their raw objects: put the object again under a new name, and ingest takes what is missing."
    )
    return CheckResult(name, False, "error" if unexplained else "warn", f"{'; '.join(said)}.", facts)


def _row(one: Account) -> dict[str, Any]:
    return {
        "object": one.key,
        "readings": one.rows,
        "in table": one.in_table,
        "rejected": one.rejected,
        "kept": one.in_rejected,
    }

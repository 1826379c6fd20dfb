"""What has been ingested: the ledger's tables in the lake's PostgreSQL database, and questions to it.

Belongs here: the schema, the one lock under which tables and ledger change together, who holds which object, and
reading back what happened. Not here: how rows are made or committed (ingest, commit), spans of series (spans).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.tools import advisory_locks, postgres
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    import psycopg

LOCK_TIMEOUT = "180s"
AGAIN = "again"  # status of an object that is to be read once more

_TABLES = """
CREATE TABLE IF NOT EXISTS ingest_ledger (
    bucket text NOT NULL, key text NOT NULL, etag text NOT NULL, size bigint NOT NULL, sha256 text NOT NULL,
    status text NOT NULL, problem text,
    rows bigint NOT NULL, duplicates bigint NOT NULL, rejected bigint NOT NULL, dates date[] NOT NULL,
    snapshot_id bigint, rejected_snapshot_id bigint, seq bigint NOT NULL,
    worker text NOT NULL, committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, key, etag));
CREATE INDEX IF NOT EXISTS ingest_ledger_seq ON ingest_ledger (seq);
CREATE TABLE IF NOT EXISTS lake_changes (
    seq bigserial PRIMARY KEY, kind text NOT NULL, snapshot_id bigint, dates date[] NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS lake_state (
    table_name text PRIMARY KEY, metadata_location text NOT NULL, snapshot_id bigint, seq bigint NOT NULL);
CREATE TABLE IF NOT EXISTS series_span (
    date date NOT NULL, device text NOT NULL, sensor text NOT NULL,
    min_ts bigint NOT NULL, max_ts bigint NOT NULL, seq bigint NOT NULL, PRIMARY KEY (date, device, sensor));
CREATE TABLE IF NOT EXISTS ingest_worker (
    id serial PRIMARY KEY, name text NOT NULL, started timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS ingest_claim (
    bucket text NOT NULL, key text NOT NULL, worker integer NOT NULL, PRIMARY KEY (bucket, key));
CREATE TABLE IF NOT EXISTS ingest_cursor (
    bucket text PRIMARY KEY, objects bigint NOT NULL, seconds double precision NOT NULL, swept_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS lake_garbage (
    path text PRIMARY KEY, table_name text NOT NULL,
    needed_until bigint NOT NULL, -- Iceberg sequence number: snapshots before it need the file
    since timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS day_files (date date PRIMARY KEY, commits integer NOT NULL);
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS conflicts bigint NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS differing bigint NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS left_out bigint NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS unkept bigint NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS replaced bigint NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger DROP CONSTRAINT IF EXISTS ingest_ledger_status_check;
ALTER TABLE ingest_ledger ADD CONSTRAINT ingest_ledger_status_check
    CHECK (status IN ('ingested', 'quarantined', 'withdrawn', 'again'));
CREATE TABLE IF NOT EXISTS lake_replaced (source text, by_key text, PRIMARY KEY (source, by_key));
CREATE TABLE IF NOT EXISTS lake_columns (name text PRIMARY KEY, stream text NOT NULL);
"""
_NEWEST_TABLE = "lake_columns"


@dataclass(frozen=True)
class LedgerEntry:
    """One object as it was ingested: what became of it and in which commit (`seq`, rising in commit order).

    `conflicts` of its `rejected` lines contradict an earlier line of it; `differing` of its `duplicates` have another
    value than what was there; `left_out` counts fields that got no column, `unkept` refused lines that are counted
    only, `replaced` values of other deliveries that this one replaced. `status`: ingested; quarantined (broken as a
    whole); withdrawn (taken back by a person); again (to be read again, for a delivery that it shares readings with was
    withdrawn).
    """

    bucket: str
    key: str
    etag: str
    size: int
    sha256: str
    status: str
    problem: str | None
    rows: int
    duplicates: int
    rejected: int
    dates: tuple[date, ...]
    snapshot_id: int | None
    seq: int
    committed_at: datetime
    conflicts: int = 0
    differing: int = 0
    left_out: int = 0
    unkept: int = 0
    replaced: int = 0


@contextmanager
def connect(lakehouse: Lakehouse) -> Iterator[psycopg.Connection]:
    """A connection to the lake's database in autocommit mode; errors of the server name it.

    Raises PostgresUnreachable, PostgresRefused, or HomelabError when the server dies or refuses in between.
    """
    import psycopg

    place = f"PostgreSQL {lakehouse.postgres.host}:{lakehouse.postgres.port}/{lakehouse.postgres.database}"
    connection = postgres.connect(lakehouse.postgres, autocommit=True, application="homelab ingest")
    try:
        yield connection
    except psycopg.errors.LockNotAvailable:
        raise HomelabError.of(
            place, f"another commit held the lock for {LOCK_TIMEOUT}", "Look for a hanging ingest; it is safe to retry."
        ) from None
    except psycopg.errors.UndefinedTable as error:
        raise HomelabError.of(place, f"the lake is not set up: {_first(error)}", "`homelab apply` makes it.") from None
    except psycopg.OperationalError as error:
        raise postgres.PostgresUnreachable.of(
            place, f"the connection broke off: {_first(error)}", "Nothing is lost: ingest again when it answers."
        ) from None
    finally:
        connection.close()


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def ensure_ledger(connection: psycopg.Connection) -> None:
    """Make the ledger's tables where they are missing."""
    if connection.execute("SELECT to_regclass(%s)::text", (_NEWEST_TABLE,)).fetchone() == (_NEWEST_TABLE,):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (advisory_locks.LAKE, advisory_locks.LAKE_SCHEMA))
        connection.execute(_TABLES)


@contextmanager
def commit_lock(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction in which nobody else changes the tables. Whatever is written inside becomes true together."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (advisory_locks.LAKE, advisory_locks.LAKE_COMMIT))
        yield


def _number(cursor: psycopg.Cursor) -> int:
    """The one number that a statement returns."""
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])


class Worker:
    """One ingesting process: holds an advisory lock for as long as it lives, and claims objects under its id.

    The server drops the lock when the process dies, however it dies, so a dead worker's claims are known at once.
    """

    def __init__(self, lakehouse: Lakehouse, connection: psycopg.Connection) -> None:
        self._bucket = lakehouse.raw_bucket
        self._connection = connection
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.id = _number(connection.execute("INSERT INTO ingest_worker (name) VALUES (%s) RETURNING id", (self.name,)))
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (advisory_locks.INGEST_WORKER, self.id))

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are now ours: not held by a living worker."""
        with self._connection.transaction():
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(%s, %s)", (advisory_locks.LAKE, advisory_locks.LAKE_CLAIM)
            )
            self._connection.execute(
                "DELETE FROM ingest_claim WHERE bucket = %s AND key = ANY(%s) AND worker <> ALL(%s)",
                (self._bucket, list(keys), [*living_workers(self._connection), self.id]),
            )
            rows = self._connection.execute(
                "INSERT INTO ingest_claim (bucket, key, worker) SELECT %s, k, %s FROM unnest(%s::text[]) AS k"
                " ON CONFLICT DO NOTHING RETURNING key",
                (self._bucket, self.id, sorted(keys)),
            ).fetchall()
        ours = {row[0] for row in rows}
        return [k for k in keys if k in ours]

    def release(self) -> None:
        """Give up every claim of this worker."""
        self._connection.execute("DELETE FROM ingest_claim WHERE worker = %s", (self.id,))

    def close(self) -> None:
        """Give up claims and the name; dead workers that left nothing behind are forgotten too."""
        self.release()
        self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", (advisory_locks.INGEST_WORKER, self.id))
        self._connection.execute("DELETE FROM ingest_worker WHERE id = %s", (self.id,))


def living_workers(connection: psycopg.Connection) -> list[int]:
    """The ids of workers whose process holds its lock now."""
    rows = connection.execute(
        "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (advisory_locks.INGEST_WORKER,),
    ).fetchall()
    return [int(row[0]) for row in rows]


def known(connection: psycopg.Connection, bucket: str, etags: dict[str, str]) -> set[str]:
    """Those keys of `etags` (key → etag) that the ledger already holds with this etag, and that are not to be read
    again.
    """
    if not etags:
        return set()
    rows = connection.execute(
        "SELECT l.key FROM unnest(%s::text[], %s::text[]) AS o (key, etag)"
        " JOIN ingest_ledger l ON l.bucket = %s AND l.key = o.key AND l.etag = o.etag"
        " AND l.status <> 'again'",
        (list(etags), list(etags.values()), bucket),
    ).fetchall()
    return {row[0] for row in rows}


def entries(
    lakehouse: Lakehouse, *, status: str | None = None, after_seq: int = 0, keys: Sequence[str] | None = None
) -> list[LedgerEntry]:
    """The ledger in commit order, after `after_seq`; of one `status` (`ingested`, `quarantined`) or `keys` if given."""
    wanted = None if keys is None else list(keys)
    with connect(lakehouse) as connection:
        rows = connection.execute(
            "SELECT bucket, key, etag, size, sha256, status, problem, rows, duplicates, rejected, dates, snapshot_id,"
            " seq, committed_at, conflicts, differing, left_out, unkept, replaced"
            " FROM ingest_ledger"
            " WHERE seq > %s AND (%s::text IS NULL OR status = %s)"
            " AND (%s::text[] IS NULL OR key = ANY(%s)) ORDER BY seq, key",
            (after_seq, status, status, wanted, wanted),
        ).fetchall()
    names = [f.name for f in fields(LedgerEntry)]
    return [LedgerEntry(**{**dict(zip(names, row, strict=True)), "dates": tuple(row[10])}) for row in rows]


def dates_changed_since(lakehouse: Lakehouse, since: int | datetime = 0) -> tuple[tuple[date, ...], int]:
    """The days whose readings changed after commit number `since` (or after a time), and the newest commit's number.

    Pass the number back next time. Compaction changes no reading and is left out; changes by other engines count
    from the first ingest after them.
    """
    by_time = isinstance(since, datetime)
    with connect(lakehouse) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = connection.execute(
            "SELECT DISTINCT unnest(dates) AS d FROM lake_changes"
            " WHERE kind IN ('ingest', 'foreign', 'retention', 'undo') AND (committed_at > %s OR seq > %s) ORDER BY d",
            (since, None) if by_time else (None, since),
        ).fetchall()
        newest = _number(connection.execute("SELECT coalesce(max(seq), 0) FROM lake_changes"))
    return tuple(row[0] for row in rows), newest


def first_day(lakehouse: Lakehouse) -> date | None:
    """The first day that ever had readings; None before there are any."""
    with connect(lakehouse) as connection:
        row = connection.execute("SELECT min(d) FROM lake_changes, unnest(dates) AS d").fetchone()
    return row[0] if row else None


def days_of(connection: psycopg.Connection, bucket: str, keys: Sequence[str]) -> list[date]:
    """The days that readings of these objects lie on."""
    rows = connection.execute(
        "SELECT DISTINCT unnest(dates) AS d FROM ingest_ledger WHERE bucket = %s AND key = ANY(%s) ORDER BY d",
        (bucket, list(keys)),
    ).fetchall()
    return [row[0] for row in rows]


def mark_withdrawn(connection: psycopg.Connection, bucket: str, keys: Sequence[str], why: str) -> list[str]:
    """Note, in the caller's transaction, that these objects were taken back; the keys of those to be read again.

    These are objects that had readings which were there already, committed no earlier than the first of `keys`, and
    those whose values an object of `keys` had replaced.
    """
    rows = connection.execute(
        "UPDATE ingest_ledger SET status = 'again' WHERE bucket = %s AND status = 'ingested' AND key <> ALL(%s) AND"
        " ((duplicates > 0 AND seq >= (SELECT min(seq) FROM ingest_ledger WHERE bucket = %s AND key = ANY(%s)))"
        " OR key IN (SELECT source FROM lake_replaced WHERE by_key = ANY(%s))) RETURNING key",
        (bucket, list(keys), bucket, list(keys), list(keys)),
    ).fetchall()
    connection.execute(
        "UPDATE ingest_ledger SET status = 'withdrawn', rows = 0, dates = '{}',"
        " problem = format('%%s: %%s readings taken back', %s::text, rows) WHERE bucket = %s AND key = ANY(%s)",
        (why, bucket, list(keys)),
    )
    return [row[0] for row in rows]


def bring_back(connection: psycopg.Connection, bucket: str, keys: Sequence[str]) -> None:
    """Let objects that were withdrawn be read again, because somebody brings them once more."""
    connection.execute(
        "UPDATE ingest_ledger SET status = 'again', problem = NULL"
        " WHERE bucket = %s AND key = ANY(%s) AND status = 'withdrawn'",
        (bucket, list(keys)),
    )


def waiting_again(connection: psycopg.Connection, bucket: str, keys: Sequence[str]) -> set[str]:
    """Those objects that are read for a second time: what was refused of them is in the tables already."""
    rows = connection.execute(
        "SELECT key FROM ingest_ledger WHERE bucket = %s AND key = ANY(%s) AND status = 'again'", (bucket, list(keys))
    ).fetchall()
    return {row[0] for row in rows}


def move_replaced(connection: psycopg.Connection, bucket: str, counts: dict[str, int], by_key: str) -> None:
    """Note, in the caller's transaction, how many readings of each object a correction replaced."""
    for source, count in counts.items():
        connection.execute(
            "UPDATE ingest_ledger SET rows = rows - %s, rejected = rejected + %s WHERE bucket = %s AND key = %s"
            " AND status = 'ingested'",
            (count, count, bucket, source),
        )
        connection.execute("INSERT INTO lake_replaced VALUES (%s, %s) ON CONFLICT DO NOTHING", (source, by_key))


def column_owners(connection: psycopg.Connection) -> dict[str, str]:
    """Which stream brought each of the columns beyond the contract, as far as that is recorded."""
    return dict(connection.execute("SELECT name, stream FROM lake_columns").fetchall())


def record_columns(connection: psycopg.Connection, owners: dict[str, str]) -> None:
    """Remember, in the caller's transaction, which stream brought which column."""
    if owners:
        connection.execute(
            "INSERT INTO lake_columns (name, stream) SELECT * FROM unnest(%s::text[], %s::text[])"
            " ON CONFLICT DO NOTHING",
            (list(owners), list(owners.values())),
        )


def record_change(connection: psycopg.Connection, kind: str, snapshot_id: int | None, dates: Sequence[date]) -> int:
    """Add a commit to the history, inside the caller's transaction; returns its number."""
    return _number(
        connection.execute(
            "INSERT INTO lake_changes (kind, snapshot_id, dates) VALUES (%s, %s, %s) RETURNING seq",
            (kind, snapshot_id, sorted(dates)),
        )
    )


def record_state(connection: psycopg.Connection, table: str, location: str, snapshot: int | None, seq: int) -> None:
    """Remember, inside the caller's transaction, that the table's state is one that we made."""
    connection.execute(
        "INSERT INTO lake_state (table_name, metadata_location, snapshot_id, seq) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (table_name) DO UPDATE SET metadata_location = excluded.metadata_location,"
        " snapshot_id = excluded.snapshot_id, seq = excluded.seq",
        (table, location, snapshot, seq),
    )


def add_garbage(connection: psycopg.Connection, table: str, paths: Sequence[str], needed_until: int = 0) -> None:
    """Remember, in the caller's transaction, files that nothing needs any more once no snapshot older than the
    sequence number `needed_until` is kept; maintenance deletes them some time later, for readers still at work.
    """
    if paths:
        connection.execute(
            "INSERT INTO lake_garbage (path, table_name, needed_until) SELECT unnest(%s::text[]), %s, %s"
            " ON CONFLICT DO NOTHING",
            (list(paths), table, needed_until),
        )


def count_files(connection: psycopg.Connection, days: Sequence[date]) -> None:
    """Note, in the caller's transaction, that each of these days got one more small file."""
    if days:
        connection.execute(
            "INSERT INTO day_files AS f (date, commits) SELECT unnest(%s::date[]), 1"
            " ON CONFLICT (date) DO UPDATE SET commits = f.commits + 1",
            (sorted(days),),
        )


def crowded_days(connection: psycopg.Connection, commits: int) -> list[date]:
    """Days that have had this many commits since they were last tidied."""
    rows = connection.execute("SELECT date FROM day_files WHERE commits >= %s ORDER BY date", (commits,)).fetchall()
    return [row[0] for row in rows]

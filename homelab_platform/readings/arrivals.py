"""What came in since a commit: the sum over the ledger, whoever ingested it.

Belongs here: this one question of the ledger. Not here: the ledger's tables (ledger.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from homelab_platform.readings import ledger
from homelab_platform.tools.endpoints import Lakehouse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUM = """
SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(duplicates), 0), coalesce(sum(rejected), 0),
    coalesce(sum(size), 0), count(*) FILTER (WHERE status = 'quarantined'), coalesce(max(seq), 0)
FROM ingest_ledger WHERE seq > %s
"""


@dataclass(frozen=True)
class Arrivals:
    """Objects that were ingested: how many, their readings (`rows` new, `duplicates` delivered before), rejected lines,
    stored `bytes`, and how many were put aside. `seq` is the number of the last commit, 0 if there is none; `newest`
    the time of the newest reading that the table holds.
    """

    objects: int = 0
    rows: int = 0
    duplicates: int = 0
    rejected: int = 0
    bytes: int = 0
    quarantined: int = 0
    seq: int = 0
    newest: datetime | None = None


def arrivals(lakehouse: Lakehouse, since: int) -> Arrivals:
    """What the ledger took in after commit number `since`. Raises HomelabError if it does not answer."""
    with ledger.connect(lakehouse) as connection:
        row = connection.execute(_SUM, (since,)).fetchone()
        if row is None or not row[0]:
            return Arrivals()
        (newest,) = connection.execute("SELECT max(max_ts) FROM series_span").fetchone() or (None,)
    moment = None if newest is None else _EPOCH + timedelta(microseconds=newest)
    objects, rows, duplicates, rejected, size, quarantined, seq = map(int, row)
    return Arrivals(objects, rows, duplicates, rejected, size, quarantined, seq, moment)


def last_arrivals(lakehouse: Lakehouse) -> dict[str, datetime]:
    """When an object of each stream was last taken in, of the last 30 days; empty before the lake is set up.

    Raises HomelabError if the database does not answer.
    """
    query = (
        "SELECT split_part(key, '/', 1), max(committed_at) FROM ingest_ledger"
        " WHERE bucket = %s AND status = 'ingested' AND committed_at > now() - interval '30 days' GROUP BY 1"
    )
    with ledger.connect(lakehouse) as connection:
        if connection.execute("SELECT to_regclass('ingest_ledger')").fetchone() == (None,):
            return {}
        return dict(connection.execute(query, (lakehouse.raw_bucket,)).fetchall())

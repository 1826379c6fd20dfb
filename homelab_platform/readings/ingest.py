"""Raw objects to committed readings, exactly once: the entry points of ingest.

Belongs here: finding objects that are not ingested yet, sharing them among workers, forming batches, reporting.
Not here: what happens to one batch (batch, commit).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.readings import ledger
from homelab_platform.readings.commit.transaction import AlreadyIngested, Committed
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    import psycopg

    from homelab_platform.lab.resolved import ResolvedStream
    from homelab_platform.readings.commit.session import Session
    from homelab_platform.tools.objects.client import ObjectInfo, ObjectStore

BATCH_OBJECTS = 2_000
BATCH_BYTES = 64 * 1024 * 1024
PAGE = 1_000
FAST_FROM = 1024 * 1024  # bytes in a run from which the compiled kernel pays for its own start
SMALL_BUCKET = 5_000  # objects; listing so many takes a fraction of a second, so it is always done whole
RECENT_DAYS = 2


@dataclass(frozen=True)
class IngestReport:
    """What one run did. `bytes` as stored in the bucket; `seconds` of wall time; `failed` names quarantined objects
    and those that could not be fetched, with the reason of each, and `tidying` if small files could not be merged;
    `seq` is the number of the last commit. `conflicts` of the rejected lines contradict an earlier line of their
    object; `differing` of the duplicates have another value than what was there.
    """

    objects: int = 0
    rows: int = 0
    duplicates: int = 0
    rejected: int = 0
    conflicts: int = 0
    differing: int = 0
    quarantined: int = 0
    bytes: int = 0
    dates: tuple[date, ...] = ()
    snapshot_id: int | None = None
    seq: int | None = None
    commits: int = 0
    seconds: float = 0.0
    failed: tuple[tuple[str, Problem], ...] = ()


Progress = Callable[[IngestReport], None]


@dataclass
class _Totals:
    started: float = field(default_factory=time.monotonic)
    report: IngestReport = field(default_factory=IngestReport)

    def add(self, objects: Sequence[Any], done: Committed | None, failed: Sequence[tuple[str, Problem]]) -> None:
        r = self.report
        kept = sum(done.kept.values()) if done else 0
        self.report = IngestReport(
            objects=r.objects + len(objects),
            rows=r.rows + kept,
            duplicates=r.duplicates + sum(o.read for o in objects) - kept,
            rejected=r.rejected + sum(o.rejected for o in objects),
            conflicts=r.conflicts + sum(o.conflicts for o in objects),
            differing=r.differing + sum(o.differing for o in objects),
            quarantined=r.quarantined + sum(o.problem is not None for o in objects),
            bytes=r.bytes + sum(o.size for o in objects),
            dates=tuple(sorted({*r.dates, *(p.day for p in (done.parts if done else ()))})),
            snapshot_id=done.snapshot_id if done else r.snapshot_id,
            seq=done.seq if done else r.seq,
            commits=r.commits + (done is not None),
            seconds=time.monotonic() - self.started,
            failed=(*r.failed, *failed),
        )


def pending_objects(
    lakehouse: Lakehouse, *, start_after: str | None = None, limit: int | None = None
) -> list[ObjectInfo]:
    """Objects of the raw bucket that the ledger does not hold (with their present etag), in key order.

    `start_after` is a key; `limit` bounds the answer. Raises HomelabError naming a dead server.
    """
    from homelab_platform.tools.objects.client import ObjectStore

    found: list[ObjectInfo] = []
    with ledger.connect(lakehouse) as connection, ObjectStore(lakehouse.objects) as store:
        for page in _pending_pages(connection, lakehouse, store.list(lakehouse.raw_bucket, "", start_after or "")):
            found += page
            if limit is not None and len(found) >= limit:
                return found[:limit]
    return found


def bring_back(lakehouse: Lakehouse, keys: Sequence[str]) -> None:
    """Let objects that were withdrawn be ingested once more, because somebody brings them again."""
    with ledger.connect(lakehouse) as connection:
        ledger.ensure_ledger(connection)
        ledger.bring_back(connection, lakehouse.raw_bucket, keys)


def ingest_pending(
    lakehouse: Lakehouse,
    streams: Mapping[str, ResolvedStream] | None = None,
    *,
    limit: int | None = None,
    sweep: bool | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest what is pending, in commits of at most 2,000 objects or 64 MiB; `limit` bounds the objects of this run.

    `streams` (by name) give sensors their ranges and units. A large bucket is listed whole only now and then, and
    otherwise from two days back; `sweep` forces one or the other. `progress` is called after each commit.
    Any number of processes may do this at once. Raises HomelabError naming a dead server; what was committed stays.
    """
    from homelab_platform.readings.commit.session import open_session

    totals = _Totals()
    with open_session(lakehouse, streams) as session:
        listing = _Listing(session, sweep)
        pages = _pending_pages(session.connection, lakehouse, listing.objects())
        for batch in _batches(_limited(pages, limit)):
            _ingest(session, batch, totals, progress)
        if limit is None or totals.report.objects < limit:
            listing.finish()
    return totals.report


def ingest_objects(
    lakehouse: Lakehouse,
    keys: Iterable[str],
    streams: Mapping[str, ResolvedStream] | None = None,
    *,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest these objects of the raw bucket, unless they are already; a key that is not there counts as failed."""
    from homelab_platform.readings.commit.session import open_session

    totals = _Totals()
    with open_session(lakehouse, streams) as session:
        found: list[ObjectInfo] = []
        for key in keys:
            info = session.store.head(lakehouse.raw_bucket, key)
            if info is None:
                totals.add(
                    [], None, [(key, Problem(key, f"no such object in {lakehouse.raw_bucket}", "Check the key."))]
                )
            else:
                found.append(info)
        pages = _pending_pages(session.connection, lakehouse, iter(found))
        for batch in _batches(pages):
            _ingest(session, batch, totals, progress)
    return totals.report


def _ingest(session: Session, batch: Sequence[ObjectInfo], totals: _Totals, progress: Progress | None) -> None:
    """Claim and commit one batch; what another worker commits first is left out and the rest tried again."""
    from homelab_platform.readings.commit.batch import Batch
    from homelab_platform.readings.upkeep.compaction import tidy
    from homelab_platform.readings.upkeep.maintenance import collect_garbage

    mine = set(session.worker.claim([o.key for o in batch]))
    objects = [o for o in batch if o.key in mine]
    done_before = ledger.known(session.connection, session.lakehouse.raw_bucket, {o.key: o.etag for o in objects})
    objects = [o for o in objects if o.key not in done_before]
    session.fast = session.fast or sum(o.size for o in objects) >= FAST_FROM
    while objects:
        step = Batch(session, objects)
        try:
            done = step.run()
        except AlreadyIngested as error:
            step.discard()
            objects = [o for o in objects if o.key not in error.keys]
            continue
        totals.add(list(step.results.values()), done, step.failed)
        try:
            tidy(session)
            collect_garbage(session)
        except HomelabError as error:  # what was committed is committed; the next run tidies again
            totals.add([], None, [("tidying", problem) for problem in error.problems])
        if progress is not None:
            progress(totals.report)
        break
    session.worker.release()


def _pending_pages(
    connection: psycopg.Connection, lakehouse: Lakehouse, objects: Iterator[ObjectInfo]
) -> Iterator[list[ObjectInfo]]:
    """Pages of objects that are not in the ledger."""
    page: list[ObjectInfo] = []
    for info in objects:
        page.append(info)
        if len(page) == PAGE:
            yield _unknown(connection, lakehouse, page)
            page = []
    if page:
        yield _unknown(connection, lakehouse, page)


def _unknown(connection: psycopg.Connection, lakehouse: Lakehouse, page: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    known = ledger.known(connection, lakehouse.raw_bucket, {o.key: o.etag for o in page})
    return [o for o in page if o.key not in known]


def _limited(pages: Iterator[list[ObjectInfo]], limit: int | None) -> Iterator[list[ObjectInfo]]:
    left = limit
    for page in pages:
        yield page if left is None else page[:left]
        if left is not None:
            left -= len(page)
            if left <= 0:
                return


def _batches(pages: Iterable[list[ObjectInfo]]) -> Iterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    size = 0
    for info in (o for page in pages for o in page):
        if batch and (len(batch) >= BATCH_OBJECTS or size + info.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(info)
        size += info.size
    if batch:
        yield batch


class _Listing:
    """Which part of the bucket is listed this time, and when it was last listed whole."""

    def __init__(self, session: Session, sweep: bool | None) -> None:
        self._session = session
        self._bucket = session.lakehouse.raw_bucket
        self._count = 0
        self._started = time.monotonic()
        self._whole = self._due() if sweep is None else sweep

    def _due(self) -> bool:
        row = self._session.connection.execute(
            "SELECT objects <= %s OR swept_at + greatest(interval '60 s', seconds * interval '50 s') < now()"
            " FROM ingest_cursor WHERE bucket = %s",
            (SMALL_BUCKET, self._bucket),
        ).fetchone()
        return row is None or bool(row[0])

    def objects(self) -> Iterator[ObjectInfo]:
        """The objects listed this time, in key order."""
        store: ObjectStore = self._session.store
        if self._whole:
            for info in store.list(self._bucket):
                self._count += 1
                yield info
            return
        since = datetime.now(UTC).date() - timedelta(days=RECENT_DAYS)
        for folder in store.folders(self._bucket):
            yield from store.list(self._bucket, folder, f"{folder}{since.isoformat()}")

    def finish(self) -> None:
        """Note that the whole bucket was listed, if it was."""
        if self._whole:
            self._session.connection.execute(
                "INSERT INTO ingest_cursor (bucket, objects, seconds, swept_at) VALUES (%s, %s, %s, now())"
                " ON CONFLICT (bucket) DO UPDATE SET objects = excluded.objects, seconds = excluded.seconds,"
                " swept_at = excluded.swept_at",
                (self._bucket, self._count, time.monotonic() - self._started),
            )

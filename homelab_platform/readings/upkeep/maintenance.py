"""Keeping the lake small: compaction, expiry of snapshots, files that nothing refers to, retention.

Belongs here: the entry points, each of which says what it saved. All are safe beside ingest and beside each other, and
safe to kill. Not here: how files are rewritten (compaction).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.commit.session import Session, open_session, part_prefix
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.readings.upkeep import compaction, rollback
from homelab_platform.readings.upkeep.compaction_rejected import RejectedReport, compact_rejected
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import TableMoved, TableState

if TYPE_CHECKING:
    from homelab_platform.tools.objects.client import ObjectInfo

READERS_GRACE = timedelta(minutes=75)  # how long a file stays after it was given up: no query may run for longer
ORPHAN_GRACE = timedelta(days=1)  # how long another engine may take from writing a file to committing it
TABLES = (READINGS, REJECTED)


@dataclass(frozen=True)
class CompactReport:
    """What compaction did, in files and bytes; `rows` were rewritten and found equal. `rejected_files` of refused lines
    were merged too, once all days were done.
    """

    dates: tuple[date, ...] = ()
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    rejected_files: int = 0

    @property
    def bytes_saved(self) -> int:
        """How many bytes the days are smaller by."""
        return self.bytes_before - self.bytes_after


@dataclass(frozen=True)
class ExpireReport:
    """Snapshots given up, and the files deleted because of that."""

    snapshots: int = 0
    files: int = 0


@dataclass(frozen=True)
class OrphanReport:
    """Files that no table referred to: deleted; and claims of dead workers that were freed."""

    files: int = 0
    bytes: int = 0
    claims: int = 0
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class DropReport:
    """Days dropped by retention, with their files and rows."""

    dates: tuple[date, ...] = ()
    files: int = 0
    rows: int = 0
    bytes: int = 0


def compact(lakehouse: Lakehouse, dates: Iterable[date] | None = None) -> CompactReport:
    """Merge the small files of these days (None: of all) into at most two of 4 million rows, sorted.

    Every rewritten file is read back and compared cell by cell before it is committed. A day that somebody else
    changes meanwhile is left for the next time. Raises HomelabError naming a dead server or a damaged file.
    """
    wanted = None if dates is None else set(dates)
    done: list[compaction.Rewritten] = []
    refused = RejectedReport()
    with open_session(lakehouse) as session:
        state = session.state(READINGS)
        for day, entries in compaction.days_with_small_files(state, session).items():
            if wanted is None or day in wanted:
                state = session.state(READINGS)
                done += compaction.rewrite(session, state, day, entries)
        if wanted is None:
            refused = compact_rejected(session)
    return CompactReport(
        tuple(sorted({r.day for r in done})),
        sum(r.files_before for r in done),
        sum(r.files_after for r in done),
        sum(r.bytes_before for r in done),
        sum(r.bytes_after for r in done),
        sum(r.rows for r in done),
        refused.files_before,
    )


def crowded(lakehouse: Lakehouse) -> list[date]:
    """The days that a compaction would rewrite, those with most files first."""
    with open_session(lakehouse) as session:
        days = compaction.days_with_small_files(session.state(READINGS), session)
    return sorted(days, key=lambda day: -len(days[day]))


def files_with_bounds(lakehouse: Lakehouse) -> tuple[int, int]:
    """How many data files of the readings have bounds of their columns in the manifests, and how many there are."""
    with open_session(lakehouse) as session:
        files = [e.data_file for e in iceberg.live_entries(session.state(READINGS), session.io)]
    return sum(1 for file in files if file.lower_bounds and file.upper_bounds), len(files)


def expire_snapshots(
    lakehouse: Lakehouse, *, keep: int = 1, grace: timedelta = READERS_GRACE, window: timedelta | None = None
) -> ExpireReport:
    """Give up all but the newest `keep` snapshots of both tables and those younger than `window`; delete files given
    up longer than `grace` ago. What a branch or tag points at stays, and so does every file that a kept snapshot needs.
    """
    expired = 0
    with open_session(lakehouse) as session:
        for name in TABLES:
            young = _younger(session.state(name), window)
            expired += _expire(session, name, max(keep, young))
        return ExpireReport(expired, collect_garbage(session, grace))


def _younger(state: TableState, window: timedelta | None) -> int:
    if window is None:
        return 0
    since = (datetime.now(UTC) - window).timestamp() * 1000
    return sum(1 for snapshot in state.metadata.snapshots if snapshot.timestamp_ms >= since)


def _expire(session: Session, name: str, keep: int) -> int:
    with ledger.commit_lock(session.connection):
        if name == READINGS:
            spans.settle(session.connection, session.lakehouse, session.io)
        state = session.state(name)
        updates, garbage = iceberg.expire_updates(state, session.io, keep)
        if not updates:
            return 0
        staged = iceberg.stage(state, Change(updates=updates), session.io)
        try:
            iceberg.swap(session.connection, staged)
        except TableMoved:
            return 0
        ledger.add_garbage(session.connection, name, sorted({*garbage, *staged.garbage}))
        if name == READINGS:
            seq = ledger.record_change(session.connection, "expire", staged.after.snapshot_id, [])
            ledger.record_state(session.connection, name, staged.after.location, staged.after.snapshot_id, seq)
    session.remember(staged.after)
    return len(state.metadata.snapshots) - len(staged.after.metadata.snapshots)


def collect_garbage(session: Session, grace: timedelta | None = None) -> int:
    """Delete files that were given up longer than `grace` ago (None: 75 minutes) and that no kept snapshot needs."""
    deleted = 0
    for name in TABLES:
        snapshots = session.state(name).metadata.snapshots
        oldest = min((s.sequence_number or 0 for s in snapshots), default=0)
        rows = session.connection.execute(
            "SELECT path FROM lake_garbage WHERE table_name = %s AND since <= now() - %s AND needed_until <= %s"
            " ORDER BY path LIMIT 10000",
            (name, READERS_GRACE if grace is None else grace, oldest),
        ).fetchall()
        paths = [row[0] for row in rows]
        if paths:
            session.remove(paths)
            session.connection.execute("DELETE FROM lake_garbage WHERE path = ANY(%s)", (paths,))
            deleted += len(paths)
    return deleted


def clean_orphans(lakehouse: Lakehouse, *, grace: timedelta = ORPHAN_GRACE) -> OrphanReport:
    """Delete files in the tables' folders that no kept snapshot refers to, and free what dead workers had claimed.

    A data file written by a worker that is dead goes at once, one of a living worker never; any other file only when
    it is older than `grace`, because another engine may be about to commit it. Raises HomelabError,
    with nothing deleted, when PostgreSQL or the bucket went back in time.
    """
    moved = rollback.examine(lakehouse)
    if moved:  # what looks left over may be all that remains of newer commits
        raise HomelabError.of(
            f"{CATALOG}.{moved[0].table}", f"nothing is cleaned up: {moved[0].fault}", "Run `homelab repair` first."
        )
    with open_session(lakehouse) as session:
        connection = session.connection
        living = set(ledger.living_workers(connection))
        listed = {name: list(_files(session, session.state(name))) for name in TABLES}
        with ledger.commit_lock(connection):
            living |= set(ledger.living_workers(connection))
            freed = connection.execute("DELETE FROM ingest_claim WHERE worker <> ALL(%s)", (sorted(living),)).rowcount
            connection.execute("DELETE FROM ingest_worker WHERE id <> ALL(%s)", (sorted(living),))
            needed = {row[0] for row in connection.execute("SELECT path FROM lake_garbage").fetchall()}
            for name in TABLES:
                needed |= _referenced(session, session.state(name))
        orphans = [
            (path, info.size)
            for name in TABLES
            for path, info in listed[name]
            if path not in needed and _is_orphan(path, info, living, grace)
        ]
        session.remove([path for path, _ in orphans])
    paths = tuple(sorted(path for path, _ in orphans))
    return OrphanReport(len(orphans), sum(size for _, size in orphans), freed, paths)


def _files(session: Session, state: TableState) -> Iterable[tuple[str, ObjectInfo]]:
    bucket, folder = split_location(state.metadata.location)
    for info in session.store.list(bucket, f"{folder}/"):
        yield f"s3://{bucket}/{info.key}", info


def _is_orphan(path: str, info: ObjectInfo, living: set[int], grace: timedelta) -> bool:
    name = path.rsplit("/", 1)[1]
    worker = name[1:].split("-", 1)[0]
    if name.endswith(".parquet") and worker.isdigit() and name.startswith(part_prefix(int(worker))):
        return int(worker) not in living
    return info.last_modified <= datetime.now(UTC) - grace


def _referenced(session: Session, state: TableState) -> set[str]:
    """Every file that some kept snapshot of the table needs."""
    from pyiceberg.manifest import read_manifest_list

    needed = {state.location, *(e.metadata_file for e in state.metadata.metadata_log)}
    needed |= {s.statistics_path for s in state.metadata.statistics}
    seen: set[str] = set()
    for snapshot in state.metadata.snapshots:
        needed.add(snapshot.manifest_list)
        for manifest in read_manifest_list(session.io.new_input(snapshot.manifest_list)):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(session.io, discard_deleted=True)
                needed |= {e.data_file.file_path for e in entries}
    return needed | seen


def drop_before(lakehouse: Lakehouse, day: date) -> DropReport:
    """Retention: drop all readings of days before `day`. Their files go with the next expiry of snapshots."""
    with open_session(lakehouse) as session:
        for _ in range(5):
            entries = [
                e
                for e in iceberg.live_entries(session.state(READINGS), session.io)
                if spans.partition_day(e.data_file.partition[0]) < day
            ]
            if not entries:
                return DropReport()
            files = [e.data_file for e in entries]
            days = sorted({spans.partition_day(f.partition[0]) for f in files})
            if _drop(session, [f.file_path for f in files], days):
                return DropReport(
                    tuple(days),
                    len(files),
                    sum(f.record_count for f in files),
                    sum(f.file_size_in_bytes for f in files),
                )
    return DropReport()


def _drop(session: Session, paths: Sequence[str], days: Sequence[date]) -> bool:
    connection = session.connection
    try:
        with ledger.commit_lock(connection):
            spans.settle(connection, session.lakehouse, session.io)
            change = Change(removed=frozenset(paths), operation="delete")
            staged = iceberg.stage(session.state(READINGS), change, session.io)
            iceberg.swap(connection, staged)
            seq = ledger.record_change(connection, "retention", staged.after.snapshot_id, days)
            ledger.record_state(connection, READINGS, staged.after.location, staged.after.snapshot_id, seq)
            ledger.add_garbage(connection, READINGS, staged.garbage)
            ledger.add_garbage(connection, READINGS, paths, staged.sequence)
    except TableMoved:
        return False
    session.remember(staged.after)
    return True

"""The lake at one point in time: its tables' snapshots held, and the database as of the same moment.

Belongs here: tagging the current snapshot of every table under the ledger's commit lock, exporting the database's
snapshot before anybody commits again, and removing tags. Maintenance keeps what a tag points at, so the copy may take
hours. Not here: what is copied then (lake.py).

Trino and other engines do not know the lock. If one of them commits between the tag and the export, it begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools import advisory_locks, duckdb, postgres
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import TableMoved, TableState

if TYPE_CHECKING:
    import psycopg
    from pyiceberg.table.update import TableUpdate

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO

PREFIX = "backup_"
"""How the tags of backups begin; the rest is the run."""
ATTEMPTS = 10

_Updates = Callable[[TableState], "tuple[TableUpdate, ...]"]


@dataclass(frozen=True)
class Pinned:
    """The moment: `export` names the database's snapshot for pg_dump, `view` is a transaction that sees it, `tables`
    are all Iceberg tables as it sees them.
    """

    export: str
    view: psycopg.Connection
    tables: Mapping[str, TableState]


@contextmanager
def pin(lakehouse: Lakehouse, run: str, io: StoreFileIO) -> Iterator[Pinned]:
    """Hold the lake's state of one moment; the tags stay until `unpin`, the database's snapshot ends with the block.

    Raises HomelabError when other engines commit all the time, or what connecting raises.
    """
    with ledger.connect(lakehouse) as gate, closing(postgres.connect(lakehouse.postgres, application="backup")) as view:
        for _ in range(ATTEMPTS):
            with _nobody_commits(gate):
                try:
                    tagged = _change_all(gate, lakehouse, io, lambda state: _tag(state, PREFIX + run))
                except TableMoved:
                    continue
                view.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                export = next(iter(view.execute("SELECT pg_export_snapshot()")))[0]
                seen = {p.identifier: p.metadata for p in duckdb.table_pointers(lakehouse, view)}
            if seen == {name: state.location for name, state in tagged.items()}:
                yield Pinned(str(export), view, tagged)
                return
            view.rollback()
    raise HomelabError.of(
        "lake", f"other engines committed {ATTEMPTS} times in between", "Run the backup again in a moment."
    )


def unpin(lakehouse: Lakehouse, io: StoreFileIO, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
    """Remove the tags of backups, but for the runs that `keep` says; returns the runs whose tags went."""
    gone: set[str] = set()

    def updates(state: TableState) -> tuple[TableUpdate, ...]:
        from pyiceberg.table.update import RemoveSnapshotRefUpdate

        ours = [ref for ref in state.metadata.refs if ref.startswith(PREFIX) and not keep(ref.removeprefix(PREFIX))]
        gone.update(ref.removeprefix(PREFIX) for ref in ours)
        return tuple(RemoveSnapshotRefUpdate.model_validate({"ref-name": ref}) for ref in ours)

    _retried(lakehouse, io, updates)
    return sorted(gone)


def settle_restored(lakehouse: Lakehouse, io: StoreFileIO) -> None:
    """Make a restored lake whole: older snapshots, whose files were not copied, and what dead workers held go."""

    def updates(state: TableState) -> tuple[TableUpdate, ...]:
        from pyiceberg.table.update import RemoveSnapshotRefUpdate, RemoveSnapshotsUpdate

        refs = [ref for ref in state.metadata.refs if ref.startswith(PREFIX)]
        old = [s.snapshot_id for s in state.metadata.snapshots if s.snapshot_id != state.snapshot_id]
        found: list[TableUpdate] = [RemoveSnapshotRefUpdate.model_validate({"ref-name": ref}) for ref in refs]
        if old:
            found.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": old}))
        return tuple(found)

    _retried(lakehouse, io, updates)
    with ledger.connect(lakehouse) as connection:
        connection.execute("TRUNCATE lake_garbage, ingest_claim, ingest_worker")


def _retried(lakehouse: Lakehouse, io: StoreFileIO, updates: _Updates) -> None:
    for _ in range(ATTEMPTS):
        with ledger.connect(lakehouse) as gate, _nobody_commits(gate):
            try:
                _change_all(gate, lakehouse, io, updates)
            except TableMoved:
                continue
            return
    raise HomelabError.of("lake", f"other engines committed {ATTEMPTS} times in between", "Try again in a moment.")


@contextmanager
def _nobody_commits(connection: psycopg.Connection) -> Iterator[None]:
    """Hold the ledger's commit lock over several transactions."""
    lock = (advisory_locks.LAKE, advisory_locks.LAKE_COMMIT)
    connection.execute(f"SET lock_timeout = '{ledger.LOCK_TIMEOUT}'")
    connection.execute("SELECT pg_advisory_lock(%s, %s)", lock)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", lock)


def _change_all(
    gate: psycopg.Connection, lakehouse: Lakehouse, io: StoreFileIO, updates: _Updates
) -> dict[str, TableState]:
    """Change the metadata of every table in one transaction; the states after it. Raises TableMoved, and then nothing
    was changed.
    """
    states: dict[str, TableState] = {}
    with gate.transaction():
        pointers = duckdb.table_pointers(lakehouse, gate)
        if READINGS in {pointer.identifier for pointer in pointers}:
            spans.settle(gate, lakehouse, io)
        for pointer in pointers:
            state = iceberg.read_state(pointer.identifier, pointer.metadata, io)
            wanted = updates(state)
            states[state.name] = _changed(gate, state, wanted, io) if wanted else state
    return states


def _changed(
    gate: psycopg.Connection, state: TableState, wanted: tuple[TableUpdate, ...], io: StoreFileIO
) -> TableState:
    staged = iceberg.stage(state, Change(updates=wanted), io)
    iceberg.swap(gate, staged)
    ledger.add_garbage(gate, state.name, staged.garbage)
    if state.name == READINGS:
        seq = ledger.record_change(gate, "backup", staged.after.snapshot_id, [])
        ledger.record_state(gate, READINGS, staged.after.location, staged.after.snapshot_id, seq)
    return staged.after


def _tag(state: TableState, name: str) -> tuple[TableUpdate, ...]:
    from pyiceberg.table.update import SetSnapshotRefUpdate

    if state.snapshot_id is None:
        return ()
    words = {"ref-name": name, "type": "tag", "snapshot-id": state.snapshot_id}
    return (SetSnapshotRefUpdate.model_validate(words),)

"""Small files of `default.sensor_data_rejected` rewritten as few, with proof that not one line changed.

Belongs here: the one unpartitioned table, which nothing else of the platform keeps small. Not here: readings
(compaction.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homelab_platform.readings import ledger
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.contract import REJECTED
from homelab_platform.readings.upkeep import compaction
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import TableMoved, TableState

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

LEAST_FILES = 4  # fewer are not worth a rewrite
OUTPUT_BYTES = 64 << 20  # of the small files that one rewrite reads; raw lines are up to 8 KiB each
SMALL_BYTES = 16 << 20


@dataclass(frozen=True)
class RejectedReport:
    """What a rewrite did, in files, bytes and lines."""

    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0


def compact_rejected(session: Session) -> RejectedReport:
    """Merge the small files of refused lines, at most 64 MiB of them at once; nothing if there are few, if another
    engine has deleted lines through delete files, or if somebody else was faster.
    """
    state = session.state(REJECTED)
    if compaction.has_deletes(state, session):
        return RejectedReport()
    files = _small(state, session)
    if len(files) < LEAST_FILES:
        return RejectedReport()
    rows = _in_order(compaction.read_files(session, state, files))
    new = compaction.written(session, state, rows, None)
    if not _commit(session, files, new):
        session.remove([new.file_path])
        return RejectedReport()
    size = sum(file.file_size_in_bytes for file in files)
    return RejectedReport(len(files), 1, size, new.file_size_in_bytes, len(rows))


def _small(state: TableState, session: Session) -> list[DataFile]:
    """The small files, oldest first, as many as one rewrite takes."""
    found: list[DataFile] = []
    size = 0
    for entry in sorted(iceberg.live_entries(state, session.io), key=lambda e: e.sequence_number or 0):
        file = entry.data_file
        if file.file_size_in_bytes >= SMALL_BYTES:
            continue
        if found and size + file.file_size_in_bytes > OUTPUT_BYTES:
            break
        found.append(file)
        size += file.file_size_in_bytes
    return found


def _in_order(rows: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in ("ingested_at", "source", "line")]
    return rows.sort_by(keys).combine_chunks()


def _commit(session: Session, old: list[DataFile], new: DataFile) -> bool:
    connection = session.connection
    removed = frozenset(file.file_path for file in old)
    staged: list[iceberg.Staged] = []
    try:
        with ledger.commit_lock(connection):
            change = Change(
                added=[new], removed=removed, operation="replace", summary={"homelab.worker": session.worker.name}
            )
            staged.append(iceberg.stage(session.state(REJECTED), change, session.io))
            iceberg.swap(connection, staged[0])
            ledger.add_garbage(connection, REJECTED, staged[0].garbage)
            ledger.add_garbage(connection, REJECTED, sorted(removed), staged[0].sequence)
    except TableMoved:
        session.remove([path for one in staged for path in one.written])
        return False
    session.remember(staged[0].after)
    return True

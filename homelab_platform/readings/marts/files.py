"""Deleting files of a mart that none of its kept snapshots needs.

Belongs here: marts only; the tables of readings have maintenance.py, which must take part in the ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from homelab_platform.tools.iceberg.metadata_io import split_location

if TYPE_CHECKING:
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.iceberg.tables import TableState

GRACE = timedelta(hours=1)  # for queries that still read an older state, and for files written a moment ago


def sweep(state: TableState, io: StoreFileIO, *, grace: timedelta = GRACE) -> int:
    """Delete what lies in the table's folder, is older than `grace` and is not needed; returns how many files."""
    bucket, prefix = split_location(state.metadata.location)
    needed = _needed(state, io)
    limit = datetime.now(UTC) - grace
    stale = [
        found.key
        for found in io.store.list(bucket, f"{prefix}/")
        if found.last_modified < limit and f"s3://{bucket}/{found.key}" not in needed
    ]
    return io.store.delete(bucket, stale)


def _needed(state: TableState, io: StoreFileIO) -> set[str]:
    """Every file that a snapshot of this state refers to, and the metadata files of its own log."""
    from pyiceberg.manifest import read_manifest_list

    needed = {state.location, *(entry.metadata_file for entry in state.metadata.metadata_log)}
    for snapshot in state.metadata.snapshots:
        needed.add(snapshot.manifest_list)
        for manifest in read_manifest_list(io.new_input(snapshot.manifest_list)):
            if manifest.manifest_path not in needed:
                needed.add(manifest.manifest_path)
                needed.update(e.data_file.file_path for e in manifest.fetch_manifest_entry(io, discard_deleted=True))
    return needed

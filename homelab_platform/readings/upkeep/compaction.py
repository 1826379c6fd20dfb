"""Small files of a day rewritten as few, with proof that not one reading changed.

Belongs here: choosing files, rewriting them, the proof, the commit. Not here: when that happens (ingest, maintenance).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.readings import arrow, ledger, parquet
from homelab_platform.readings.commit import spans
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import TableMoved, TableState

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile, ManifestEntry

TIDY_FILES = 16  # of one size class, which are then merged: each reading is rewritten once per class
TIDY_BASE = 8  # a size class spans this factor of rows
OUTPUT_ROWS = 4_000_000
LARGE_ROWS = 2_000_000  # a file with this many is left alone


@dataclass(frozen=True)
class Rewritten:
    """What one rewrite did."""

    day: date
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows: int


def tidy(session: Session) -> list[Rewritten]:
    """Merge files of like size on days that have had many small commits. A commit by somebody else meanwhile undoes it
    without harm: the day is tidied another time.
    """
    done = []
    for day in ledger.crowded_days(session.connection, TIDY_FILES):
        state = session.state(READINGS)
        if has_deletes(state, session):
            break  # compact() makes them part of the files
        classes: dict[int, list[ManifestEntry]] = {}
        for entry in day_entries(state, session, day):
            rows = entry.data_file.record_count
            if rows < LARGE_ROWS:
                classes.setdefault(int(math.log(max(1, rows), TIDY_BASE)), []).append(entry)
        chosen = [e for found in classes.values() if len(found) >= TIDY_FILES for e in found]
        if not chosen:
            session.connection.execute("UPDATE day_files SET commits = 0 WHERE date = %s", (day,))
        else:
            done += rewrite(session, state, day, chosen)
    return done


def has_deletes(state: TableState, session: Session) -> bool:
    """Whether another engine has deleted rows through delete files."""
    from pyiceberg.manifest import ManifestContent

    return any(m.content == ManifestContent.DELETES for m in iceberg.manifests(state, session.io))


def day_entries(state: TableState, session: Session, day: date) -> list[ManifestEntry]:
    """The live data files of one day."""
    return [e for e in iceberg.live_entries(state, session.io) if spans.partition_day(e.data_file.partition[0]) == day]


def rewrite(session: Session, state: TableState, day: date, entries: Sequence[ManifestEntry]) -> list[Rewritten]:
    """Merge these files of a day, at most `OUTPUT_ROWS` rows in each new one; none if somebody else was faster.

    Where another engine deleted rows of the day through delete files, all of the day is written anew without them, and
    the delete files of that day go.
    """
    files = [e.data_file for e in entries]
    gone: list[DataFile] = []
    if has_deletes(state, session):
        files = [e.data_file for e in day_entries(state, session, day)]
        gone = [e.data_file for e in iceberg.delete_entries(state, session.io) if _is_of(e, day)]
        tables = _in_pieces(_without_deleted(session, state, day))
    else:
        tables = [_sorted(read_files(session, state, group)) for group in _groups(files)]
    new = [written(session, state, table, day) for table in tables if len(table)]
    if not _commit(session, state, day, [*files, *gone], new):
        session.remove([f.file_path for f in new])
        return []
    return [
        Rewritten(
            day,
            len(files),
            len(new),
            sum(f.file_size_in_bytes for f in files),
            sum(f.file_size_in_bytes for f in new),
            sum(f.record_count for f in new),
        )
    ]


def _is_of(entry: ManifestEntry, day: date) -> bool:
    """Whether a delete file is of this day alone. One without a partition may concern any day and stays."""
    from pyiceberg.manifest import DataFileContent

    partition = entry.data_file.partition
    positions = entry.data_file.content == DataFileContent.POSITION_DELETES
    return positions and len(partition) == 1 and spans.partition_day(partition[0]) == day


def _in_pieces(table: pa.Table) -> list[pa.Table]:
    return [table.slice(start, OUTPUT_ROWS) for start in range(0, len(table), OUTPUT_ROWS)]


def _groups(files: Sequence[DataFile]) -> list[list[DataFile]]:
    groups: list[list[DataFile]] = [[]]
    rows = 0
    for file in sorted(files, key=lambda f: f.file_path):
        if groups[-1] and rows + file.record_count > OUTPUT_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(file)
        rows += file.record_count
    return groups


def read_files(session: Session, state: TableState, files: Sequence[DataFile]) -> pa.Table:
    """The rows of some data files under the table's present schema: columns are matched by their field id."""
    import pyarrow as pa

    schema = state.schema()
    wanted = parquet.arrow_schema(schema, [f.name for f in schema.fields])
    tables = []
    for file in files:
        found = parquet.read(session.store.get(*split_location(file.file_path)))
        if len(found) != file.record_count:
            raise HomelabError.of(file.file_path, f"has {len(found)} rows, not {file.record_count}", "Restore it.")
        by_id = {(f.metadata or {}).get(b"PARQUET:field_id", b""): i for i, f in enumerate(found.schema)}
        columns = []
        for field in wanted:
            at = by_id.get(field.metadata[b"PARQUET:field_id"])
            columns.append(pa.nulls(len(found), field.type) if at is None else found.column(at).cast(field.type))
        tables.append(pa.Table.from_arrays(columns, schema=wanted))
    return pa.concat_tables(tables)


def _without_deleted(session: Session, state: TableState, day: date) -> pa.Table:
    """All rows of a day, where another engine has deleted some through delete files."""
    from homelab_platform.tools import duckdb

    schema = state.schema()
    wanted = parquet.arrow_schema(schema, [f.name for f in schema.fields])
    engine = duckdb.connect(session.lakehouse, pointers=spans.pointers(state.location))
    try:
        found = engine.execute("SELECT * FROM hive.default.sensor_data WHERE date = $1", [day]).to_arrow_table()
    finally:
        engine.close()
    return _sorted(found.select(wanted.names).cast(wanted))


def _sorted(table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.combine_chunks()
    keys = []
    for name in ("sensor", "device"):
        encoded = pc.dictionary_encode(table[name]).combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        rank = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
        keys.append(rank[encoded.indices.to_numpy(zero_copy_only=False)] if len(table) else rank)
    order = np.lexsort((table["ts"].cast(pa.int64()).to_numpy(), *keys))
    if not np.array_equal(np.sort(order), np.arange(len(table))):
        raise AssertionError("sorting lost a row")
    return table.take(arrow.fixed(order, pa.int64()))


def written(session: Session, state: TableState, table: pa.Table, day: date | None) -> DataFile:
    """Write the rows, read them back, and refuse unless every cell is the same."""

    file = session.upload_part(state, table, day)
    back = parquet.read(session.store.get(*split_location(file.file_path)))
    if not back.cast(table.schema).equals(table):
        session.remove([file.file_path])
        raise HomelabError.of(file.file_path, "reads back different from what was written", "The table is unchanged.")
    return file


def _commit(session: Session, base: TableState, day: date, old: Sequence[DataFile], new: Sequence[DataFile]) -> bool:
    connection = session.connection
    removed = frozenset(f.file_path for f in old)
    staged: list[iceberg.Staged] = []
    try:
        with ledger.commit_lock(connection):
            spans.settle(connection, session.lakehouse, session.io)
            state = session.state(READINGS)
            if _deletes(state, session) != _deletes(base, session):
                return False
            change = Change(
                added=new, removed=removed, operation="replace", summary={"homelab.worker": session.worker.name}
            )
            staged.append(iceberg.stage(state, change, session.io))
            iceberg.swap(connection, staged[0])
            after = staged[0].after
            seq = ledger.record_change(connection, "compact", after.snapshot_id, [day])
            ledger.record_state(connection, READINGS, after.location, after.snapshot_id, seq)
            ledger.add_garbage(connection, READINGS, staged[0].garbage)
            ledger.add_garbage(connection, READINGS, sorted(removed), staged[0].sequence)
            connection.execute("UPDATE day_files SET commits = 0 WHERE date = %s", (day,))
    except TableMoved:
        session.remove([path for s in staged for path in s.written])
        return False
    session.remember(staged[0].after)
    return True


def _deletes(state: TableState, session: Session) -> set[str]:
    from pyiceberg.manifest import ManifestContent

    return {m.manifest_path for m in iceberg.manifests(state, session.io) if m.content == ManifestContent.DELETES}


def days_with_small_files(state: TableState, session: Session) -> dict[date, list[Any]]:
    """Per day, the files worth rewriting: small ones, if there is more than one, or all where rows were deleted."""
    days: dict[date, list[ManifestEntry]] = {}
    deleted = {spans.partition_day(e.data_file.partition[0]) for e in iceberg.delete_entries(state, session.io)
               if len(e.data_file.partition) == 1}  # fmt: skip
    for entry in iceberg.live_entries(state, session.io):
        day = spans.partition_day(entry.data_file.partition[0])
        if entry.data_file.record_count < LARGE_ROWS or day in deleted:
            days.setdefault(day, []).append(entry)
    return {day: found for day, found in sorted(days.items()) if len(found) > 1 or day in deleted}

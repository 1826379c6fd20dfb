"""The lake as one item: tables, ledger and raw objects at one point in time.

Belongs here: copying it while others write, putting a copy on other servers, counting what is there. Not here: how the
moment is held (pin.py), where the copy goes (operations/).

Files of tables are never overwritten, so they are copied after the moment was taken. Raw objects are immutable: those
that came later do no harm, a restored site ingests them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.layers.backups import pin as pins
from homelab_platform.layers.backups.manifest import (
    FileEntry,
    LakeTable,
    Manifest,
    Rows,
    compare_rows,
    hash_file,
    load_manifest,
    previous_files,
    write_manifest,
)
from homelab_platform.layers.backups.mirror import Mirror, refuse_shrunk, upload
from homelab_platform.layers.backups.rows import engine_version, lake_rows, reading_files, table_rows, total
from homelab_platform.layers.backups.swap import drop_replaced
from homelab_platform.names import Say
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools import pg_dump
from homelab_platform.tools.duckdb import TablePointer
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.objects.client import NotFound, ObjectInfo, ObjectStore

if TYPE_CHECKING:
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.iceberg.tables import TableState

DUMP = "lake.dump"
VOLATILE = ("ingest_claim", "ingest_worker", "lake_garbage")
"""Tables of the lake's database that say what is going on right now: emptied in a restored lake."""
MUST_HAVE = (DUMP, "manifest.json")


@dataclass(frozen=True)
class LakeItem:
    """The lake of one site. `programs` is the folder of PostgreSQL's programs."""

    lakehouse: Lakehouse
    programs: Path
    name: str = "lake"
    method: str = "lake"
    must_have: tuple[str, ...] = MUST_HAVE
    may_be_empty: bool = False

    def capture(self, stage: Path, run: str, say: Say, *, shrunk: bool = False) -> Manifest:
        """Copy the lake as it is now into `stage`, which may hold an earlier copy; the manifest comes last.

        `shrunk` says that a person knows of a bucket that lost more than a fifth of its objects; without it such a
        bucket is refused. Raises HomelabError; the manifest is then still the earlier copy's.
        """
        stage.mkdir(parents=True, exist_ok=True)
        before = load_manifest(stage) if (stage / "manifest.json").exists() else None
        io = iceberg.open_io(self.lakehouse)
        with closing(io.store):
            mirror = Mirror(io.store, stage, previous_files(stage))
            with pins.pin(self.lakehouse, run, io) as pinned:
                say(f"holds {len(pinned.tables)} tables at one moment")
                for state in pinned.tables.values():
                    _take(mirror, state.location)  # metadata files are the first to go
                pg_dump.dump(self.lakehouse.postgres, stage / DUMP, self.programs, snapshot=pinned.export)
                database = _rows(pg_dump.count_rows(pinned.view, pg_dump.tables_of(pinned.view), VOLATILE))
                ledger = _ledger(pinned)
            # The readings take longest, and the metadata of other tables is deleted soonest.
            ordered = sorted(pinned.tables.values(), key=lambda state: state.name == READINGS)
            tables = {state.name: self._copy_table(mirror, state, before, io) for state in ordered}
            for info in self._raw_objects(io.store, before, shrunk):
                mirror.take(self.lakehouse.raw_bucket, info)
            mirror.drop_others()
        say(f"copied {mirror.fetched} new objects of {len(mirror.entries)}")
        return write_manifest(
            stage,
            item=self,
            run=run,
            files=[*mirror.entries.values(), _file(stage, DUMP)],
            tables=database,
            lake=tables,
            ledger=ledger,
            engine=engine_version(),
        )

    def _raw_objects(self, store: ObjectStore, before: Manifest | None, shrunk: bool) -> list[ObjectInfo]:
        """Every raw object, listed after the moment was taken: all that the ledger knew then are among them."""
        bucket = self.lakehouse.raw_bucket
        found = list(store.list(bucket))
        refuse_shrunk(bucket, len(found), before, shrunk=shrunk)
        return found

    def _copy_table(self, mirror: Mirror, state: TableState, before: Manifest | None, io: StoreFileIO) -> LakeTable:
        data = [entry.data_file for entry in iceberg.live_entries(state, io)]
        deletes = [entry.data_file for entry in iceberg.delete_entries(state, io)]
        for location in (*_metadata_files(state, io), *(file.file_path for file in (*data, *deletes))):
            _take(mirror, location)
        files: dict[str, Rows] = {}
        if state.name == READINGS and not deletes:
            entries = [mirror.entries[file.file_path] for file in data]
            files = reading_files(mirror.folder, entries, before)
            rows = total(files)
        else:
            namespace, _, name = state.name.partition(".")
            rows = table_rows(self.lakehouse, TablePointer(namespace, name, state.location), data)
        return LakeTable(metadata=state.location, snapshot=state.snapshot_id, rows=rows, files=files)

    def release(self, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
        """Let go what copies of runs hold in the live lake, but for those that `keep` says; returns these runs. Lakes
        that a restore replaced more than a day ago go too.
        """
        drop_replaced(self.lakehouse.postgres)
        io = iceberg.open_io(self.lakehouse)
        with closing(io.store):
            return pins.unpin(self.lakehouse, io, keep)


def load_lake(manifest: Manifest, folder: Path, lakehouse: Lakehouse, programs: Path) -> int:
    """Put a copy onto `lakehouse`, whose database is empty and whose buckets have the names of the copy's.

    Objects that are there already stay. Returns how many were written. Raises HomelabError at the first failure.
    """
    with ObjectStore(lakehouse.objects) as store:
        for bucket in (lakehouse.raw_bucket, lakehouse.lake_bucket):
            store.ensure_bucket(bucket)
        written = upload(store, folder, (e for e in manifest.files if e.name.startswith("s3://")))
    pg_dump.load(lakehouse.postgres, folder / DUMP, programs)
    return written


def found_rows(lakehouse: Lakehouse) -> dict[str, Rows]:
    """Rows of the lake's database as they are, by table."""
    from homelab_platform.tools import postgres

    with closing(postgres.connect(lakehouse.postgres)) as connection:
        return _rows(pg_dump.count_rows(connection, pg_dump.tables_of(connection), VOLATILE))


def compare_lake(manifest: Manifest, lakehouse: Lakehouse) -> list[str]:
    """Where the Iceberg tables on `lakehouse`, read through its catalog, do not hold the manifest's rows."""
    expected = {name: table.rows for name, table in manifest.lake.items()}
    if manifest.engine != engine_version():  # its text of a row may be another
        expected = {name: Rows(count=rows.count) for name, rows in expected.items()}
    return compare_rows(expected, lake_rows(lakehouse, manifest.lake))


def _take(mirror: Mirror, location: str) -> None:
    bucket, key = split_location(location)
    if f"s3://{bucket}/{key}" in mirror.entries:
        return
    info = mirror.head(bucket, key)
    if info is None:
        raise NotFound.of(location, "is gone, although the table needs it", "Run `homelab verify-integrity`.")
    mirror.take(bucket, info)


def _metadata_files(state: TableState, io: StoreFileIO) -> Iterable[str]:
    """Manifest list, manifests and statistics of the current snapshot."""
    snapshot = state.metadata.current_snapshot()
    if snapshot is None:
        return
    yield snapshot.manifest_list
    yield from (manifest.manifest_path for manifest in iceberg.manifests(state, io))
    yield from (s.statistics_path for s in state.metadata.statistics if s.snapshot_id == snapshot.snapshot_id)


def _ledger(pinned: pins.Pinned) -> Rows:
    row = pinned.view.execute(
        "SELECT coalesce(sum(rows), 0), count(*) FROM ingest_ledger WHERE status = 'ingested'"
    ).fetchone()
    rows, objects = row or (0, 0)
    return Rows(count=int(rows), checksum=f"{objects} objects")


def _rows(found: dict[str, tuple[int, str]]) -> dict[str, Rows]:
    return {name: Rows(count=count, checksum=checksum) for name, (count, checksum) in found.items()}


def _file(stage: Path, name: str) -> FileEntry:
    path = stage / name
    return FileEntry(name=name, path=name, size=path.stat().st_size, sha256=hash_file(path))

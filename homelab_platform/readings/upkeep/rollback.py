"""Stores that went back in time: a PostgreSQL older than the lake's bucket, or a bucket older than PostgreSQL.

Belongs here: noticing it, planning the repair, and doing it in one transaction. Not here: the question and the answer
on a screen (cli/repair_command.py).

A table's state is the metadata file that the catalog in PostgreSQL points at. An older PostgreSQL points at an older
file than the newest in the bucket; an older bucket lacks the file, which is written last. Either way the repair points
at the newest state of which every file is there, and tells the ledger which objects are to be read again: those whose
readings the table lacks, and those that the ledger does not know. What the table and the raw bucket both lack is lost,
and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.objects.client import NotFound, ObjectStore

if TYPE_CHECKING:
    import psycopg

    from homelab_platform.tools.duckdb import TablePointer
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.objects.client import ObjectInfo

SETTLED = timedelta(minutes=10)
"""Age from which a metadata file that the catalog does not point at is no commit under way."""
LOST = "lost: neither the table nor the raw bucket has it"


@dataclass(frozen=True)
class Moved:
    """A table whose stores disagree. `to` is the newest whole state; None when no state is whole."""

    table: str
    older: str  # which store went back: PostgreSQL or bucket
    fault: str
    pointer: str
    to: str | None


@dataclass
class Repair:
    """What a repair does, or did: tables pointed elsewhere, objects read again, objects whose readings are lost."""

    tables: tuple[Moved, ...] = ()
    read_again: list[str] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)  # in the table, not in the ledger: rows by object
    lost: dict[str, int] = field(default_factory=dict)  # rows by object
    days: tuple[date, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.tables or self.read_again or self.lost)


def examine(lakehouse: Lakehouse, *, settled: timedelta | None = None) -> tuple[Moved, ...]:
    """The tables whose stores disagree: one listing of the bucket, and one small file for each table in order.

    Raises HomelabError if PostgreSQL or the object store does not answer.
    """
    pointers = engine.table_pointers(lakehouse)
    io = iceberg.open_io(lakehouse)
    with closing(io.store), ObjectStore(lakehouse.objects) as store:
        listed = {f"s3://{lakehouse.lake_bucket}/{o.key}": o for o in store.list(lakehouse.lake_bucket)}
        look = _Look(store, io, listed, datetime.now(UTC) - (SETTLED if settled is None else settled))
        found = [look.at(pointer) for pointer in pointers]
    return tuple(moved for moved in found if moved is not None)


@dataclass
class _Look:
    store: ObjectStore
    io: StoreFileIO
    listed: Mapping[str, ObjectInfo]
    before: datetime

    def at(self, pointer: TablePointer) -> Moved | None:
        """What is wrong with one table."""
        folder = pointer.metadata.rsplit("/", 1)[0]
        own = [p for p in self.listed if p.startswith(f"{folder}/") and p.endswith(".metadata.json")]
        current = self._document(pointer.metadata)
        if current is None:
            return self._behind(pointer, own, f"its newest metadata file {pointer.metadata} is not in the bucket")
        since = self.listed[pointer.metadata].last_modified
        newer = [p for p in own if since <= self.listed[p].last_modified <= self.before and p != pointer.metadata]
        ahead = self._newest_whole(pointer.identifier, newer, current)
        if ahead is not None:
            commits = ahead[1]["last-sequence-number"] - current["last-sequence-number"]
            fault = f"the bucket is {max(commits, 1)} commits ahead of the catalog"
            return Moved(pointer.identifier, "PostgreSQL", fault, pointer.metadata, ahead[0])
        return None  # single files that are missing are for the check files_exist: metadata is written last

    def _behind(self, pointer: TablePointer, own: Sequence[str], fault: str) -> Moved:
        others = [path for path in own if path != pointer.metadata]
        found = self._newest_whole(pointer.identifier, others, None)
        return Moved(pointer.identifier, "bucket", fault, pointer.metadata, found[0] if found else None)

    def _document(self, path: str) -> dict[str, Any] | None:
        if path not in self.listed:
            return None
        try:
            document: dict[str, object] = orjson.loads(self.store.get(*split_location(path)))
        except (NotFound, orjson.JSONDecodeError):
            return None
        return document

    def _newest_whole(
        self, name: str, paths: Sequence[str], current: dict[str, object] | None
    ) -> tuple[str, dict[str, Any]] | None:
        """The newest of these metadata files of which every file is there; newer than `current` if that is given."""
        found = [(path, document) for path in paths if (document := self._document(path)) is not None]
        if current is not None:
            found = [
                (path, document)
                for path, document in found
                if document["table-uuid"] == current["table-uuid"] and _age(document) > _age(current)
            ]
        for path, document in sorted(found, key=lambda one: _age(one[1]), reverse=True):
            if not self._missing(name, path):
                return path, document
        return None

    def _missing(self, name: str, path: str) -> list[str]:
        """The files of a state's current snapshot that are not there, or not whole."""
        state = iceberg.read_state(name, path, self.io)
        snapshot = state.metadata.current_snapshot()
        if snapshot is None:
            return []
        if snapshot.manifest_list not in self.listed:
            return [snapshot.manifest_list]
        manifests = iceberg.manifests(state, self.io)
        missing = [m.manifest_path for m in manifests if m.manifest_path not in self.listed]
        if missing:
            return missing
        files = [entry.data_file for entry in iceberg.live_entries(state, self.io)]
        sizes = {file.file_path: file.file_size_in_bytes for file in files}
        return [p for p, size in sizes.items() if p not in self.listed or self.listed[p].size != size]


def _age(document: Mapping[str, Any]) -> tuple[int, int]:
    return int(document["last-sequence-number"]), int(document["last-updated-ms"])


def plan(lakehouse: Lakehouse, *, settled: timedelta | None = None) -> Repair:
    """What a repair would do. Raises HomelabError when a table has no whole state, naming it, or a server is away."""
    moved = examine(lakehouse, settled=settled)
    broken = [one for one in moved if one.to is None]
    if broken:
        raise HomelabError.of(
            f"{CATALOG}.{broken[0].table}",
            f"{broken[0].fault}, and no older state of it is whole",
            "Restore the lake bucket from its backup (`homelab restore`), then run this again.",
        )
    repair = Repair(tables=moved)
    with ledger.connect(lakehouse) as connection:
        if connection.execute("SELECT to_regclass('ingest_ledger')").fetchone() == (None,):
            return repair
        readings = next((p for p in engine.table_pointers(lakehouse) if p.identifier == READINGS), None)
        if readings is not None:
            target = next((str(one.to) for one in moved if one.table == READINGS), readings.metadata)
            _account(connection, lakehouse, target, repair)
    return repair


def _account(connection: psycopg.Connection, lakehouse: Lakehouse, location: str, repair: Repair) -> None:
    """Hold the ledger against what the table's state holds of each object."""
    there = _rows_by_source(lakehouse, location)
    known = connection.execute(
        "SELECT key, sum(rows)::bigint, array(SELECT DISTINCT unnest(array_agg(dates::text)))"
        " FROM ingest_ledger WHERE bucket = %s AND status = 'ingested' GROUP BY key",
        (lakehouse.raw_bucket,),
    ).fetchall()
    elsewhere = {
        str(row[0])
        for row in connection.execute(
            "SELECT key FROM ingest_ledger WHERE bucket = %s AND status <> 'ingested'", (lakehouse.raw_bucket,)
        ).fetchall()
    }
    with ObjectStore(lakehouse.objects) as store:
        raw = {o.key for o in store.list(lakehouse.raw_bucket)}
    days: set[date] = set()
    counted = {str(key): int(rows or 0) for key, rows, _ in known}
    for key, rows in counted.items():
        kept, held = there.get(key, (0, []))
        if kept < rows:
            days |= set(ledger.days_of(connection, lakehouse.raw_bucket, [key])) | set(held)
            if key in raw:
                repair.read_again.append(key)
            else:
                repair.lost[key] = rows - kept
    for key, (rows, held) in there.items():
        if key not in counted and key not in elsewhere:
            repair.unknown[key] = rows
            days |= set(held)
    repair.days = tuple(sorted(days))


def _rows_by_source(lakehouse: Lakehouse, location: str) -> dict[str, tuple[int, list[date]]]:
    with closing(engine.connect(lakehouse, pointers=spans.pointers(location))) as sql:
        rows = sql.execute(
            "SELECT source, count(*), list(DISTINCT date) FROM hive.default.sensor_data WHERE source IS NOT NULL"
            " GROUP BY source"
        ).fetchall()
    return {str(source): (int(count), list(days)) for source, count, days in rows}


def carry_out(lakehouse: Lakehouse, repair: Repair) -> list[str]:
    """Do what was planned, in one transaction; returns the objects to be read now.

    Raises HomelabError, with nothing changed, when a table moved since.
    """
    io = iceberg.open_io(lakehouse)
    with closing(io.store), ledger.connect(lakehouse) as connection, ObjectStore(lakehouse.objects) as store:
        raw = {o.key: o for o in store.list(lakehouse.raw_bucket)} if repair.unknown else {}
        ledger.ensure_ledger(connection)
        with ledger.commit_lock(connection):
            for moved in repair.tables:
                _point(connection, moved)
            _correct_ledger(connection, lakehouse, repair, raw)
            if any(moved.table == READINGS for moved in repair.tables):
                spans.settle(connection, lakehouse, io)
            ledger.record_change(connection, "undo", None, repair.days)
    return sorted({*repair.read_again, *(key for key in repair.unknown if key in raw)})


def _point(connection: psycopg.Connection, moved: Moved) -> None:
    namespace, _, name = moved.table.partition(".")
    done = connection.execute(
        "UPDATE iceberg_tables SET metadata_location = %s, previous_metadata_location = NULL WHERE catalog_name = %s"
        " AND table_namespace = %s AND table_name = %s AND metadata_location = %s",
        (moved.to, CATALOG, namespace, name, moved.pointer),
    )
    if done.rowcount != 1:
        raise HomelabError.of(f"{CATALOG}.{moved.table}", "moved since it was looked at", "Run `homelab repair` again.")


def _correct_ledger(
    connection: psycopg.Connection, lakehouse: Lakehouse, repair: Repair, raw: Mapping[str, ObjectInfo]
) -> None:
    location = iceberg.pointer(connection, READINGS)
    there = _rows_by_source(lakehouse, location)
    bucket = lakehouse.raw_bucket
    refused_again = any(moved.table == REJECTED for moved in repair.tables)
    for key in repair.read_again:
        kept = there.get(key, (0, []))[0]
        if not kept and refused_again:  # as if it had never been read: its refused lines are gone too
            connection.execute("DELETE FROM ingest_ledger WHERE bucket = %s AND key = %s", (bucket, key))
            continue
        connection.execute(
            "UPDATE ingest_ledger SET status = 'again', rows = %s WHERE bucket = %s AND key = %s",
            (kept, bucket, key),
        )
    for key, rows in repair.lost.items():
        connection.execute(
            "UPDATE ingest_ledger SET status = 'withdrawn', rows = rows - %s, problem = %s"
            " WHERE bucket = %s AND key = %s",
            (rows, LOST, bucket, key),
        )
    for key, rows in repair.unknown.items():
        info = raw.get(key)
        connection.execute(
            "INSERT INTO ingest_ledger (bucket, key, etag, size, sha256, status, rows, duplicates, rejected, dates,"
            " seq, worker) VALUES (%s, %s, %s, %s, '', %s, %s, 0, 0, %s, 0, 'repair') ON CONFLICT DO NOTHING",
            (
                bucket,
                key,
                info.etag if info else "",
                info.size if info else 0,
                "again" if info else "ingested",
                rows,
                sorted(there.get(key, (0, []))[1]),
            ),
        )

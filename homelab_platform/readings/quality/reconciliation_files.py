"""Does every file that the tables name exist, with its size, and does anybody name the files that exist?

Belongs here: the bucket's listing against the metadata of all kept snapshots of every table. Not here: deleting
anything (maintenance.py), or what is in the files.

The listing is made once and after the metadata was read: a file that a commit adds in between is young, and one that
it gives up is deleted only a quarter of an hour later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from homelab_platform.readings import ledger
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.readings.upkeep import rollback
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.duckdb import TablePointer
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.objects.errors import NotFound, Truncated

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from homelab_platform.readings.upkeep.rollback import Moved

SHOWN = 20
UNKNOWN_AFTER = timedelta(hours=50)  # orphans go in the night after they are a day old
MANY_AT_ONCE = 500
REMEDY = "what to do"


@dataclass
class FileFindings:
    """What a comparison found. `named` counts the files that metadata names, `unread` metadata that cannot be read.

    `missing` and `wrong_size` tell of files by their path: what is wrong, and which table needs them; `unknown` are
    paths with bytes.
    """

    tables: int = 0
    named: int = 0
    bytes: int = 0
    objects: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    wrong_size: list[tuple[str, str]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[str, int]] = field(default_factory=list)

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """Everything that a query may stumble over."""
        return [*self.unread, *self.missing, *self.wrong_size]


def files_exist(lakehouse: Lakehouse, *, now: datetime | None = None) -> CheckResult:
    """Whether data files, manifests and metadata of all kept snapshots of every table are there with their sizes.

    Raises HomelabError if PostgreSQL or the object store does not answer.
    """
    moved, found = rollback.examine(lakehouse), judged(compare(lakehouse, now=now))
    return _back_in_time(moved, found) if moved else found


def _back_in_time(moved: Sequence[Moved], found: CheckResult) -> CheckResult:
    """The verdict when the stores disagree about which state of a table is the newest; what else is wrong stays."""
    stores = " and ".join(sorted({one.older for one in moved}))
    text = f"{stores} went back in time: {moved[0].table}: {moved[0].fault}."
    rows = [{"table": one.table, "store": one.older, "what is wrong": one.fault} for one in moved[:SHOWN]]
    wrong = not found.passed and found.severity == "error"
    remedy = f"Run `homelab repair`. {found.metadata[REMEDY]}" if wrong else "Run `homelab repair`."
    described = f"{found.description} {text}" if wrong else text
    return CheckResult(
        "files_exist", False, "error", described, {**found.metadata, "states apart": rows, REMEDY: remedy}
    )


def compare(lakehouse: Lakehouse, *, now: datetime | None = None) -> FileFindings:
    """List the lake's bucket once and hold it against the metadata of every table."""
    found = FileFindings()
    pointers = engine.table_pointers(lakehouse)
    documents = _documents(lakehouse, pointers, found)
    known = _given_up(lakehouse)
    with ObjectStore(lakehouse.objects) as store:
        listed = {f"s3://{lakehouse.lake_bucket}/{o.key}": o for o in store.list(lakehouse.lake_bucket)}
    with closing(engine.open_offline()) as sql:
        engine.add_secret(sql, lakehouse.objects)
        comparison = _Comparison(sql, {path: info.size for path, info in listed.items()}, found, known)
        for name, (location, document) in documents.items():
            comparison.follow(name, {location: None, **_of_document(document)})
            known |= {str(entry["metadata-file"]) for entry in document.get("metadata-log") or ()}
    moment = (now or datetime.now(UTC)) - UNKNOWN_AFTER
    found.objects, found.tables = len(listed), len(documents)
    found.unknown = [(path, o.size) for path, o in listed.items() if path not in known and o.last_modified < moment]
    return found


def _documents(
    lakehouse: Lakehouse, pointers: Sequence[TablePointer], found: FileFindings
) -> dict[str, tuple[str, dict[str, Any]]]:
    """The metadata document of each table that has one, with its location."""
    documents: dict[str, tuple[str, dict[str, Any]]] = {}
    with ObjectStore(lakehouse.objects) as store:
        for pointer in pointers:
            try:
                document = orjson.loads(store.get(*split_location(pointer.metadata)))
            except NotFound:
                found.missing.append((pointer.metadata, f"metadata of {pointer.identifier}"))
            except (Truncated, orjson.JSONDecodeError) as error:
                found.unread.append((pointer.metadata, f"metadata of {pointer.identifier}: {str(error)[:200]}"))
            else:
                documents[pointer.identifier] = (pointer.metadata, document)
    return documents


def _given_up(lakehouse: Lakehouse) -> set[str]:
    """Files that wait for their deletion, until queries that still read them are over."""
    with ledger.connect(lakehouse) as connection:
        if connection.execute("SELECT to_regclass('lake_garbage')").fetchone() == (None,):
            return set()
        return {row[0] for row in connection.execute("SELECT path FROM lake_garbage").fetchall()}


def _of_document(document: Mapping[str, Any]) -> dict[str, int | None]:
    """The files that a metadata document names by itself, with their sizes where it says them."""
    lists = {str(one["manifest-list"]): None for one in document.get("snapshots") or () if "manifest-list" in one}
    statistics = {
        str(one["statistics-path"]): int(one["file-size-in-bytes"])
        for one in (*(document.get("statistics") or ()), *(document.get("partition-statistics") or ()))
    }
    return {**lists, **statistics}


@dataclass
class _Comparison:
    """`sizes` of what lies in the bucket; `known` grows by every path that metadata names."""

    sql: DuckDBPyConnection
    sizes: Mapping[str, int]
    found: FileFindings
    known: set[str]

    def follow(self, name: str, files: Mapping[str, int | None]) -> None:
        """From a table's metadata file over its lists to its data files; what cannot be followed is a finding too."""
        self._hold(name, files)
        lists = [path for path, size in files.items() if size is None and path.endswith(".avro") and path in self.sizes]
        manifests = self._read(name, lists, "manifest_path, manifest_length")
        self._hold(name, manifests)
        whole = [path for path, size in manifests.items() if self.sizes.get(path) == size]
        named = "data_file.file_path, data_file.file_size_in_bytes"
        self._hold(name, self._read(name, whole, named, "WHERE status <> 2"))  # 2: the entry was deleted

    def _hold(self, name: str, files: Mapping[str, int | None]) -> None:
        for path, size in files.items():
            if path in self.known:
                continue
            self.known.add(path)
            self.found.named += 1
            there = self.sizes.get(path)
            if there is None:
                self.found.missing.append((path, f"needed by {name}"))
            elif size is not None and there != size:
                self.found.wrong_size.append((path, f"has {there:,} bytes, not {size:,}; needed by {name}"))
            else:
                self.found.bytes += there

    def _read(self, name: str, files: Sequence[str], columns: str, where: str = "") -> dict[str, int | None]:
        """Paths and sizes that some Avro files of metadata name; a file that cannot be read is a finding."""
        import duckdb

        answer: dict[str, int | None] = {}
        query = f"SELECT DISTINCT {columns} FROM read_avro($files) {where}"  # noqa: S608 - constants
        for part in (files[begin : begin + MANY_AT_ONCE] for begin in range(0, len(files), MANY_AT_ONCE)):
            try:
                answer.update(self.sql.execute(query, {"files": list(part)}).fetchall())
            except duckdb.Error as error:
                if len(part) > 1:  # find out which it is
                    for one in part:
                        answer.update(self._read(name, [one], columns, where))
                else:
                    why = f"cannot be read: {str(error).splitlines()[0][:160]}; needed by {name}"
                    self.found.unread.append((part[0], why))
        return answer


def judged(found: FileFindings) -> CheckResult:
    """The verdict on a comparison."""
    facts: dict[str, Any] = {
        "tables": found.tables,
        "files": found.named,
        "bytes": found.bytes,
        "objects": found.objects,
        "wrong": len(found.wrong),
        "unknown_files": len(found.unknown),
        "unknown_bytes": sum(size for _, size in found.unknown),
    }
    if found.wrong:
        path, why = found.wrong[0]
        counts = ((found.missing, "missing"), (found.wrong_size, "of the wrong size"), (found.unread, "unreadable"))
        said = ", ".join(f"{len(group):,} {word}" for group, word in counts if group)
        text = f"Of {found.named:,} files that the tables name: {said}. The first is {path}: {why}."
        rows = [{"file": one, "what is wrong": what} for one, what in found.wrong[:SHOWN]]
        remedy = (
            "Restore these objects from the lake bucket's backup (`homelab restore`). Data files of sensor_data can "
            "also be made again from the raw objects; a mart is computed again by materializing it."
        )
        return CheckResult("files_exist", False, "error", text, {**facts, "files wrong": rows, REMEDY: remedy})
    if found.unknown:
        size = facts["unknown_bytes"]
        text = (
            f"All {found.named:,} named files exist; {len(found.unknown):,} files ({size:,} bytes) are named by nobody."
        )
        unknown = [{"file": path, "bytes": count} for path, count in found.unknown[:SHOWN]]
        remedy = "The nightly run of maintenance/orphans deletes those in the tables' folders; see who left the others."
        return CheckResult("files_exist", False, "warn", text, {**facts, "unknown": unknown, REMEDY: remedy})
    text = f"All {found.named:,} files of {found.tables:,} tables exist with their sizes, and nobody left others."
    return CheckResult("files_exist", True, "error", text, facts)

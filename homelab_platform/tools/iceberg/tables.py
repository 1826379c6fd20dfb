"""Iceberg tables of the SQL catalog `hive`: make them, read their state, stage a change, swing the pointer.

Belongs here: what is true of any Iceberg table of ours. Not here: readings, ledger, or when to compact (readings/).

A change is staged (manifests, manifest list and metadata file are written) and becomes true only when `swap` moves the
catalog's pointer inside the caller's own PostgreSQL transaction. So several tables and the caller's own rows change
together or not at all; PyIceberg's catalog commits one table in a transaction of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg.snapshot import Change, MissingFile, SnapshotWriter

if TYPE_CHECKING:
    import psycopg
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.manifest import ManifestEntry, ManifestFile
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableUpdate

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO

KEEP_SNAPSHOTS = 12
EXPIRE_AT = 24


class TableMoved(Exception):
    """Another commit moved the table's pointer after it was read: nothing was changed, read it again."""


@dataclass(frozen=True)
class TableState:
    """A table at one moment."""

    name: str
    location: str  # of the metadata file
    metadata: TableMetadata

    def schema(self) -> Schema:
        """The current schema."""
        return self.metadata.schema()

    @property
    def snapshot_id(self) -> int | None:
        """The current snapshot, None before the first."""
        return self.metadata.current_snapshot_id


@dataclass(frozen=True)
class Staged:
    """A change written down but not true yet. `garbage`: files that nothing needs once it is true."""

    before: TableState
    after: TableState
    garbage: tuple[str, ...]
    written: tuple[str, ...]

    @property
    def sequence(self) -> int:
        """The sequence number of the newest snapshot after the change."""
        snapshot = self.after.metadata.current_snapshot()
        return (snapshot.sequence_number or 0) if snapshot else 0


def catalog_properties(lakehouse: Lakehouse) -> dict[str, str]:
    """Properties for PyIceberg's SqlCatalog on this lakehouse."""
    folder = lakehouse.objects_folder
    return {
        **({"homelab.objects-folder": str(folder)} if folder else {}),
        "uri": lakehouse.postgres.url("postgresql+psycopg"),
        "warehouse": f"s3://{lakehouse.lake_bucket}",
        "s3.endpoint": lakehouse.objects.url,
        "s3.access-key-id": lakehouse.objects.access_key,
        "s3.secret-access-key": lakehouse.objects.secret_key,
        "s3.region": lakehouse.objects.region,
        "s3.force-virtual-addressing": "false",
        "schema_version": "v1",
    }


def open_catalog(lakehouse: Lakehouse, *, light: bool = False) -> SqlCatalog:
    """PyIceberg's own catalog; `light` uses our file interface, which reads and writes metadata but no data."""
    from pyiceberg.catalog.sql import SqlCatalog

    properties = catalog_properties(lakehouse)
    if light:
        properties["py-io-impl"] = "homelab_platform.tools.iceberg.metadata_io.StoreFileIO"
    return SqlCatalog(CATALOG, **properties)


def ensure_table(
    lakehouse: Lakehouse,
    name: str,
    schema: Schema,
    *,
    partition_by: str | None = None,
    sort_by: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
) -> bool:
    """Make the table `namespace.table` unless it exists; returns whether it was made.

    `partition_by` names an identity partition column, `sort_by` the columns of its sort order.
    """
    from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform

    namespace, _, table = name.partition(".")
    catalog = open_catalog(lakehouse, light=True)
    try:
        if catalog.table_exists(name):
            return False
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace(namespace)
        spec = UNPARTITIONED_PARTITION_SPEC
        if partition_by:
            source = schema.find_field(partition_by).field_id
            spec = PartitionSpec(PartitionField(source, 1000, IdentityTransform(), partition_by))
        sorting = [SortField(schema.find_field(c).field_id, IdentityTransform()) for c in sort_by]
        try:
            catalog.create_table(
                name,
                schema,
                location=f"s3://{lakehouse.lake_bucket}/{namespace}/{table}",
                partition_spec=spec,
                sort_order=SortOrder(*sorting, order_id=1) if sorting else SortOrder(order_id=0),
                properties=dict(properties or {}),
            )
        except TableAlreadyExistsError:
            return False
    finally:
        catalog.engine.dispose()
    return True


def load_table(connection: psycopg.Connection, lakehouse: Lakehouse, name: str) -> TableState:
    """The table as the catalog points at it now. Raises HomelabError if there is none."""
    return read_state(name, pointer(connection, name), open_io(lakehouse))


def pointer(connection: psycopg.Connection, name: str) -> str:
    """The location of the table's current metadata file."""
    namespace, _, table = name.partition(".")
    row = connection.execute(
        "SELECT metadata_location FROM iceberg_tables"
        " WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s",
        (CATALOG, namespace, table),
    ).fetchone()
    if row is None:
        raise HomelabError.of(f"{CATALOG}.{name}", "no such table", "`homelab apply` makes it.")
    return str(row[0])


def open_io(lakehouse: Lakehouse) -> StoreFileIO:
    """The file interface of this lakehouse."""
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO

    return StoreFileIO(catalog_properties(lakehouse))


def read_state(name: str, location: str, io: StoreFileIO) -> TableState:
    """The state that a metadata file describes. Raises HomelabError if the file is not there."""
    from pyiceberg.serializers import FromInputFile

    try:
        return TableState(name, location, FromInputFile.table_metadata(io.new_input(location)))
    except FileNotFoundError:
        raise HomelabError.of(
            f"{CATALOG}.{name}", f"its metadata file {location} is gone", "Restore the lake bucket from its backup."
        ) from None


def manifests(state: TableState, io: StoreFileIO) -> list[ManifestFile]:
    """The manifests of the current snapshot."""
    from pyiceberg.manifest import read_manifest_list

    snapshot = state.metadata.current_snapshot()
    return [] if snapshot is None else list(read_manifest_list(io.new_input(snapshot.manifest_list)))


def live_entries(state: TableState, io: StoreFileIO, partition: object = None) -> list[ManifestEntry]:
    """The live data files of the current snapshot; of one partition value only, if given."""
    from pyiceberg.manifest import ManifestContent

    found = []
    for manifest in manifests(state, io):
        if manifest.content == ManifestContent.DATA:
            found += manifest.fetch_manifest_entry(io, discard_deleted=True)
    return found if partition is None else [e for e in found if e.data_file.partition[0] == partition]


def delete_entries(state: TableState, io: StoreFileIO) -> list[ManifestEntry]:
    """The live delete files of the current snapshot, which take rows out of data files (merge-on-read)."""
    from pyiceberg.manifest import ManifestContent

    found = [m for m in manifests(state, io) if m.content == ManifestContent.DELETES]
    return [entry for manifest in found for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)]


def stage(state: TableState, change: Change, io: StoreFileIO) -> Staged:
    """Write down `change` on top of `state`: manifests, manifest list, metadata file. Nothing is true before `swap`."""
    from pyiceberg.serializers import ToOutputFile
    from pyiceberg.table.update import update_table_metadata

    writer = SnapshotWriter(state.metadata, manifests(state, io), change, io)
    try:
        updates = (*change.updates, *(writer.write() if change.added or change.removed else ()))
    except MissingFile:
        raise TableMoved(state.name) from None
    expired, garbage = _expire(state, io) if writer.manifest_list else ([], set())
    metadata = update_table_metadata(state.metadata, (*updates, *expired), metadata_location=state.location)
    garbage |= {e.metadata_file for e in state.metadata.metadata_log} - {e.metadata_file for e in metadata.metadata_log}
    version = int(state.location.rsplit("/", 1)[1].split("-", 1)[0]) + 1
    location = f"{state.metadata.location}/metadata/{version:05d}-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, io.new_output(location))
    io.settle()  # a power cut after the swap must find everything that the pointer leads to
    return Staged(state, TableState(state.name, location, metadata), tuple(garbage), (*writer.written, location))


def swap(connection: psycopg.Connection, staged: Staged) -> None:
    """Move the catalog's pointer, in the caller's transaction. Raises TableMoved if it no longer is where it was."""
    namespace, _, table = staged.before.name.partition(".")
    moved = connection.execute(
        "UPDATE iceberg_tables SET metadata_location = %s, previous_metadata_location = metadata_location"
        " WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s AND metadata_location = %s",
        (staged.after.location, CATALOG, namespace, table, staged.before.location),
    )
    if moved.rowcount != 1:
        raise TableMoved(staged.before.name)


def _expire(state: TableState, io: StoreFileIO) -> tuple[list[TableUpdate], set[str]]:
    """Updates that drop the oldest snapshots once there are many, and the metadata files that only they needed.

    Snapshots that a branch or tag points at are kept, and so is everything they need.
    """
    if len(state.metadata.snapshots) < EXPIRE_AT:
        return [], set()
    return expire_updates(state, io, KEEP_SNAPSHOTS)


def expire_updates(state: TableState, io: StoreFileIO, keep: int) -> tuple[list[TableUpdate], set[str]]:
    """Updates that leave the newest `keep` snapshots, and the metadata files that only the others needed."""
    from pyiceberg.manifest import read_manifest_list
    from pyiceberg.table.update import RemoveSnapshotsUpdate

    held = {ref.snapshot_id for ref in state.metadata.refs.values()}
    ordered = sorted(state.metadata.snapshots, key=lambda s: s.sequence_number or 0)
    old = [s for s in ordered[: max(0, len(ordered) - keep)] if s.snapshot_id not in held]
    if not old:
        return [], set()
    gone = {s.snapshot_id for s in old}

    def needed(snapshots: Iterable[Any]) -> set[str]:
        return {m.manifest_path for s in snapshots for m in read_manifest_list(io.new_input(s.manifest_list))}

    kept = needed(s for s in ordered if s.snapshot_id not in gone)
    garbage = (needed(old) - kept) | {s.manifest_list for s in old}
    return [RemoveSnapshotsUpdate(snapshot_ids=sorted(gone))], garbage

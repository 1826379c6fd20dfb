"""Writing one new Iceberg snapshot: its manifests and its manifest list.

Belongs here: how added and removed data files become manifests, and keeping their number small so that the thousandth
commit costs what the first did. Not here: metadata files and the catalog's pointer (tables.py).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestFile
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableUpdate

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO

MERGE_AT = 16  # manifests of few files are merged into one when there are this many
FULL_MANIFEST = 256  # a manifest with this many files is left alone, so that a merge costs the same for ever
_TOTALS = (
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-delete-files", "", "removed-delete-files"),
    ("total-position-deletes", "", "removed-position-deletes"),
    ("total-equality-deletes", "", ""),
)


@dataclass
class Change:
    """What shall become true of a table: data files added, data and delete files removed (by path), other updates,
    properties of the snapshot.
    """

    added: Sequence[DataFile] = ()
    removed: frozenset[str] = frozenset()
    updates: Sequence[TableUpdate] = ()
    operation: str = "append"
    summary: Mapping[str, str] = field(default_factory=dict)


class MissingFile(Exception):
    """A data file that was to be removed is not in the current snapshot."""


class SnapshotWriter:
    """Writes the manifests and the manifest list of one snapshot; `written` lists every path."""

    def __init__(
        self, metadata: TableMetadata, manifests: Sequence[ManifestFile], change: Change, io: StoreFileIO
    ) -> None:
        self._metadata = metadata
        self._manifests = manifests
        self._change = change
        self._io = io
        self._uuid = uuid.uuid4()
        self._id = metadata.new_snapshot_id()
        self.written: list[str] = []
        self.manifest_list = ""

    def write(self) -> tuple[TableUpdate, ...]:
        """Write everything; the updates that add the snapshot to `main`. Raises MissingFile."""
        from pyiceberg.manifest import write_manifest_list
        from pyiceberg.table.snapshots import Snapshot
        from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate

        kept, removed = self._existing()
        found = self._new(kept, removed)
        self.manifest_list = self._place(f"snap-{self._id}-0-{self._uuid}.avro")
        sequence = self._metadata.next_sequence_number()
        parent = self._metadata.current_snapshot_id
        with write_manifest_list(
            format_version=2,
            output_file=self._io.new_output(self.manifest_list),
            snapshot_id=self._id,
            parent_snapshot_id=parent,
            sequence_number=sequence,
            avro_compression="deflate",
        ) as writer:
            writer.add_manifests(found)
        snapshot = Snapshot(
            snapshot_id=self._id,
            parent_snapshot_id=parent,
            manifest_list=self.manifest_list,
            sequence_number=sequence,
            timestamp_ms=max(int(time.time() * 1000), self._metadata.last_updated_ms + 1),
            summary=self._summary([e.data_file for e in removed]),
            schema_id=self._metadata.current_schema_id,
        )
        to_main = SetSnapshotRefUpdate.model_validate({"ref-name": "main", "type": "branch", "snapshot-id": self._id})
        return AddSnapshotUpdate(snapshot=snapshot), to_main

    def _place(self, name: str) -> str:
        path = f"{self._metadata.location}/metadata/{name}"
        self.written.append(path)
        return path

    def _existing(self) -> tuple[list[ManifestFile], list[ManifestEntry]]:
        """The manifests carried over, rewritten where they hold a removed file, and the removed entries."""
        kept: list[ManifestFile] = []
        removed: list[ManifestEntry] = []
        for manifest in self._manifests:
            if not (manifest.has_added_files() or manifest.has_existing_files()):
                continue
            if not self._change.removed:
                kept.append(manifest)
                continue
            entries = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
            staying = [e for e in entries if e.data_file.file_path not in self._change.removed]
            if len(staying) == len(entries):
                kept.append(manifest)
                continue
            removed += [e for e in entries if e.data_file.file_path in self._change.removed]
            if staying:
                kept.append(self._manifest(manifest.partition_spec_id, existing=staying, content=manifest.content))
        if len(removed) != len(self._change.removed):
            raise MissingFile(f"{len(self._change.removed) - len(removed)} files are no longer in the table")
        return kept, removed

    def _new(self, kept: list[ManifestFile], removed: list[ManifestEntry]) -> list[ManifestFile]:
        """All manifests of the snapshot: the added files first, with the small manifests once those are many."""
        from pyiceberg.manifest import ManifestContent

        spec = self._metadata.default_spec_id
        leaving = self._leaving(removed)
        small = [
            m
            for m in kept
            if m.content == ManifestContent.DATA and m.partition_spec_id == spec and _files(m) < FULL_MANIFEST
        ]
        if len(small) + 1 < MERGE_AT:
            small = []
        entries = [e for m in small for e in m.fetch_manifest_entry(self._io, discard_deleted=True)]
        merged = {m.manifest_path for m in small}
        added = (
            [self._manifest(spec, added=self._change.added, existing=entries)] if self._change.added or small else []
        )
        return [*added, *leaving, *(m for m in kept if m.manifest_path not in merged)]

    def _leaving(self, removed: Sequence[ManifestEntry]) -> list[ManifestFile]:
        """The manifests that say which files this snapshot removed, one for each partition spec and kind of file."""
        from pyiceberg.manifest import DataFileContent, ManifestContent

        groups: dict[tuple[int, ManifestContent], list[ManifestEntry]] = {}
        for entry in removed:
            is_data = entry.data_file.content == DataFileContent.DATA
            kind = ManifestContent.DATA if is_data else ManifestContent.DELETES
            groups.setdefault((entry.data_file.spec_id, kind), []).append(entry)
        return [
            self._manifest(spec, removed=groups[spec, kind], content=kind)
            for spec, kind in sorted(groups, key=lambda group: (group[0], group[1].value))
        ]

    def _manifest(
        self,
        spec_id: int,
        *,
        added: Sequence[DataFile] = (),
        existing: Sequence[ManifestEntry] = (),
        removed: Sequence[ManifestEntry] = (),
        content: ManifestContent | None = None,
    ) -> ManifestFile:
        from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestWriterV2

        kind = ManifestContent.DATA if content is None else content

        class Writer(ManifestWriterV2):
            """PyIceberg's own writes manifests of data files only; one of delete files differs in these two words."""

            def content(self) -> ManifestContent:
                return kind

            @property
            def _meta(self) -> dict[str, str]:
                return {**super()._meta, "content": "data" if kind == ManifestContent.DATA else "deletes"}

        with Writer(
            spec=self._metadata.specs()[spec_id],
            schema=self._metadata.schema(),
            output_file=self._io.new_output(self._place(f"{self._uuid}-m{len(self.written)}.avro")),
            snapshot_id=self._id,
            avro_compression="deflate",
        ) as writer:
            for data_file in added:
                writer.add_entry(
                    ManifestEntry.from_args(
                        status=ManifestEntryStatus.ADDED,
                        snapshot_id=self._id,
                        sequence_number=None,
                        file_sequence_number=None,
                        data_file=data_file,
                    )
                )
            for entry in existing:
                writer.existing(entry)
            for entry in removed:
                writer.delete(entry)
        return writer.to_manifest_file()

    def _summary(self, removed: Sequence[DataFile]) -> object:
        from pyiceberg.manifest import DataFileContent
        from pyiceberg.table.snapshots import Operation, Summary

        counts: dict[str, int] = {}
        data = [f for f in removed if f.content == DataFileContent.DATA]
        deletes = [f for f in removed if f.content == DataFileContent.POSITION_DELETES]
        if deletes:
            counts["removed-delete-files"] = len(deletes)
            counts["removed-position-deletes"] = sum(f.record_count for f in deletes)
        for verb, size_key, files in (
            ("added", "added-files-size", self._change.added),
            ("deleted", "removed-files-size", data),
        ):
            if files:
                counts[f"{verb}-data-files"] = len(files)
                counts[f"{verb}-records"] = sum(f.record_count for f in files)
                counts[size_key] = sum(f.file_size_in_bytes for f in files)
        parent = self._metadata.current_snapshot()
        before: Mapping[str, str] = parent.summary.additional_properties if parent and parent.summary else {}
        for total, plus, minus in _TOTALS:
            counts[total] = int(before.get(total, 0)) + counts.get(plus, 0) - counts.get(minus, 0)
        texts = {k: str(v) for k, v in counts.items()}
        return Summary(operation=Operation(self._change.operation), **texts, **self._change.summary)


def _files(manifest: ManifestFile) -> int:
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)

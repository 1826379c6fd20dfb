"""What a bucket keeps beside its objects: versions that were replaced or deleted, uploads that were never finished.

Belongs here: listing and removing both. Not here: objects themselves (client.py), when they go (operations/adapters).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice, pairwise
from typing import TYPE_CHECKING, Any

from homelab_platform.tools.objects.errors import ObjectsError

if TYPE_CHECKING:
    from minio import Minio


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object, or the marker that says it was deleted. `written` in UTC."""

    key: str
    version: str
    written: datetime
    latest: bool
    deleted: bool
    size: int


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and neither finished nor given up. `begun` in UTC."""

    key: str
    upload: str
    begun: datetime


class Leftovers:
    """Old versions and unfinished uploads of a bucket; ObjectStore gives the client and the errors."""

    _client: Minio

    def _errors(self, bucket: str, key: str = "") -> AbstractContextManager[None]:
        raise NotImplementedError

    def versions(self, bucket: str, prefix: str = "") -> list[ObjectVersion]:
        """Every version and delete marker under `prefix`: keys in order, of each key the newest first."""
        with self._errors(bucket):
            # the library gives each page's versions before its markers, so that the order has to be made again
            found = [
                ObjectVersion(
                    str(entry.object_name),
                    str(entry.version_id or ""),
                    entry.last_modified,
                    str(entry.is_latest).lower() == "true",
                    bool(entry.is_delete_marker),
                    int(entry.size or 0),
                )
                for entry in self._client.list_objects(
                    bucket, prefix=prefix or None, recursive=True, include_version=True
                )
            ]
        return sorted(found, key=lambda version: (version.key, not version.latest, -version.written.timestamp()))

    def delete_versions(self, bucket: str, versions: Iterable[ObjectVersion]) -> int:
        """Delete these versions for good; returns how many."""
        from minio.deleteobjects import DeleteObject

        count, remaining = 0, iter(versions)
        while batch := list(islice(remaining, 1000)):
            asked = [DeleteObject(found.key, found.version) for found in batch]
            with self._errors(bucket):
                failed = [e for e in self._client.remove_objects(bucket, asked) if e.code != "NoSuchVersion"]
            if failed:
                raise ObjectsError.of(f"{bucket}/{failed[0].name}", f"could not be deleted: {failed[0].message}")
            count += len(batch)
        return count

    def delete_old_versions(self, bucket: str, before: datetime) -> int:
        """Delete what was replaced or deleted before that time, and markers that hide nothing any more."""
        found = (
            version
            for _, versions in groupby(self.versions(bucket), key=lambda version: version.key)
            for version in _outdated(list(versions), before)
        )
        return self.delete_versions(bucket, found)

    def uploads(self, bucket: str) -> list[Upload]:
        """Uploads in parts that are under way. MinIO shows none unless asked for one key, and ends them itself."""
        found: list[Upload] = []
        markers: dict[str, Any] = {}
        while True:
            with self._errors(bucket):
                # the library has no public call for this page of the S3 interface
                page = self._client._list_multipart_uploads(bucket, **markers)
            found += [Upload(str(u.object_name), str(u.upload_id), _utc(u.initiated_time)) for u in page.uploads]
            if not page.is_truncated:
                return found
            markers = {"key_marker": page.next_key_marker, "upload_id_marker": page.next_upload_id_marker}

    def abort_uploads(self, bucket: str, before: datetime) -> int:
        """Give up uploads that were begun before that time; returns how many."""
        old = [upload for upload in self.uploads(bucket) if upload.begun < before]
        for upload in old:
            with self._errors(bucket, upload.key):
                self._client._abort_multipart_upload(bucket, upload.key, upload.upload)
        return len(old)


def _utc(said: datetime | None) -> datetime:
    """When an upload began; one of which the server does not say it counts as begun just now, and so is left alone."""
    return said or datetime.now(UTC)


def _outdated(versions: Sequence[ObjectVersion], before: datetime) -> list[ObjectVersion]:
    """Of one key's versions, newest first: those that another replaced before that time, and a marker left alone."""
    replaced = [older for newer, older in pairwise(versions) if newer.written < before]
    kept = [version for version in versions if version not in replaced]
    alone = len(kept) == 1 and kept[0].deleted and kept[0].written < before
    return [*replaced, *kept] if alone else replaced

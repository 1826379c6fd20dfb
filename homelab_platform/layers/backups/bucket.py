"""A bucket as one item: listed, copied, listed again until nothing changed in between; a manifest of hashes last.

Belongs here: buckets other than the lake's. Not here: fetching objects (mirror.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.manifest import FILE, Manifest, load_manifest, previous_files, write_manifest
from homelab_platform.layers.backups.mirror import Mirror, refuse_shrunk, upload
from homelab_platform.names import Say
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.client import NotFound, ObjectInfo, ObjectStore

PASSES = 5


@dataclass(frozen=True)
class BucketItem:
    """One bucket of an S3 server."""

    objects: ObjectsEndpoint
    bucket: str
    name: str
    method: str = "s3"
    must_have: tuple[str, ...] = (FILE,)
    may_be_empty: bool = True

    def capture(self, stage: Path, run: str, say: Say, *, shrunk: bool = False) -> Manifest:
        """Copy the bucket into `stage`, which may hold an earlier copy.

        Raises HomelabError for a bucket that lost more than a fifth of its objects, unless a person knows (`shrunk`),
        and for one that changes all the time.
        """
        stage.mkdir(parents=True, exist_ok=True)
        before = load_manifest(stage) if (stage / FILE).exists() else None
        with ObjectStore(self.objects) as store:
            mirror = Mirror(store, stage, previous_files(stage))
            listed = self._listed(store)
            refuse_shrunk(self.bucket, len(listed), before, shrunk=shrunk)
            for _ in range(PASSES):
                for key, info in listed.items():
                    entry = mirror.entries.get(f"s3://{self.bucket}/{key}")
                    if entry is None or (entry.etag, entry.size) != (info.etag, info.size):
                        self._take(mirror, info)
                again = self._listed(store)
                if again == listed:
                    break
                listed = again
            else:
                raise HomelabError.of(
                    f"bucket {self.bucket}", f"changed during each of {PASSES} passes", "Run it at a quieter time."
                )
            mirror.keep_only(f"s3://{self.bucket}/{key}" for key in listed)
            mirror.drop_others()
        say(f"copied {mirror.fetched} new objects of {len(mirror.entries)}")
        return write_manifest(stage, item=self, run=run, files=mirror.entries.values())

    def _listed(self, store: ObjectStore) -> dict[str, ObjectInfo]:
        return {info.key: info for info in store.list(self.bucket)}

    def _take(self, mirror: Mirror, info: ObjectInfo) -> None:
        try:
            mirror.take(self.bucket, info)
        except NotFound:
            return  # deleted since it was listed: the next pass does not list it

    def release(self, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
        """A copy holds nothing in the bucket."""
        return []


def put_bucket_back(
    restored: Path, manifest: Manifest, run: str, say: Say, *, objects: ObjectsEndpoint, bucket: str
) -> list[str]:
    """Put a copy's objects back; objects that are not in the copy stay. Says what was done, a line each."""
    with ObjectStore(objects) as store:
        store.ensure_bucket(bucket)
        written = upload(store, restored, manifest.files)
    say(f"put back {written} objects of {len(manifest.files)}")
    return [f"{written} of {len(manifest.files)} objects were put back; later ones stay"]

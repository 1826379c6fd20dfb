"""Buckets of the site's S3 server: probed and changed through the S3 interface alone.

Belongs here: a bucket's existence, versioning, expiry and the tag that carries its fingerprint. Not here: what its
objects mean (readings/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from homelab_platform.operations.adapters.base import Exhibit, Observation, Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from homelab_platform.tools.objects import ObjectStore

FINGERPRINT_TAG = "homelab-fingerprint"
COUNTED = 10_000
"""Objects counted for an asset's page; a bucket may hold millions."""

_DAY = 86_400


class BucketAdapter:
    """Buckets by name; the lab's names of the two buckets of readings stand for those of the lakehouse."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._names = {"readings-raw": lakehouse.raw_bucket, "lake": lakehouse.lake_bucket}

    def _open(self) -> ObjectStore:
        from homelab_platform.tools.objects import ObjectStore

        return ObjectStore(self._lakehouse.objects)

    def bucket(self, document: Mapping[str, Any]) -> str:
        """The name on the S3 server of the bucket that a document describes."""
        name = str(document["name"])
        return self._names.get(name, name)

    def probe(self, desired: DesiredState) -> Observation:
        """Existence, tag, versioning and expiry."""
        name = self.bucket(desired.document)
        with self._open() as store:
            if not store.bucket_exists(name):
                return Observation(exists=False)
            versioned, days = store.versioning(name), _whole_bucket_days(store, name)
            tags = store.bucket_tags(name)
        differences: list[str] = []
        if versioned != bool(desired.document.get("versioning")):
            differences.append(f"versioning is {'on' if versioned else 'off'}")
        if days != _days(desired.document):
            differences.append(f"objects expire {f'after {days} days' if days else 'never'}")
        facts = {
            "versioning": "on" if versioned else "off",
            "objects expire": f"after {days} days" if days else "never",
        }
        return Observation(True, tags.get(FINGERPRINT_TAG, ""), tuple(differences), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the bucket, set versioning and expiry, and only then leave the fingerprint."""
        from homelab_platform.tools.objects import ExpiryRule

        name, days = self.bucket(desired.document), _days(desired.document)
        wanted = bool(desired.document.get("versioning"))
        with self._open() as store:
            store.ensure_bucket(name)
            if store.versioning(name) != wanted:
                store.set_versioning(name, wanted)
            if _whole_bucket_days(store, name) != days:
                others = [rule for rule in store.lifecycle(name) if rule.prefix]
                store.set_lifecycle(name, [*others, ExpiryRule("", days)] if days else others)
            store.set_bucket_tags(name, {**store.bucket_tags(name), FINGERPRINT_TAG: desired.fingerprint})
        say(f"s3://{name} is set up")

    def remove(self, key: str, document: Mapping[str, Any], say: Say) -> None:
        """Delete the bucket with all its objects."""
        name = self.bucket(document)
        with self._open() as store:
            store.remove_bucket(name, with_objects=True)
        say(f"s3://{name} is deleted")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """What the bucket holds."""
        name = self.bucket(desired.document)
        with self._open() as store:
            found = list(islice(store.list(name), COUNTED + 1))
        more = len(found) > COUNTED
        yield Exhibit("objects", "text", f"more than {COUNTED:,}" if more else f"{len(found):,}")
        yield Exhibit("bytes", "number", sum(item.size for item in found))
        newest = sorted(found, key=lambda item: item.last_modified, reverse=True)[:10]
        rows = [{"object": i.key, "bytes": i.size, "written": f"{i.last_modified:%Y-%m-%d %H:%M:%S}"} for i in newest]
        yield Exhibit("newest objects", "table", rows)


def _days(document: Mapping[str, Any]) -> int | None:
    """The expiry in whole days, rounded up: nothing goes earlier than the lab says."""
    seconds = document.get("expire_after")
    return None if seconds is None else max(1, -(-int(seconds) // _DAY))


def _whole_bucket_days(store: ObjectStore, name: str) -> int | None:
    return min((rule.days for rule in store.lifecycle(name) if not rule.prefix), default=None)

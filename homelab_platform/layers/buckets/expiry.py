"""What leaves a bucket with time: raw objects that are in the table, old versions, uploads that were broken off.

Belongs here: the sweep that a site does itself, through the S3 interface alone. Not here: the bucket's settings
(adapter.py), what ingest did (readings/ledger.py).

A server's own lifecycle cannot know what ingest has taken in: after an outage longer than `keep` it would delete
readings that never reached a table. So raw objects are deleted here, and only those that the ledger holds as ingested,
with the etag that they have now. And SeaweedFS keeps lifecycle rules without following them unless its separate
maintenance worker runs, so the rest is done here too; where the server has done it already, nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedBucket
    from homelab_platform.tools.objects.client import ObjectInfo, ObjectStore

BATCH = 1000
DAY_LENGTH = len("2026-11-21")


@dataclass(frozen=True)
class Swept:
    """What one sweep of a bucket came to. `waiting` are objects past their time that no ingest has taken in yet,
    `quarantined` those that ingest could not read: both stay."""

    deleted: int = 0
    size: int = 0
    waiting: int = 0
    quarantined: int = 0
    versions: int = 0
    uploads: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def line(self) -> str:
        """The sweep in one line."""
        parts = (
            (self.deleted, "objects deleted"),
            (self.waiting, "stay because they are not ingested yet"),
            (self.quarantined, "stay because ingest could not read them"),
            (self.versions, "old versions deleted"),
            (self.uploads, "unfinished uploads given up"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in parts if count) or "nothing is past its time"


def sweep(
    lakehouse: Lakehouse, store: ObjectStore, bucket: str, wanted: ResolvedBucket, now: datetime | None = None
) -> Swept:
    """Delete what the lab lets go of the bucket at `now`. Safe to repeat and to kill."""
    now = now or datetime.now(UTC)

    def ago(seconds: int) -> datetime:
        return now - timedelta(seconds=seconds)

    done = Swept()
    for prefix, seconds in sorted(wanted.keep.items()):
        if seconds is not None:
            done += _raw(lakehouse, store, bucket, prefix, ago(seconds))
    if wanted.expire_after:
        done += _all(store, bucket, ago(wanted.expire_after))
    if wanted.old_versions:
        done += Swept(versions=store.delete_old_versions(bucket, ago(wanted.old_versions)))
    if wanted.unfinished:
        done += Swept(uploads=store.abort_uploads(bucket, ago(wanted.unfinished)))
    return done


def _raw(lakehouse: Lakehouse, store: ObjectStore, bucket: str, prefix: str, before: datetime) -> Swept:
    from homelab_platform.readings import ledger

    done = Swept()
    with ledger.connect(lakehouse) as connection:
        ledger.ensure_ledger(connection)
        for batch in _batches(_old(store, bucket, prefix, before)):
            rows = connection.execute(
                "SELECT l.key, l.status FROM unnest(%s::text[], %s::text[]) AS o (key, etag)"
                " JOIN ingest_ledger l ON l.bucket = %s AND l.key = o.key AND l.etag = o.etag",
                ([info.key for info in batch], [info.etag for info in batch], bucket),
            ).fetchall()
            known = dict(rows)
            gone = [info for info in batch if known.get(info.key) == "ingested"]
            store.delete(bucket, [info.key for info in gone])
            done += Swept(
                deleted=len(gone),
                size=sum(info.size for info in gone),
                waiting=sum(info.key not in known for info in batch),
                quarantined=sum(known.get(info.key) == "quarantined" for info in batch),
            )
    return done


def _all(store: ObjectStore, bucket: str, before: datetime) -> Swept:
    done = Swept()
    for batch in _batches(_old(store, bucket, "", before)):
        store.delete(bucket, [info.key for info in batch])
        done += Swept(deleted=len(batch), size=sum(info.size for info in batch))
    return done


def _old(store: ObjectStore, bucket: str, prefix: str, before: datetime) -> Iterator[ObjectInfo]:
    """Objects written before that time. Of a stream, folders of later days are not even listed: an object may be
    written after the day that its key names, never a day before."""
    folders: Sequence[str] = (prefix,)
    if prefix:
        folders = [folder for folder in store.folders(bucket, prefix) if not _later(folder, prefix, before)]
    for folder in folders:
        for info in store.list(bucket, folder):
            if info.last_modified < before:
                yield info


def _later(folder: str, prefix: str, before: datetime) -> bool:
    day = folder.removeprefix(prefix).rstrip("/")
    try:
        named = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) if len(day) == DAY_LENGTH else None
    except ValueError:
        named = None
    return named is not None and named > before + timedelta(days=1)


def _batches(found: Iterator[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    while batch := list(islice(found, BATCH)):
        yield batch

"""Objects in buckets of any S3 server: read, write once, list, delete.

Belongs here: the one client that the project uses for objects, on the `minio` library, with bounded retries and with
errors that name endpoint, bucket and key. Not here: a bucket's own settings
(settings.py), what an object means (readings/) or starting a server (servers/).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.body import ObjectReader, first_line, reason
from homelab_platform.tools.objects.errors import (
    AlreadyExists,
    CredentialsRefused,
    NotFound,
    ObjectsError,
    ObjectsUnreachable,
    StorageFull,
    Truncated,
)
from homelab_platform.tools.objects.http import conditions, make_http, was_retried
from homelab_platform.tools.objects.leftovers import Leftovers, ObjectVersion, Upload
from homelab_platform.tools.objects.settings import BucketSettings, ExpiryRule

if TYPE_CHECKING:
    from minio import Minio

__all__ = [
    "AlreadyExists",
    "CredentialsRefused",
    "ExpiryRule",
    "NotFound",
    "ObjectInfo",
    "ObjectReader",
    "ObjectStore",
    "ObjectVersion",
    "ObjectsError",
    "ObjectsUnreachable",
    "StorageFull",
    "Truncated",
    "Upload",
]

PART_SIZE = 16 << 20  # bytes; a file of unknown length is sent in parts of this size
GET_ATTEMPTS = 4
FULL = {"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}
UNCLEAR = {
    "InternalError",
    "IncompleteBody",
}  # what SeaweedFS and MinIO say when the disk fills in the middle of a write


@dataclass(frozen=True)
class ObjectInfo:
    """One object: `size` in bytes, `etag` without quotes, `last_modified` in UTC."""

    key: str
    size: int
    etag: str
    last_modified: datetime


class ObjectStore(BucketSettings, Leftovers):
    """A client of one S3 server. Safe to share between threads; `close()` it or use it with `with`."""

    def __init__(self, endpoint: ObjectsEndpoint, *, retries: int = 5, timeout: float = 30) -> None:
        """`retries` bounds repeats after 429, 500, 502, 503, 504 and broken connections; `timeout` in seconds."""
        from minio import Minio

        self.endpoint = endpoint
        scheme, _, rest = endpoint.url.partition("://")
        self._http = make_http(retries, timeout)
        self._client: Minio = Minio(
            rest.rstrip("/"),
            access_key=endpoint.access_key,
            secret_key=endpoint.secret_key,
            secure=scheme == "https",
            region=endpoint.region,
            http_client=self._http,
        )

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.clear()

    def server(self) -> str:
        """What the server calls itself, in lower letters (`minio`, `seaweedfs 4.48`); empty when it does not say."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._http.request("GET", self.endpoint.url.rstrip("/") + "/", retries=1)
        except HTTPError as error:
            raise self._unreachable(self.endpoint.url, error) from None
        return str(answer.headers.get("Server", "")).lower()

    # Buckets

    def ensure_bucket(self, bucket: str) -> bool:
        """Create the bucket unless it exists; returns whether it was created."""
        from minio.error import S3Error

        with self._errors(bucket):
            if self._client.bucket_exists(bucket):
                return False
            try:
                self._client.make_bucket(bucket)
            except S3Error as error:
                if error.code in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    return False
                raise
            return True

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the server has this bucket."""
        with self._errors(bucket):
            return bool(self._client.bucket_exists(bucket))

    def buckets(self) -> Sequence[str]:
        """The names of all buckets, sorted."""
        with self._errors(""):
            return sorted(found.name for found in self._client.list_buckets())

    def remove_bucket(self, bucket: str, *, with_objects: bool = False) -> None:
        """Remove a bucket; `with_objects` deletes what it holds first, old versions too. A missing one is no error."""
        try:
            if with_objects:
                self.delete(bucket, (found.key for found in self.list(bucket)))
                if self.ever_versioned(bucket):
                    self.delete_versions(bucket, self.versions(bucket))
            with self._errors(bucket):
                self._client.remove_bucket(bucket)
        except NotFound:
            return

    # Objects

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_none_match: bool = False,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write an object and return its etag.

        `data` is bytes, or a binary file that is read to its end (in parts of 16 MiB). With `if_none_match` the write
        happens only when the key is free: of any number of writers one wins and the others get AlreadyExists.
        """
        from minio.error import S3Error

        body: Any = io.BytesIO(data) if isinstance(data, bytes) else data
        length = len(data) if isinstance(data, bytes) else -1
        with self._errors(bucket, key), conditions(if_none_match=if_none_match):
            try:
                done = self._client.put_object(
                    bucket,
                    key,
                    body,
                    length,
                    content_type=content_type,
                    metadata=dict(metadata or {}),
                    part_size=0 if length >= 0 else PART_SIZE,
                )
            except S3Error as error:
                if error.code != "PreconditionFailed":
                    raise
                mine = isinstance(data, bytes) and was_retried() and self._same(bucket, key, data)
                if not mine:
                    raise AlreadyExists.of(
                        self._place(bucket, key), "an object of this key exists already", "Nothing was written."
                    ) from None
                return _md5(data) if isinstance(data, bytes) else ""
        return str(done.etag or "").strip('"')

    def _same(self, bucket: str, key: str, data: bytes) -> bool:
        """After a retried write: whether the object found is what the first try wrote before its answer died."""
        found = self.head(bucket, key)
        return found is not None and found.etag == _md5(data)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """What the server knows of the object, or None when it is not there."""
        try:
            with self._errors(bucket, key):
                found = self._client.stat_object(bucket, key)
        except NotFound:
            return None
        return _info(key, found)

    def is_encrypted(self, bucket: str, key: str) -> bool:
        """Whether the server says that it stores the object encrypted."""
        with self._errors(bucket, key):
            found = self._client.stat_object(bucket, key)
        said = found.metadata.get("x-amz-server-side-encryption") if found.metadata else None
        return bool(said)

    def get(self, bucket: str, key: str) -> bytes:
        """The whole object, its length and etag checked; a body cut short is fetched again, then raises Truncated."""
        for attempt in range(1, GET_ATTEMPTS + 1):
            try:
                with self.open(bucket, key) as stream:
                    return stream.read()
            except Truncated:
                if attempt == GET_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def open(self, bucket: str, key: str) -> ObjectReader:
        """The object as a file. Reading to the end checks length and etag and raises Truncated if they differ."""
        with self._errors(bucket, key):
            response = self._client.get_object(bucket, key)
        return ObjectReader(response, self._place(bucket, key))

    def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only at the end of the object."""
        with self._errors(bucket, key):
            response = self._client.get_object(bucket, key, offset=offset, length=length)
            try:
                return bytes(response.read())
            finally:
                response.close()

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects under `prefix`, in key order, after the key `start_after`; fetched 1,000 at a time."""
        with self._errors(bucket):
            for found in self._client.list_objects(
                bucket, prefix=prefix or None, recursive=True, start_after=start_after or None
            ):
                if not found.is_dir:
                    yield _info(str(found.object_name), found)

    def folders(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """The parts of keys up to the next `/` after `prefix`, in order, each ending with `/`."""
        with self._errors(bucket):
            for found in self._client.list_objects(bucket, prefix=prefix or None, recursive=False):
                if found.is_dir:
                    yield str(found.object_name)

    def delete(self, bucket: str, keys: Iterable[str]) -> int:
        """Delete objects, 1,000 a request; missing ones are no error. Returns how many keys were asked for."""
        from minio.deleteobjects import DeleteObject

        asked = 0

        def counted() -> Iterator[Any]:
            nonlocal asked
            for key in keys:
                asked += 1
                yield DeleteObject(key)

        with self._errors(bucket):
            failed = [error for error in self._client.remove_objects(bucket, counted()) if error.code != "NoSuchKey"]
        if failed:
            first = failed[0]
            raise ObjectsError.of(
                self._place(bucket, str(first.name)), f"could not be deleted: {first.message}", f"{len(failed)} in all."
            )
        return asked

    # Errors

    def _place(self, bucket: str, key: str = "") -> str:
        return " ".join(part for part in (self.endpoint.url, "/".join(filter(None, (bucket, key)))) if part)

    @contextmanager
    def _errors(self, bucket: str, key: str = "") -> Iterator[None]:
        """Turn the client library's errors into ours."""
        from minio.error import InvalidResponseError, S3Error, ServerError
        from urllib3.exceptions import HTTPError

        place = self._place(bucket, key)
        try:
            yield
        except S3Error as error:
            raise self._refusal(place, str(error.code), str(error.message)) from None
        except (InvalidResponseError, ServerError) as error:
            raise ObjectsError.of(
                place, f"the server failed: {first_line(error)}", "Look into the log of the S3 server."
            ) from None
        except HTTPError as error:
            raise self._unreachable(place, error) from None
        except ValueError as error:
            raise ObjectsError.of(place, str(error), "Choose a name that S3 allows.") from None

    def _unreachable(self, place: str, error: Exception) -> ObjectsUnreachable:
        return ObjectsUnreachable.of(
            place, f"cannot reach the S3 server: {reason(error)}", "Start the site with `homelab up`, or check it."
        )

    def _refusal(self, place: str, code: str, message: str) -> ObjectsError:
        if code in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken"}:
            return CredentialsRefused.of(
                place,
                f"the key {self.endpoint.access_key} was refused ({code})",
                "Check the access key and its secret; a site keeps its own in secrets.json of its data folder.",
            )
        if code in {"NoSuchKey", "NoSuchBucket", "ResourceNotFound"}:
            what = "no such bucket" if code == "NoSuchBucket" else "no such object"
            return NotFound.of(place, what)
        if code in FULL:
            return StorageFull.of(
                place, f"the S3 server's disk is full ({code}); nothing was written", "Make room there, then try again."
            )
        remedy = "A full disk looks like this too; the server's log says more." if code in UNCLEAR else ""
        return ObjectsError.of(place, f"the S3 server refused: {code}: {message}", remedy)


def _info(key: str, found: Any) -> ObjectInfo:
    return ObjectInfo(key, int(found.size or 0), str(found.etag or "").strip('"'), found.last_modified)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

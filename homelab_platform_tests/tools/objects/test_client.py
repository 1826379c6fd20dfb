"""Objects on a real SeaweedFS: written once, listed in order, deleted, described."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise.ports import choose
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint
from homelab_platform.tools.objects.client import (
    AlreadyExists,
    CredentialsRefused,
    ExpiryRule,
    NotFound,
    ObjectsError,
    ObjectStore,
    ObjectsUnreachable,
)

pytestmark = pytest.mark.servers


@pytest.fixture
def store(lakehouse: Lakehouse) -> Iterator[ObjectStore]:
    with ObjectStore(lakehouse.objects) as made:
        yield made


@pytest.fixture
def bucket(lakehouse: Lakehouse) -> str:
    return lakehouse.raw_bucket


def test_what_is_put_is_got_back(store: ObjectStore, bucket: str) -> None:
    etag = store.put(bucket, "a/ü b+c.json", b"{}", metadata={"made-by": "test"})
    assert store.get(bucket, "a/ü b+c.json") == b"{}"
    found = store.head(bucket, "a/ü b+c.json")
    assert found is not None
    assert (found.size, found.etag) == (2, etag)
    assert store.put(bucket, "empty", b"") and store.get(bucket, "empty") == b""
    assert store.head(bucket, "none") is None


def test_a_large_file_goes_in_parts_and_comes_back_whole(store: ObjectStore, bucket: str) -> None:
    data = os.urandom((33 << 20) + 7)
    store.put(bucket, "large", io.BytesIO(data))
    with store.open(bucket, "large") as stream:
        assert stream.size == len(data)
        assert stream.read() == data
    assert store.get_range(bucket, "large", 5, 10) == data[5:15]


@pytest.mark.slow
def test_of_sixteen_writers_that_want_a_free_key_one_wins(store: ObjectStore, bucket: str) -> None:
    def write(number: int) -> bool:
        try:
            store.put(bucket, "once", f"writer {number}".encode(), if_none_match=True)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert store.get(bucket, "once") == f"writer {won.index(True)}".encode()


def test_a_large_write_to_a_taken_key_is_refused_too(store: ObjectStore, bucket: str) -> None:
    store.put(bucket, "taken", b"first")
    with pytest.raises(AlreadyExists, match="taken"):
        store.put(bucket, "taken", io.BytesIO(bytes(17 << 20)), if_none_match=True)
    assert store.get(bucket, "taken") == b"first"


def test_a_key_and_keys_below_it_live_together(store: ObjectStore, bucket: str) -> None:
    store.put(bucket, "n", b"1")
    store.put(bucket, "n/c", b"2")
    assert [found.key for found in store.list(bucket)] == ["n", "n/c"]
    assert (store.get(bucket, "n"), store.get(bucket, "n/c")) == (b"1", b"2")
    store.delete(bucket, ["n"])
    assert [found.key for found in store.list(bucket)] == ["n/c"]


@pytest.mark.slow
def test_listing_goes_over_pages_in_key_order_and_starts_where_asked(store: ObjectStore, bucket: str) -> None:
    keys = [f"p/{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(bucket, key, b"x"), keys))
    assert [found.key for found in store.list(bucket, "p/")] == keys
    assert [found.key for found in store.list(bucket, "p/", start_after="p/1089")] == keys[1090:]
    assert store.delete(bucket, iter(keys)) == len(keys)
    assert list(store.list(bucket)) == []
    assert store.delete(bucket, ["never-there"]) == 1


def test_tags_lifecycle_and_versioning_of_a_bucket_can_be_set_and_read(store: ObjectStore, bucket: str) -> None:
    store.set_bucket_tags(bucket, {"fingerprint": "a" * 64, "lab": "home"})
    assert store.bucket_tags(bucket) == {"fingerprint": "a" * 64, "lab": "home"}
    store.set_bucket_tags(bucket, {})
    assert store.bucket_tags(bucket) == {}
    rules = [ExpiryRule("", 365), ExpiryRule("raw/", 30)]
    store.set_lifecycle(bucket, reversed(rules))
    assert store.lifecycle(bucket) == rules
    store.set_lifecycle(bucket, [])
    assert store.lifecycle(bucket) == []
    assert store.versioning(bucket) is False
    store.set_versioning(bucket, True)
    assert store.versioning(bucket) is True
    store.set_versioning(bucket, False)


def test_a_bucket_is_made_once_and_removed_with_or_without_its_objects(store: ObjectStore, bucket: str) -> None:
    other = f"{bucket}-other"
    assert store.ensure_bucket(other) is True
    assert store.ensure_bucket(other) is False
    assert other in store.buckets()
    store.put(other, "a", b"1")
    with pytest.raises(ObjectsError, match=other):
        store.remove_bucket(other)
    store.remove_bucket(other, with_objects=True)
    store.remove_bucket(other)
    assert not store.bucket_exists(other)


def test_a_missing_object_or_bucket_is_named(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(NotFound, match=f"{bucket}/none: no such object"):
        store.get(bucket, "none")
    with pytest.raises(NotFound, match="not-there-at-all: no such bucket"):
        list(store.list("not-there-at-all"))
    with pytest.raises(ObjectsError, match="Bad_Bucket"):
        store.ensure_bucket("Bad_Bucket")


def test_wrong_credentials_name_the_key_and_never_the_secret(objects_endpoint: ObjectsEndpoint, bucket: str) -> None:
    for key in (objects_endpoint.access_key, "AKIDUNKNOWN"):
        wrong = replace(objects_endpoint, access_key=key, secret_key="not-the-secret")
        with ObjectStore(wrong) as store, pytest.raises(CredentialsRefused) as caught:
            store.put(bucket, "a", b"1")
        assert key in str(caught.value)
        assert "not-the-secret" not in str(caught.value) + repr(wrong)


def test_a_dead_server_is_named(objects_endpoint: ObjectsEndpoint) -> None:
    url = f"http://127.0.0.1:{choose(1)[0]}"
    with (
        ObjectStore(replace(objects_endpoint, url=url), retries=1) as store,
        pytest.raises(ObjectsUnreachable) as caught,
    ):
        store.head("bucket", "a")
    assert url in str(caught.value)
    assert isinstance(caught.value, HomelabError)

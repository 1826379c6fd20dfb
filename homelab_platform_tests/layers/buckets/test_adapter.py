"""Buckets as assets on real S3 servers: every setting is put, its drift is seen in words, and put back."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedBucket
from homelab_platform.layers.buckets import adapter as buckets
from homelab_platform.layers.buckets.adapter import BucketAdapter
from homelab_platform.layers.buckets.expiry import sweep
from homelab_platform.names import silent
from homelab_platform.paths import project_path
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.specs import read
from homelab_platform.readings import ledger
from homelab_platform.readings.contract import ensure_tables
from homelab_platform.readings.ingest import ingest_pending
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint
from homelab_platform.tools.objects.access import KeyFile, Statement, endpoint_for, policy_document, user_of
from homelab_platform.tools.objects.client import CredentialsRefused, ExpiryRule, ObjectStore
from homelab_platform.tools.objects.users import open_access
from homelab_platform.wire.json_types import Document, Json
from homelab_platform.wire.reading import Reading, object_key, pack

DAY = 86_400
NOW = datetime.now(UTC)
SERVERS = [
    pytest.param("seaweedfs", marks=pytest.mark.servers),
    pytest.param("minio", marks=[pytest.mark.servers, pytest.mark.slow]),
]
DOCUMENT: Document = {
    "name": "readings-raw",
    "owner": "platform",
    "versioning": True,
    "encrypted": True,
    "keep": {"environment/": 30 * DAY, "machine/": 7 * DAY, "forever/": None},
    "old_versions": 30 * DAY,
    "unfinished": 2 * DAY,
    "access": {
        "nifi": {"right": "put", "under": ["environment/"]},
        "ingest": {"right": "read", "under": [""]},
    },
}


@dataclass(frozen=True)
class Site:
    """A bucket adapter on one server, and a client that stands for a person who meddles."""

    lakehouse: Lakehouse
    keys: KeyFile
    adapter: BucketAdapter
    store: ObjectStore

    @property
    def bucket(self) -> str:
        return self.lakehouse.raw_bucket

    def user(self, role: str) -> str:
        return user_of(self.bucket, role)


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest, lakehouse: Lakehouse, tmp_path: Path) -> Iterator[Site]:
    if request.param == "minio":
        endpoint: ObjectsEndpoint = request.getfixturevalue("minio")
        lakehouse = replace(lakehouse, objects=endpoint)
    keys = KeyFile(tmp_path)
    with ObjectStore(lakehouse.objects) as store:
        made = Site(lakehouse, keys, BucketAdapter(lakehouse, keys), store)
        try:
            yield made
        finally:
            access = open_access(lakehouse.objects)
            for user in access.users():
                if user.startswith(made.bucket):
                    access.remove(user)
            store.remove_bucket(made.bucket, with_objects=True)


def desired(**changed: Json) -> DesiredState:
    return DesiredState("bucket/readings-raw", "bucket", {**DOCUMENT, **changed}, fingerprint="f" * 64)


def apply(site: Site, state: DesiredState) -> None:
    site.adapter.change(state, site.adapter.probe(state), silent)


def policy_for_everybody(site: Site) -> None:
    allow: Statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{site.bucket}/*"],
    }
    site.store.set_policy(site.bucket, {"Version": "2012-10-17", "Statement": [allow]})


def wider_right(site: Site) -> None:
    wide = policy_document(site.bucket, "change", [""])
    open_access(site.lakehouse.objects).set_policy(site.user("nifi"), site.bucket, wide)


def stranger(site: Site) -> None:
    access, user = open_access(site.lakehouse.objects), site.user("stranger")
    access.ensure(user, site.keys.get(user))
    access.set_policy(user, site.bucket, policy_document(site.bucket, "read", [""]))


def lost_key(site: Site) -> None:
    site.keys.forget(site.user("ingest"))


DRIFT: dict[str, tuple[Callable[[Site], None], str]] = {
    "versioning is off": (lambda s: s.store.set_versioning(s.bucket, False), "versioning is off"),
    "lifecycle": (lambda s: s.store.set_lifecycle(s.bucket, []), "the rule is missing: old versions go after 30 days"),
    "expiry": (
        lambda s: s.store.set_lifecycle(s.bucket, [ExpiryRule("environment/", 1)]),
        r"environment/\* expire after 1 day, ingested or not",
    ),
    "encryption": (lambda s: s.store.set_encryption(s.bucket, False), "objects are not encrypted"),
    "policy": (policy_for_everybody, "a policy lets everybody into the bucket"),
    "wider right": (wider_right, r"nifi may read\+put\+delete\+list \*, not read\+put environment/\*"),
    "stranger": (stranger, "stranger has rights that the lab does not give"),
    "key": (lost_key, "the key of ingest is not accepted"),
}


@pytest.mark.slow
def test_every_setting_is_put_and_every_drift_is_seen_in_words_and_put_back(site: Site) -> None:
    state = desired()
    apply(site, state)
    found = site.adapter.probe(state)
    assert found.matches(state), found.differences
    assert found.facts["raw objects of machine/"] == "kept 7 days, then goes once it is in the table"
    for name, (meddle, line) in DRIFT.items():
        meddle(site)
        seen = site.adapter.probe(state)
        assert not seen.matches(state), name
        assert any(re.search(line, text) for text in seen.differences), seen.differences
        apply(site, state)
        assert site.adapter.probe(state).matches(state), name


@pytest.mark.slow
def test_objects_are_encrypted_and_producers_and_consumers_reach_what_is_theirs(site: Site) -> None:
    apply(site, desired())
    site.store.put(site.bucket, "environment/a", b"x" * 5000)
    site.store.put(site.bucket, "environment/large", io.BytesIO(bytes(17 << 20)))
    assert site.store.is_encrypted(site.bucket, "environment/a")
    with ObjectStore(endpoint_for(site.lakehouse.objects, site.keys, site.user("ingest"))) as reader:
        assert reader.get(site.bucket, "environment/a") == b"x" * 5000
        assert reader.get(site.bucket, "environment/large") == bytes(17 << 20)
        with pytest.raises(CredentialsRefused):
            reader.put(site.bucket, "environment/b", b"1")
    with ObjectStore(endpoint_for(site.lakehouse.objects, site.keys, site.user("nifi"))) as producer:
        producer.put(site.bucket, "environment/b", b"1", if_none_match=True)
        with pytest.raises(CredentialsRefused):
            producer.put(site.bucket, "machine/b", b"1")


def test_a_bucket_that_leaves_the_lab_takes_its_rights_along(site: Site) -> None:
    state = desired()
    apply(site, state)
    site.store.put(site.bucket, "environment/a", b"1")
    site.store.put(site.bucket, "environment/a", b"2")
    site.adapter.remove(state.key, state.document, silent)
    assert not site.adapter.probe(state).exists
    assert not [user for user in open_access(site.lakehouse.objects).users() if user.startswith(site.bucket)]


@pytest.mark.servers
def test_a_server_that_cannot_encrypt_is_told_of_and_nothing_is_called_done(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ObjectStore, "is_encrypted", lambda *_: False)
    adapter, state = BucketAdapter(lakehouse), desired(access={})
    with pytest.raises(
        HomelabError, match="this S3 server cannot: it takes the setting and stores objects in the clear"
    ):
        adapter.change(state, adapter.probe(state), silent)
    found = adapter.probe(state)
    assert found.fingerprint == ""
    assert found.differences == ("objects are not encrypted, and the lab asks for encrypted: at-rest",)
    with ObjectStore(lakehouse.objects) as store:
        assert not [name for name in store.buckets() if name.startswith("homelab-try-")]
        assert buckets.cannot_encrypt(store)


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse with its tables."""
    ensure_tables(lakehouse)
    return lakehouse


def put(store: ObjectStore, bucket: str, stream: str, name: str, data: bytes | None = None) -> str:
    lines = Reading(NOW, "attic", f"temperature-{name}", 20.0).line()
    key = object_key(stream, NOW.date(), "tests", name)
    store.put(bucket, key, data if data is not None else pack(lines))
    return key


@pytest.mark.servers
def test_raw_objects_go_by_their_own_streams_time_and_never_before_they_are_ingested(lake: Lakehouse) -> None:
    with ObjectStore(lake.objects) as store:
        bucket = lake.raw_bucket
        keys = {s: put(store, bucket, s, "a") for s in ("environment", "machine", "forever")}
        broken = put(store, bucket, "machine", "broken", b"\x1f\x8b not gzip at all")
        ingest_pending(lake)
        waiting = put(store, bucket, "machine", "late")
        assert {e.key for e in ledger.entries(lake, status="quarantined")} == {broken}

        def left(after: timedelta) -> set[str]:
            done = sweep(lake, store, bucket, read(ResolvedBucket, DOCUMENT), NOW + after)
            told.append((done.deleted, done.waiting, done.quarantined))
            return {found.key for found in store.list(bucket)}

        told: list[tuple[int, int, int]] = []
        assert len(left(timedelta(days=6))) == 5
        assert left(timedelta(days=8)) == {keys["environment"], keys["forever"], broken, waiting}
        assert left(timedelta(days=31)) == {keys["forever"], broken, waiting}
        ingest_pending(lake)
        assert left(timedelta(days=31)) == {keys["forever"], broken}
        assert told == [(0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 0, 1)]


@pytest.mark.servers
def test_an_object_that_changed_after_it_was_ingested_stays(lake: Lakehouse) -> None:
    with ObjectStore(lake.objects) as store:
        key = put(store, lake.raw_bucket, "machine", "a")
        ingest_pending(lake)
        store.put(lake.raw_bucket, key, pack(Reading(NOW, "attic", "humidity", 1.0).line()))
        done = sweep(lake, store, lake.raw_bucket, read(ResolvedBucket, DOCUMENT), NOW + timedelta(days=99))
        assert (done.deleted, done.waiting) == (0, 1)


def test_old_versions_and_broken_off_uploads_go_and_what_is_current_stays(site: Site) -> None:
    store, bucket = site.store, site.bucket
    store.ensure_bucket(bucket)
    store.set_versioning(bucket, True)
    for data in (b"1", b"2", b"3"):
        store.put(bucket, "current", data)
    store.put(bucket, "deleted", b"1")
    store.delete(bucket, ["deleted"])
    upload = store._client._create_multipart_upload(bucket, "never-finished", {})
    wanted = ResolvedBucket(name="b", owner="platform", old_versions=30 * DAY, unfinished=2 * DAY)
    ten, forty = (sweep(site.lakehouse, store, bucket, wanted, NOW + timedelta(days=n)) for n in (10, 40))
    assert (ten.versions, forty.versions) == (0, 4)
    assert [(v.key, v.latest) for v in store.versions(bucket)] == [("current", True)]
    assert store.get(bucket, "current") == b"3"
    if store.server().startswith("minio"):  # it lists none, and ends them itself after a day
        store._client._abort_multipart_upload(bucket, "never-finished", upload)
    else:
        assert (ten.uploads, store.uploads(bucket)) == (1, [])


@pytest.mark.servers
def test_the_buckets_of_an_example_are_set_up_and_a_second_time_there_is_nothing_to_do(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    states = desired_states(load_resolved(project_path("examples", "pi-cluster", "lab.yaml"), load_catalogue(None)))
    adapter = BucketAdapter(lakehouse, KeyFile(tmp_path))
    for key in ("bucket/readings-raw", "bucket/lake"):
        assert states[key].document["access"]
        assert states[key].document["encrypted"]
        adapter.change(states[key], adapter.probe(states[key]), silent)
        found = adapter.probe(states[key])
        assert found.matches(states[key]), found.differences
    shown = {e.name: e.value for e in adapter.work(states["bucket/lake"], {}, silent)}
    assert {row["user"]: row["may"] for row in shown["rights"]} == {
        "guest": "read",
        "ingest": "change",
        "trino": "change",
    }

"""Users of real S3 servers: what each right allows and, more important, what it refuses."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.access import (
    AccessKey,
    KeyFile,
    NoUsers,
    ObjectAccess,
    Policy,
    endpoint_for,
    policy_document,
    same_policy,
    user_of,
)
from homelab_platform.tools.objects.client import CredentialsRefused, ExpiryRule, ObjectStore
from homelab_platform.tools.objects.users import open_access

SERVERS = [
    pytest.param("seaweedfs", marks=pytest.mark.servers),
    pytest.param("minio", marks=[pytest.mark.servers, pytest.mark.slow]),
]


@dataclass(frozen=True)
class Place:
    """A server with one bucket, objects of two streams in it, and keys of its users."""

    root: ObjectsEndpoint
    access: ObjectAccess
    keys: KeyFile
    bucket: str

    def user(self, role: str) -> str:
        return user_of(self.bucket, role)

    def grant(self, role: str, right: str, *prefixes: str) -> ObjectsEndpoint:
        user = self.user(role)
        self.access.ensure(user, self.keys.get(user))
        self.access.set_policy(user, self.bucket, policy_document(self.bucket, right, prefixes))
        return endpoint_for(self.root, self.keys, user)


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    name = "objects_endpoint" if request.param == "seaweedfs" else "minio"
    endpoint: ObjectsEndpoint = request.getfixturevalue(name)
    bucket = f"access-{uuid4().hex[:10]}"
    access = open_access(endpoint)
    with ObjectStore(endpoint) as store:
        store.ensure_bucket(bucket)
        for key in ("ours/a", "theirs/a"):
            store.put(bucket, key, b"1")
        made = Place(endpoint, access, KeyFile(tmp_path), bucket)
        try:
            yield made
        finally:
            for user in access.users():
                if user.startswith(bucket):
                    access.remove(user)
            store.remove_bucket(bucket, with_objects=True)


def refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except CredentialsRefused:
        return True
    except HomelabError as error:
        assert "Access Denied" in str(error)
        return True
    return False


def _listed(store: ObjectStore, bucket: str, prefix: str) -> list[str]:
    return [found.key for found in store.list(bucket, prefix)]


def matrix(endpoint: ObjectsEndpoint, bucket: str) -> dict[str, str]:
    """What a key may do with our and with others' objects, as letters: put, get, list, multipart put, delete."""
    found: dict[str, str] = {}
    with ObjectStore(endpoint, retries=1) as store:
        for prefix in ("ours/", "theirs/"):
            acts: dict[str, Callable[[], object]] = {
                "p": partial(store.put, bucket, f"{prefix}b", b"2"),
                "g": partial(store.get, bucket, f"{prefix}a"),
                "l": partial(_listed, store, bucket, prefix),
                "m": partial(store.put, bucket, f"{prefix}m", io.BytesIO(bytes(17 << 20))),
                "d": partial(store.delete, bucket, [f"{prefix}b"]),
            }
            found[prefix] = "".join(letter for letter, act in acts.items() if not refused(act))
        settings: list[Callable[[], object]] = [
            lambda: store.set_lifecycle(bucket, [ExpiryRule("", 1)]),
            lambda: store.set_policy(bucket, {"Version": "2012-10-17", "Statement": []}),
            lambda: store.set_versioning(bucket, True),
            lambda: store.ensure_bucket(f"{bucket}-more"),
        ]
        found["settings"] = "refused" if all(map(refused, settings)) else "allowed"
    return found


@pytest.mark.parametrize(
    ("right", "ours", "theirs"), [("put", "pgm", ""), ("read", "gl", "l"), ("change", "pglmd", "l")]
)
def test_a_right_allows_what_it_says_under_its_prefix_and_nothing_else(
    place: Place, right: str, ours: str, theirs: str
) -> None:
    endpoint = place.grant("role", right, "ours/")
    assert matrix(endpoint, place.bucket) == {"ours/": ours, "theirs/": theirs, "settings": "refused"}


def test_rights_are_seen_changed_and_taken_away(place: Place) -> None:
    endpoint = place.grant("role", "read", "ours/")
    user = place.user("role")
    assert user in place.access.users()
    assert place.access.key_of(user) == place.keys.get(user).access_key
    place.grant("role", "change", "")
    assert same_policy(place.access.policies(user)[place.bucket], policy_document(place.bucket, "change", [""]))
    place.access.set_policy(user, place.bucket, None)
    assert place.bucket not in place.access.policies(user)
    with ObjectStore(endpoint, retries=1) as store, pytest.raises(CredentialsRefused):
        store.get(place.bucket, "ours/a")
    place.access.remove(user)
    place.access.remove(user)
    assert place.access.key_of(user) is None
    assert user not in place.access.users()


def test_a_new_key_ends_the_old_one_and_no_message_shows_a_secret(place: Place) -> None:
    old = place.grant("role", "read", "")
    user = place.user("role")
    place.keys.forget(user)
    place.access.ensure(user, place.keys.get(user))
    new = endpoint_for(place.root, place.keys, user)
    assert new.access_key != old.access_key
    with ObjectStore(old, retries=1) as store, pytest.raises(CredentialsRefused) as caught:
        store.get(place.bucket, "ours/a")
    assert old.access_key in str(caught.value)
    assert old.secret_key not in str(caught.value)


def test_a_user_may_not_make_users(place: Place) -> None:
    access = open_access(place.grant("role", "change", ""))
    with pytest.raises(HomelabError, match=r"must be (an administrator's|the server's own)"):
        access.ensure(place.user("other"), AccessKey("another1key2", "another-secret-of-a-test"))


def test_keys_are_made_once_kept_from_other_people_and_survive(tmp_path: Path) -> None:
    first = KeyFile(tmp_path).get("nifi")
    assert KeyFile(tmp_path).get("nifi") == first
    assert KeyFile(tmp_path).get("trino").secret_key != first.secret_key
    assert (tmp_path / "object-keys.json").stat().st_mode & 0o077 == 0
    assert first.secret_key not in repr(first)
    (tmp_path / "object-keys.json").write_text("{")
    with pytest.raises(HomelabError, match="gets a new key"):
        KeyFile(tmp_path).get("nifi")


def test_a_server_whose_users_we_cannot_make_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectStore, "server", lambda _self: "rclone")
    with pytest.raises(NoUsers, match=r"cannot be made on this S3 server \(rclone\)"):
        open_access(ObjectsEndpoint("http://127.0.0.1:9", "key", "secret"))


def test_policies_are_compared_by_what_they_say() -> None:
    one = policy_document("b", "change", ["x/", "y/"])
    turned: Policy = {"Statement": [{**s, "Action": list(reversed(s["Action"]))} for s in reversed(one["Statement"])]}
    assert same_policy(one, turned)
    assert not same_policy(one, policy_document("b", "change", ["x/"]))
    assert not same_policy(one, None)

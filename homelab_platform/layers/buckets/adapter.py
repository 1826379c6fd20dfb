"""Buckets of the site's S3 server: probed and changed through the S3 interface alone.

Belongs here: a bucket's existence, versioning, lifecycle, encryption, policy, and the tag that carries its fingerprint.
Not here: who may use it (tools/objects/grants.py), what leaves it with time (expiry.py), what its objects mean
(readings/).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedBucket
from homelab_platform.names import LAKE_BUCKET, RAW_BUCKET, Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import name_of
from homelab_platform.plan.specs import read
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from homelab_platform.tools.objects.access import KeyFile
    from homelab_platform.tools.objects.client import ExpiryRule, ObjectStore
    from homelab_platform.tools.objects.grants import BucketAccess
    from homelab_platform.wire.json_types import Document, Json

FINGERPRINT_TAG = "homelab-fingerprint"
COUNTED = 10_000
"""Objects counted for an asset's page; a bucket may hold millions."""

_DAY = 86_400
_NO_ENCRYPTION = "objects are not encrypted, and the lab asks for encrypted: at-rest"


class BucketAdapter:
    """Buckets by name; the lab's names of the two buckets of readings stand for those of the lakehouse.

    `keys` holds the keys of the site's users of the S3 server; without it users are left alone.
    """

    def __init__(self, lakehouse: Lakehouse, keys: KeyFile | None = None) -> None:
        self._lakehouse = lakehouse
        self._keys = keys
        self._names = {RAW_BUCKET: lakehouse.raw_bucket, LAKE_BUCKET: lakehouse.lake_bucket}

    def _open(self) -> ObjectStore:
        from homelab_platform.tools.objects.client import ObjectStore

        return ObjectStore(self._lakehouse.objects)

    def bucket(self, key: str) -> str:
        """The name on the S3 server of the bucket with this asset key."""
        name = name_of(key)
        return self._names.get(name, name)

    def probe(self, desired: DesiredState) -> Observation:
        """Existence, tag, and every setting that the lab has a say in."""
        wanted, name = read(ResolvedBucket, desired.document), self.bucket(desired.key)
        with self._open() as store:
            if not store.bucket_exists(name):
                return Observation(exists=False)
            tags = store.bucket_tags(name)
            differences = [*_setting_differences(store, name, wanted), *_policy_differences(store, name)]
            facts = _facts(wanted, store.server())
        access, why = self._access(wanted)
        if access is not None:
            differences += access.differences(name, wanted.access)
        elif wanted.access:
            facts["rights"] = f"not looked after: {why}"
        return Observation(True, tags.get(FINGERPRINT_TAG, ""), tuple(differences), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the bucket, bring each setting to what the lab says, and only then leave the fingerprint.

        Raises HomelabError, without the fingerprint, when the lab asks for encryption that the server has not.
        """
        wanted, name = read(ResolvedBucket, desired.document), self.bucket(desired.key)
        with self._open() as store:
            store.ensure_bucket(name)
            if store.versioning(name) != wanted.versioning:
                store.set_versioning(name, wanted.versioning)
            rules = _rules(wanted, store.server())
            if list(store.lifecycle(name)) != rules:
                store.set_lifecycle(name, rules)
            if store.policy(name) is not None:
                store.set_policy(name, None)
            self._grant(name, wanted, say)
            _set_encryption(store, name, wanted.encrypted)
            store.set_bucket_tags(name, {**store.bucket_tags(name), FINGERPRINT_TAG: desired.fingerprint})
        say(f"s3://{name} is set up")

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Delete the bucket with all its objects, and everybody's rights in it."""
        name = self.bucket(key)
        access, _ = self._access(read(ResolvedBucket, document))
        if access is not None:
            access.take_away(name)
        with self._open() as store:
            store.remove_bucket(name, with_objects=True)
        say(f"s3://{name} is deleted")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """What the bucket holds, and who may do what with it."""
        from homelab_platform.tools.objects.grants import rows

        name = self.bucket(desired.key)
        with self._open() as store:
            found = list(islice(store.list(name), COUNTED + 1))
        more = len(found) > COUNTED
        yield Exhibit("objects", "text", f"more than {COUNTED:,}" if more else f"{len(found):,}")
        yield Exhibit("bytes", "number", sum(item.size for item in found))
        newest = sorted(found, key=lambda item: item.last_modified, reverse=True)[:10]
        shown = [{"object": i.key, "bytes": i.size, "written": f"{i.last_modified:%Y-%m-%d %H:%M:%S}"} for i in newest]
        yield Exhibit("newest objects", "table", shown)
        yield Exhibit("rights", "table", rows(read(ResolvedBucket, desired.document).access))

    def expire(self, states: Iterable[DesiredState], say: Say) -> Iterable[Exhibit]:
        """Delete from these buckets what the lab lets go; see expiry.py for what stays in spite of its age."""
        from homelab_platform.layers.buckets.expiry import Swept, sweep

        done = Swept()
        with self._open() as store:
            for state in states:
                name = self.bucket(state.key)
                if store.bucket_exists(name):
                    found = sweep(self._lakehouse, store, name, read(ResolvedBucket, state.document))
                    say(f"s3://{name}: {found.line()}")
                    done += found
        yield Exhibit("raw objects deleted", "number", done.deleted)
        yield Exhibit("bytes freed", "number", done.size)
        yield Exhibit("past their time, not ingested yet", "number", done.waiting)
        yield Exhibit("past their time, quarantined", "number", done.quarantined)
        yield Exhibit("old versions deleted", "number", done.versions)
        yield Exhibit("unfinished uploads given up", "number", done.uploads)

    def _access(self, wanted: ResolvedBucket) -> tuple[BucketAccess | None, str]:
        from homelab_platform.tools.objects.grants import open_bucket_access

        return open_bucket_access(self._lakehouse, self._keys) if wanted.access else (None, "")

    def _grant(self, name: str, wanted: ResolvedBucket, say: Say) -> None:
        access, why = self._access(wanted)
        if access is not None:
            access.put_right(name, wanted.access)
        elif why:
            say(f"s3://{name}: rights are not looked after: {why}")


def _setting_differences(store: ObjectStore, name: str, wanted: ResolvedBucket) -> list[str]:
    found: list[str] = []
    versioned = store.versioning(name)
    if versioned != wanted.versioning:
        found.append(f"versioning is {'on' if versioned else 'off'}")
    rules, asked = list(store.lifecycle(name)), _rules(wanted, store.server())
    if rules != asked:
        found += _lifecycle_differences(rules, asked, wanted.keep)
    encrypted = store.encryption(name)
    if encrypted and not wanted.encrypted:
        found.append("new objects are encrypted, which the lab does not ask for")
    elif wanted.encrypted and not encrypted:
        found.append(_NO_ENCRYPTION)
    return found


def _lifecycle_differences(
    rules: Sequence[ExpiryRule], wanted: Sequence[ExpiryRule], raw_prefixes: Iterable[str]
) -> list[str]:
    found = []
    for rule in rules:
        if rule not in wanted and rule.days:
            raw = any(rule.prefix.startswith(p) or p.startswith(rule.prefix) for p in raw_prefixes)
            what = f"{rule.prefix}* expire" if rule.prefix else "objects expire"
            found.append(f"{what} after {_count(rule.days)}{', ingested or not' if raw else ''}")
        elif rule not in wanted:
            found.append(f"a rule that the lab does not know: {_said(rule)}")
    for rule in wanted:
        if rule not in rules:
            found.append("objects expire never" if rule.days and not found else f"the rule is missing: {_said(rule)}")
    return found


def _said(rule: ExpiryRule) -> str:
    parts = (
        (rule.days, "objects go after {}"),
        (rule.noncurrent, "old versions go after {}"),
        (rule.uploads, "unfinished uploads go after {}"),
    )
    return ", ".join(text.format(_count(days)) for days, text in parts if days) + (
        f" under {rule.prefix}" * bool(rule.prefix)
    )


def _policy_differences(store: ObjectStore, name: str) -> list[str]:
    policy = store.policy(name)
    if policy is None:
        return []
    everybody = any(
        statement.get("Effect") == "Allow" and statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        for statement in policy.get("Statement", ())
    )
    return [f"a policy lets {'everybody' if everybody else 'others'} into the bucket, without the lab's word"]


def _rules(wanted: ResolvedBucket, server: str) -> list[ExpiryRule]:
    """What the server is told to delete by itself. Raw objects of streams are not among it: see expiry.py.

    MinIO refuses the rule for unfinished uploads, and ends them after a day by its own.
    """
    from homelab_platform.tools.objects.client import ExpiryRule

    uploads = None if server.startswith("minio") else _days(wanted.unfinished)
    rule = ExpiryRule("", _days(wanted.expire_after), _days(wanted.old_versions), uploads)
    return [] if rule == ExpiryRule("") else [rule]


def _days(seconds: int | None) -> int | None:
    """A time in whole days, rounded up: nothing goes earlier than the lab says."""
    return None if seconds is None else max(1, -(-seconds // _DAY))


def _count(days: int) -> str:
    return f"{days} day{'s' * (days != 1)}"


def _facts(wanted: ResolvedBucket, server: str) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "server": server,
        "versioning": "on" if wanted.versioning else "off",
        "encryption": "by the server" if wanted.encrypted else "none",
    }
    days = _days(wanted.expire_after)
    facts["objects expire"] = f"after {_count(days)}" if days else "never"
    for prefix, seconds in sorted(wanted.keep.items()):
        kept = "for ever" if seconds is None else f"{_count(-(-seconds // _DAY))}, then goes once it is in the table"
        facts[f"raw objects of {prefix}"] = f"kept {kept}"
    return facts


def _set_encryption(store: ObjectStore, name: str, wanted: bool) -> None:
    """Switch SSE-S3 on or off. Before it is on, it is tried in a bucket of its own: a server without a key takes the
    setting and then fails every write."""
    if store.encryption(name) == wanted:
        return
    if wanted and (problem := cannot_encrypt(store)):
        raise HomelabError.of(
            f"s3://{name}",
            f"{_NO_ENCRYPTION}, but this S3 server cannot: {problem}",
            "Give the server a key (SeaweedFS: s3.sse.kek, MinIO: MINIO_KMS_SECRET_KEY), or say encrypted: none.",
        )
    store.set_encryption(name, wanted)


def cannot_encrypt(store: ObjectStore) -> str:
    """Why the server cannot encrypt what it stores (SSE-S3); empty when it can. Leaves nothing behind."""
    bucket = f"homelab-try-{secrets.token_hex(6)}"
    store.ensure_bucket(bucket)
    try:
        store.set_encryption(bucket, True)
        store.put(bucket, "try", b"is this encrypted?")
        return "" if store.is_encrypted(bucket, "try") else "it takes the setting and stores objects in the clear"
    except HomelabError as error:
        return error.problems[0].what
    finally:
        store.remove_bucket(bucket, with_objects=True)

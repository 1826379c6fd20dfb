"""Questions about a bucket's settings: tags, versions, lifecycle, encryption, policy.

Belongs here: what the bucket assets of this project set and read back. Not here: whether rules are carried out in time,
which takes days to see; docs/object-stores.md says what is known.
"""

from __future__ import annotations

import io
import json

from homelab_platform.errors import HomelabError
from homelab_platform.tools.objects.client import ExpiryRule, ObjectStore
from homelab_platform.tools.objects.conformance.questions import Bench, demand, question


def client(bench: Bench) -> ObjectStore:
    """This project's own client of the server."""
    return ObjectStore(bench.wire.endpoint, retries=0, timeout=30)


def reason(error: HomelabError) -> str:
    """The first problem of an error in one line."""
    return error.problems[0].what


@question("tags of a bucket")
def bucket_tags(bench: Bench) -> None:
    """The fingerprint of what was applied lies there."""
    bucket = bench.another_bucket()
    with client(bench) as store:
        try:
            store.set_bucket_tags(bucket, {"homelab-fingerprint": "f" * 64, "lab": "home"})
            found = dict(store.bucket_tags(bucket))
        except HomelabError as error:
            demand(False, reason(error))
    demand(found == {"homelab-fingerprint": "f" * 64, "lab": "home"}, f"they come back as {found}")


@question("tags of an object", needed=False)
def object_tags(bench: Bench) -> None:
    """x-amz-tagging and GetObjectTagging."""
    bench.put("tagged", b"1", **{"x-amz-tagging": "kind=reading&kept=yes"})
    found = bench.wire.ask("GET", bench.bucket, "tagged", query={"tagging": ""})
    pairs = dict(zip(found.texts("Key"), found.texts("Value"), strict=False))
    demand(found.ok and pairs == {"kind": "reading", "kept": "yes"}, f"they come back as {pairs or found.code}")


@question("versions: older ones and deleted objects can be had back")
def versions(bench: Bench) -> None:
    """Versioning with delete markers."""
    bucket = bench.another_bucket()
    with client(bench) as store:
        try:
            store.set_versioning(bucket, True)
        except HomelabError as error:
            demand(False, reason(error))
    first = bench.wire.ask("PUT", bucket, "v", body=b"1")
    bench.wire.ask("PUT", bucket, "v", body=b"2")
    version = first.headers.get("x-amz-version-id", "")
    demand(bool(version), "a write does not tell its version")
    bench.wire.ask("DELETE", bucket, "v")
    demand(bench.wire.ask("GET", bucket, "v").status == 404, "a deleted object is still read")
    old = bench.wire.ask("GET", bucket, "v", query={"versionId": version})
    demand(old.body == b"1", f"the first version cannot be read any more: {old.code}")
    with client(bench) as store:
        found = store.versions(bucket)
        demand([v.deleted for v in found] == [True, False, False], f"{len(found)} of 3 versions are listed")
        store.delete_versions(bucket, found)
        demand(not store.versions(bucket), "versions cannot be deleted for good")


@question("a lifecycle is kept as it was set: expiry by prefix, old versions")
def lifecycle(bench: Bench) -> None:
    """Whether it is also carried out is not asked here."""
    bucket = bench.another_bucket()
    rules = [ExpiryRule("", None, 30), ExpiryRule("a/", 7), ExpiryRule("b/", 90)]
    with client(bench) as store:
        try:
            store.set_lifecycle(bucket, rules)
            found = list(store.lifecycle(bucket))
            demand(found == rules, f"{len(found)} of {len(rules)} rules come back")
            store.set_lifecycle(bucket, [])
            demand(not store.lifecycle(bucket), "it cannot be taken away")
        except HomelabError as error:
            demand(False, reason(error))


@question("a lifecycle rule for uploads that were never finished", needed=False)
def lifecycle_of_uploads(bench: Bench) -> None:
    """AbortIncompleteMultipartUpload."""
    bucket = bench.another_bucket()
    with client(bench) as store:
        try:
            store.set_lifecycle(bucket, [ExpiryRule("", uploads=2)])
            demand(list(store.lifecycle(bucket)) == [ExpiryRule("", uploads=2)], "it does not come back")
        except HomelabError as error:
            demand(False, reason(error))


@question("encryption by the server (SSE-S3), whole and in parts", needed=False)
def encryption(bench: Bench) -> None:
    """A bucket's default encryption; an object must say that it is encrypted, and read as it was written."""
    bucket = bench.another_bucket()
    data = bytes(range(256)) * 70_000
    with client(bench) as store:
        try:
            store.set_encryption(bucket, True)
            demand(store.encryption(bucket), "the setting does not come back")
            for name, body in (("whole", data[:5000]), ("parts", data)):
                store.put(bucket, name, io.BytesIO(body) if name == "parts" else body)
                demand(store.is_encrypted(bucket, name), f"an object in {name} does not say that it is encrypted")
                demand(store.get(bucket, name) == body, f"an object in {name} does not come back as it was put")
            demand(store.get_range(bucket, "parts", 4000, 9) == data[4000:4009], "a range of it is wrong")
        except HomelabError as error:
            demand(False, reason(error))


@question("a bucket's policy lets nobody in but whom it names")
def policy(bench: Bench) -> None:
    """Set, carried out, read back, taken away."""
    bucket = bench.another_bucket()
    bench.wire.ask("PUT", bucket, "open/a", body=b"1")
    bench.wire.ask("PUT", bucket, "shut/a", body=b"1")
    demand(bench.wire.anonymous("GET", bucket, "open/a").refused, "anybody may read a new bucket")
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/open/*"],
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    found = bench.wire.ask("PUT", bucket, query={"policy": ""}, body=text.encode())
    demand(found.ok, f"it is refused: {found.code}")
    demand(bench.wire.anonymous("GET", bucket, "open/a").ok, "it is taken and not followed")
    demand(bench.wire.anonymous("GET", bucket, "shut/a").refused, "it opens more than it says")
    with client(bench) as store:
        demand(store.policy(bucket) is not None, "it does not come back")
        store.set_policy(bucket, None)
    demand(bench.wire.anonymous("GET", bucket, "open/a").refused, "it stays open after it was taken away")

"""The keys that a site's own processes use at its S3 server: each its own, with no more rights than the lab gives it.

Belongs here: giving the rights before the first process asks, and finding a process's key. Not here: what a right means
(tools/objects/access.py), keeping rights as they should be afterwards (layers/buckets/adapter.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.names import LAKE_BUCKET, RAW_BUCKET
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint
from homelab_platform.tools.objects.access import KeyFile, user_of

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab


def give_rights(root: Path, lakehouse: Lakehouse, lab: ResolvedLab, say: Callable[[str], None]) -> None:
    """Make the users of the buckets that are there, with the rights that the lab gives them. Safe to repeat.

    What the server refuses is said and left to the buckets' assets, which then show it: it must not keep a site down.
    """
    from homelab_platform.tools.objects.client import ObjectStore
    from homelab_platform.tools.objects.grants import open_bucket_access

    names = {RAW_BUCKET: lakehouse.raw_bucket, LAKE_BUCKET: lakehouse.lake_bucket}
    declared = {names.get(name, name): bucket for name, bucket in lab.buckets.items() if bucket.access}
    try:
        with ObjectStore(lakehouse.objects) as store:
            there = set(store.buckets())
        access, why = open_bucket_access(lakehouse, KeyFile(root))
        for name in sorted(declared.keys() & there):
            if access is None:
                raise HomelabError.of(lakehouse.objects.url, why)
            access.put_right(name, declared[name].access)
    except HomelabError as error:
        say(f"rights at the S3 server are left as they are: {error.problems[0].what}")


def endpoint_of(root: Path, lakehouse: Lakehouse, role: str) -> ObjectsEndpoint:
    """The S3 server with a role's own key; with the site's own where the lab gives that role no right."""
    key = KeyFile(root).find(user_of(lakehouse.raw_bucket, role))
    if key is None:
        return lakehouse.objects
    return replace(lakehouse.objects, access_key=key.access_key, secret_key=key.secret_key)


def as_role(root: Path, lakehouse: Lakehouse, lab: ResolvedLab, role: str) -> Lakehouse:
    """The lakehouse with a role's own key, made up now if need be, where the lab gives the role a right at all.

    The server lets it in once `give_rights` was called.
    """
    if any(role in bucket.access for bucket in lab.buckets.values()):
        KeyFile(root).get(user_of(lakehouse.raw_bucket, role))
    return replace(lakehouse, objects=endpoint_of(root, lakehouse, role))

"""Who may do what with a bucket: seen and put right, one user of the S3 server per producer and consumer.

Belongs here: a bucket's grants against what the server knows of its users. Not here: how a server is asked
(tools/objects/access.py), the bucket's own settings (layers/buckets/adapter.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from homelab_platform.lab.resolved import ResolvedGrant
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.access import (
    KeyFile,
    NoUsers,
    ObjectAccess,
    Policy,
    endpoint_for,
    names_in,
    policy_document,
    same_policy,
    user_of,
)
from homelab_platform.tools.objects.errors import CredentialsRefused
from homelab_platform.tools.objects.users import open_access

Grants = Mapping[str, ResolvedGrant]
"""What each user may do, by name."""


class BucketAccess:
    """The users of a site's S3 server, as far as its buckets are concerned. Open it for a few looks, then drop it."""

    def __init__(self, lakehouse: Lakehouse, keys: KeyFile) -> None:
        self._lakehouse = lakehouse
        self._keys = keys
        self._access: ObjectAccess = open_access(lakehouse.objects)

    def differences(self, bucket: str, grants: Grants) -> list[str]:
        """Where the server's users are not as they should be for this bucket, each in a line for people."""
        found: list[str] = []
        for role, grant in sorted(grants.items()):
            user = self._user(role)
            if not self._lets_in(user):
                found.append(f"the key of {role} is not accepted")
                continue
            wanted = self._policy(bucket, grant)
            has = self._access.policies(user).get(bucket)
            if not same_policy(has, wanted):
                found.append(f"{role} may {_said(has)}, not {_said(wanted)}")
        for role in self._others(bucket, grants):
            found.append(f"{role} has rights that the lab does not give")
        return found

    def put_right(self, bucket: str, grants: Grants) -> None:
        """Make users, keys and policies as they should be. Safe to repeat."""
        for role, grant in sorted(grants.items()):
            user = self._user(role)
            if not self._lets_in(user):
                self._access.ensure(user, self._keys.get(user))
            wanted = self._policy(bucket, grant)
            if not same_policy(self._access.policies(user).get(bucket), wanted):
                self._access.set_policy(user, bucket, wanted)
        for role in self._others(bucket, grants):
            self._access.set_policy(self._user(role), bucket, None)

    def take_away(self, bucket: str) -> None:
        """Nobody may do anything with this bucket any more; users who are left without any right go."""
        for role in self._others(bucket, {}):
            user = self._user(role)
            self._access.set_policy(user, bucket, None)
            if not self._access.policies(user):
                self._access.remove(user)
                self._keys.forget(user)

    def _user(self, role: str) -> str:
        return user_of(self._lakehouse.raw_bucket, role)

    def _policy(self, bucket: str, grant: ResolvedGrant) -> Policy:
        return policy_document(bucket, grant.right, grant.under)

    def _lets_in(self, user: str) -> bool:
        """Whether the server knows this user by our key, and takes its secret."""
        from homelab_platform.tools.objects.client import ObjectStore

        key = self._keys.get(user)
        if self._access.key_of(user) != key.access_key:
            return False
        try:
            with ObjectStore(endpoint_for(self._lakehouse.objects, self._keys, user), retries=2, timeout=10) as store:
                store.buckets()
        except CredentialsRefused as error:
            return "(AccessDenied)" in str(error)  # known, and not allowed to see which buckets there are
        return True

    def _others(self, bucket: str, grants: Grants) -> list[str]:
        """Roles of this site with a policy for this bucket that it does not give them."""
        prefix = self._user("")
        own = [user.removeprefix(prefix) for user in self._access.users() if user.startswith(prefix)]
        return [role for role in own if role not in grants and bucket in self._access.policies(self._user(role))]


def rows(grants: Grants) -> list[dict[str, str]]:
    """The grants for people: who, what, under which prefixes."""
    return [
        {"user": role, "may": grant.right, "under": ", ".join(grant.under).strip() or "everything"}
        for role, grant in sorted(grants.items())
    ]


def open_bucket_access(lakehouse: Lakehouse, keys: KeyFile | None) -> tuple[BucketAccess | None, str]:
    """The users of the site's server; None, and why, when this site or this server has none."""
    if keys is None:
        return None, "this site keeps no keys"
    try:
        return BucketAccess(lakehouse, keys), ""
    except NoUsers as error:
        return None, error.problems[0].what


def _said(policy: Policy | None) -> str:
    """A policy in few words: `put environment/*`."""
    if policy is None:
        return "nothing"
    actions: set[str] = set()
    places: set[str] = set()
    for statement in policy.get("Statement", ()):
        actions.update(names_in(statement.get("Action", ())))
        places.update(names_in(statement.get("Resource", ())))
    verbs = [
        verb
        for action, verb in (
            ("s3:GetObject", "read"),
            ("s3:PutObject", "put"),
            ("s3:DeleteObject", "delete"),
            ("s3:ListBucket", "list"),
        )
        if action in actions or "s3:*" in actions
    ]
    under = sorted(place.partition(":::")[2].partition("/")[2] for place in places if "/" in place)
    return f"{'+'.join(verbs) or 'do other things'} {', '.join(under) or 'the whole bucket'}"

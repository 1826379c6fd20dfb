"""Who may do what with which bucket: users of the S3 server, each with one key and the least rights that it needs.

Belongs here: what a right means as a policy, the users' keys on disk, and what every S3 server with users can be asked.
Not here: how a particular server is asked (access_minio.py, access_seaweedfs.py), or who gets which right
(lab/resolve/data.py).

Policies are those of Amazon's IAM (version 2012-10-17), which MinIO and SeaweedFS both take.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypedDict

from homelab_platform.errors import HomelabError
from homelab_platform.files import locked, write_whole
from homelab_platform.names import RAW_BUCKET
from homelab_platform.tools.endpoints import ObjectsEndpoint

KEYS_FILE = "object-keys.json"
RIGHTS = {
    "put": ("s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"),
    "read": ("s3:GetObject",),
    "change": ("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
}
"""What each right allows with objects. `put` reads too, because a write whose answer was lost is compared with what is
there; it neither lists nor deletes. `read` and `change` also list the bucket. Only actions that every server knows:
SeaweedFS takes `s3:GetBucketLocation` for the right to read all objects of the bucket."""
LISTS = ("s3:ListBucket",)


class Statement(TypedDict, total=False):
    """A statement of a policy, in the language of Amazon's IAM; there is more to it than is read here."""

    Sid: str
    Effect: str
    Principal: object
    Action: str | Sequence[str]
    Resource: str | Sequence[str]


class Policy(TypedDict, total=False):
    """A policy of a user or a bucket."""

    Version: str
    Statement: Sequence[Statement]


class NoUsers(HomelabError):
    """The S3 server is of a kind whose users this project does not know to make."""


@dataclass(frozen=True)
class AccessKey:
    """The key of one user of the S3 server."""

    access_key: str
    secret_key: str = field(repr=False)


class ObjectAccess(Protocol):
    """The users of an S3 server. Each call may be repeated without harm and raises HomelabError when refused."""

    def key_of(self, user: str) -> str | None:
        """The access key with which this user is known and allowed in; None when there is no such user."""
        ...

    def ensure(self, user: str, key: AccessKey) -> None:
        """Make the user, if need be, and this its one key."""
        ...

    def policies(self, user: str) -> Mapping[str, Policy]:
        """The user's policies by name; empty when there is no such user."""
        ...

    def set_policy(self, user: str, name: str, policy: Policy | None) -> None:
        """Give the user this policy under this name, or take it away."""
        ...

    def users(self) -> Sequence[str]:
        """The names of the users that were made through this interface."""
        ...

    def remove(self, user: str) -> None:
        """Take the user away with its key and policies; a missing one is no error."""
        ...


def policy_document(bucket: str, right: str, prefixes: Sequence[str]) -> Policy:
    """The policy of one right on a bucket's objects under `prefixes` ("" means all of them)."""
    resources = [f"arn:aws:s3:::{bucket}/{prefix}*" for prefix in sorted(set(prefixes))]
    statements: list[Statement] = [{"Effect": "Allow", "Action": sorted(RIGHTS[right]), "Resource": resources}]
    if right != "put":
        listed: Statement = {
            "Effect": "Allow",
            "Action": sorted(LISTS),
            "Resource": [f"arn:aws:s3:::{bucket}"],
        }
        statements.append(listed)
    return {"Version": "2012-10-17", "Statement": statements}


def names_in(value: str | Sequence[str]) -> list[str]:
    """The actions or resources of a statement, of which one alone may stand without a list."""
    return [value] if isinstance(value, str) else list(value)


def same_policy(one: Policy | None, other: Policy | None) -> bool:
    """Whether two policies say the same, whatever the order of their lists and whether a list of one is a list."""
    return one is not None and other is not None and _plain(one) == _plain(other)


def _plain(policy: Policy) -> list[str]:
    found = []
    for statement in policy.get("Statement", ()):
        lists = {
            "Action": sorted(names_in(statement.get("Action", ()))),
            "Resource": sorted(names_in(statement.get("Resource", ()))),
        }
        rest = {name: value for name, value in statement.items() if name not in {"Action", "Resource", "Sid"} and value}
        found.append(json.dumps({**rest, **lists}, sort_keys=True))
    return sorted(found)


class KeyFile:
    """The keys of a site's users: a file for the owner's eyes only, beside the site's other secrets."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / KEYS_FILE

    def get(self, user: str) -> AccessKey:
        """The key of a user, made up on first use and the same ever after."""
        found = self._load()
        if user in found:
            return found[user]
        with locked(self._file.with_suffix(".lock")):
            found = self._load()
            if user not in found:
                short = "".join(letter for letter in user if letter.isalnum())[:12]
                found[user] = AccessKey(f"{short}{secrets.token_hex(6)}", secrets.token_urlsafe(30))
                self._save(found)
        return found[user]

    def find(self, user: str) -> AccessKey | None:
        """The key of a user; None when it never was given one."""
        return self._load().get(user)

    def forget(self, user: str) -> None:
        """Drop the key, so that the next `get` makes another."""
        with locked(self._file.with_suffix(".lock")):
            found = self._load()
            if found.pop(user, None) is not None:
                self._save(found)

    def _load(self) -> dict[str, AccessKey]:
        try:
            raw = json.loads(self._file.read_text())
            return {user: AccessKey(**key) for user, key in raw.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            raise HomelabError.of(
                str(self._file),
                "cannot be understood",
                "Move it away and run `homelab apply`: every user of the S3 server gets a new key.",
            ) from None

    def _save(self, keys: Mapping[str, AccessKey]) -> None:
        write_whole(self._file, json.dumps({user: vars(key) for user, key in sorted(keys.items())}, indent=1))


def user_of(raw_bucket: str, role: str) -> str:
    """The name of a role's user on the S3 server of the site whose raw bucket this is.

    Sites that share a server have raw buckets of different names, and so users of different names.
    """
    return role if raw_bucket == RAW_BUCKET else f"{raw_bucket.replace('.', '-')}-{role}"


def endpoint_for(site: ObjectsEndpoint, keys: KeyFile, user: str) -> ObjectsEndpoint:
    """The same server, with the key of one user."""
    key = keys.get(user)
    return replace(site, access_key=key.access_key, secret_key=key.secret_key)

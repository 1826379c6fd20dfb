"""Users, keys and policies of MinIO, through its admin interface.

Belongs here: how MinIO is asked. Not here: what a right means (object_access.py). On MinIO a user's name is its access
key, so the user of a role is found by the mark that its policies' names carry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.object_access import AccessKey
from homelab_platform.tools.objects_body import first_line, reason
from homelab_platform.tools.objects_http import make_http

if TYPE_CHECKING:
    from minio import MinioAdmin

MARK = "homelab."
_MISSING = {"XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"}
_DONE_ALREADY = "XMinioAdminPolicyChangeAlreadyApplied"


class MinioAccess:
    """The users of one MinIO server."""

    def __init__(self, endpoint: ObjectsEndpoint) -> None:
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        self._endpoint = endpoint
        scheme, _, rest = endpoint.url.partition("://")
        self._admin: MinioAdmin = MinioAdmin(
            endpoint=rest.rstrip("/"),
            credentials=StaticProvider(endpoint.access_key, endpoint.secret_key),
            region=endpoint.region,
            secure=scheme == "https",
            http_client=make_http(3, 15),
        )
        self._listed: list[tuple[str, Mapping[str, Any]]] | None = None  # its answers cost half a second of CPU each

    def key_of(self, user: str) -> str | None:
        """The access key of a user that is enabled."""
        return next((key for key, info in self._users(user) if info.get("status") == "enabled"), None)

    def ensure(self, user: str, key: AccessKey) -> None:
        """Make or renew the user; one of the same role with another key goes."""
        with self._errors(user):
            for other, _ in list(self._users(user)):
                if other != key.access_key:
                    self._admin.user_remove(other)
            self._admin.user_add(key.access_key, key.secret_key)
            self._admin.policy_add(f"{MARK}{user}", policy=_MEMBERSHIP)
        self._listed = None
        self._attach(user, key.access_key, f"{MARK}{user}")

    def policies(self, user: str) -> Mapping[str, Mapping[str, Any]]:
        """What is attached, without the mark itself."""
        found: dict[str, Mapping[str, Any]] = {}
        for _, info in self._users(user):
            for name in filter(None, str(info.get("policyName") or "").split(",")):
                if name.startswith(f"{MARK}{user}."):
                    with self._errors(user):
                        document = json.loads(self._admin.policy_info(name))
                    found[name.removeprefix(f"{MARK}{user}.")] = document.get("Policy", document)
        return found

    def set_policy(self, user: str, name: str, policy: Mapping[str, Any] | None) -> None:
        """Policies of MinIO stand for themselves and are attached; the name says whose this one is."""
        full = f"{MARK}{user}.{name}"
        key = self.key_of(user)
        if policy is not None and key is not None:
            with self._errors(user):
                self._admin.policy_add(full, policy=dict(policy))
            self._attach(user, key, full)
        elif policy is None:
            with self._errors(user, missing_ok=True):
                if key is not None:
                    self._admin.detach_policy([full], user=key)
            with self._errors(user, missing_ok=True):
                self._admin.policy_remove(full)
            self._listed = None

    def users(self) -> Sequence[str]:
        """The roles that somebody carries the mark of."""
        return sorted({role for _, info in self._all() if (role := _role(info))})

    def remove(self, user: str) -> None:
        """The user first, then its policies."""
        names = [f"{MARK}{user}.{name}" for name in self.policies(user)]
        for key, _ in self._users(user):
            with self._errors(user, missing_ok=True):
                self._admin.user_remove(key)
        for name in (*names, f"{MARK}{user}"):
            with self._errors(user, missing_ok=True):
                self._admin.policy_remove(name)
        self._listed = None

    def _attach(self, user: str, key: str, policy: str) -> None:
        with self._errors(user, missing_ok=True):
            self._admin.attach_policy([policy], user=key)
        self._listed = None

    def _all(self) -> list[tuple[str, Mapping[str, Any]]]:
        if self._listed is None:
            with self._errors(""):
                self._listed = sorted(json.loads(self._admin.user_list()).items())
        return self._listed

    def _users(self, role: str) -> list[tuple[str, Mapping[str, Any]]]:
        return [(key, info) for key, info in self._all() if _role(info) == role]

    @contextmanager
    def _errors(self, user: str, *, missing_ok: bool = False) -> Iterator[None]:
        from minio.error import MinioAdminException
        from urllib3.exceptions import HTTPError

        place = f"{self._endpoint.url} user {user}" if user else self._endpoint.url
        try:
            yield
        except MinioAdminException as error:
            code = _code(error)
            if code == _DONE_ALREADY or (missing_ok and code in _MISSING):
                return
            raise HomelabError.of(
                place, f"MinIO refused: {code}", f"The key {self._endpoint.access_key} must be the server's own."
            ) from None
        except HTTPError as error:
            raise HomelabError.of(
                place, f"cannot reach the S3 server: {reason(error)}", "Start the site with `homelab up`, or check it."
            ) from None


_MEMBERSHIP: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["arn:aws:s3:::*"]}],
}
"""What the mark itself allows: to see which buckets there are, which MinIO narrows to those one may enter."""


def _role(info: Mapping[str, Any]) -> str | None:
    """Whose role a user has: the mark without a further dot."""
    names = str(info.get("policyName") or "").split(",")
    roles = [name.removeprefix(MARK) for name in names if name.startswith(MARK)]
    return next((role for role in roles if "." not in role), None)


def _code(error: Exception) -> str:
    body = getattr(error, "_body", "")
    try:
        return str(json.loads(body)["Code"])
    except (ValueError, TypeError, KeyError):
        return first_line(error)

"""Users, keys and policies of MinIO, through its admin interface.

Belongs here: how MinIO is asked. Not here: what a right means (access.py). On MinIO a user's name is its access
key, so the user of a role is found by the mark that its policies' names carry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.access import AccessKey, Policy
from homelab_platform.tools.objects.body import first_line, reason
from homelab_platform.tools.objects.http import make_http

if TYPE_CHECKING:
    from minio import MinioAdmin

MARK = "homelab."
_MISSING = {"XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"}


class _User(TypedDict, total=False):
    """What MinIO's list says of a user: whether it may come in, and the names of its policies."""

    status: str
    policyName: str


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
        self._listed: dict[str, _User] | None = None  # the question costs a tenth of a CPU-second

    def key_of(self, user: str) -> str | None:
        """The access key of a user that is enabled."""
        return next((key for key, info in self._users(user) if info.get("status") == "enabled"), None)

    def ensure(self, user: str, key: AccessKey) -> None:
        """Make or renew the user; one of the same role with another key goes."""
        for other in [name for name, _ in self._users(user) if name != key.access_key]:
            with self._errors(user, missing_ok=True):
                self._admin.user_remove(other)
            self._all().pop(other, None)
        names = self._attached(key.access_key)
        with self._errors(user):
            self._admin.user_add(key.access_key, key.secret_key)
            self._admin.policy_add(f"{MARK}{user}", policy={**_MEMBERSHIP})
        self._all()[key.access_key] = {"status": "enabled"}
        self._attach(user, key.access_key, {*names, f"{MARK}{user}"})

    def policies(self, user: str) -> Mapping[str, Policy]:
        """What is attached, without the mark itself."""
        found: dict[str, Policy] = {}
        for _, info in self._users(user):
            for name in str(info.get("policyName") or "").split(","):
                if name.startswith(f"{MARK}{user}."):
                    with self._errors(user):
                        document = json.loads(self._admin.policy_info(name))
                    found[name.removeprefix(f"{MARK}{user}.")] = document.get("Policy", document)
        return found

    def set_policy(self, user: str, name: str, policy: Policy | None) -> None:
        """Policies of MinIO stand for themselves and are attached; the name says whose this one is."""
        full, key = f"{MARK}{user}.{name}", self.key_of(user)
        if policy is not None:
            with self._errors(user):
                self._admin.policy_add(full, policy={**policy})
        if key is not None:
            names = self._attached(key) - {full}
            self._attach(user, key, names | ({full} if policy is not None else set()))
        if policy is None:
            with self._errors(user, missing_ok=True):
                self._admin.policy_remove(full)

    def users(self) -> Sequence[str]:
        """The roles that somebody carries the mark of."""
        return sorted({role for info in self._all().values() if (role := _role(info))})

    def remove(self, user: str) -> None:
        """The user first, then its policies."""
        names = [f"{MARK}{user}.{name}" for name in self.policies(user)]
        for key in [key for key, _ in self._users(user)]:
            with self._errors(user, missing_ok=True):
                self._admin.user_remove(key)
            self._all().pop(key, None)
        for name in (*names, f"{MARK}{user}"):
            with self._errors(user, missing_ok=True):
                self._admin.policy_remove(name)

    def _attach(self, user: str, key: str, policies: set[str]) -> None:
        """Make these the user's policies. The newer call for it costs a second of key derivation on both sides."""
        names = ",".join(sorted(policies))
        if policies != self._attached(key):
            with self._errors(user):
                self._admin.policy_set(names, user=key)
            self._all()[key] = {**self._all().get(key, _User()), "policyName": names}

    def _attached(self, key: str) -> set[str]:
        return set(filter(None, str(self._all().get(key, _User()).get("policyName") or "").split(",")))

    def _all(self) -> dict[str, _User]:
        if self._listed is None:
            with self._errors(""):
                self._listed = dict(json.loads(self._admin.user_list()))
        return self._listed

    def _users(self, role: str) -> list[tuple[str, _User]]:
        return sorted((key, info) for key, info in self._all().items() if _role(info) == role)

    @contextmanager
    def _errors(self, user: str, *, missing_ok: bool = False) -> Iterator[None]:
        from minio.error import MinioAdminException
        from urllib3.exceptions import HTTPError

        place = f"{self._endpoint.url} user {user}" if user else self._endpoint.url
        try:
            yield
        except MinioAdminException as error:
            code = _code(error)
            if missing_ok and code in _MISSING:
                return
            raise HomelabError.of(
                place, f"MinIO refused: {code}", f"The key {self._endpoint.access_key} must be the server's own."
            ) from None
        except HTTPError as error:
            raise HomelabError.of(
                place, f"cannot reach the S3 server: {reason(error)}", "Start the site with `homelab up`, or check it."
            ) from None


_MEMBERSHIP: Policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["arn:aws:s3:::*"]}],
}
"""What the mark itself allows: to see which buckets there are, which MinIO narrows to those one may enter."""


def _role(info: _User) -> str | None:
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

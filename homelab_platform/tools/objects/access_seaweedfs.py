"""Users, keys and policies of SeaweedFS, through the IAM interface on its S3 port.

Belongs here: how SeaweedFS is asked. Not here: what a right means (access.py). Actions are those of Amazon's IAM
(API version 2010-05-08); that a caller may choose key and secret is SeaweedFS's own addition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote, urlencode, urlsplit
from xml.etree import ElementTree

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import ObjectsEndpoint
from homelab_platform.tools.objects.access import AccessKey, Policy
from homelab_platform.tools.objects.body import reason
from homelab_platform.tools.objects.http import make_http

MARK = "homelab."
VERSION = "2010-05-08"


class SeaweedAccess:
    """The users of one SeaweedFS server."""

    def __init__(self, endpoint: ObjectsEndpoint) -> None:
        self._endpoint = endpoint
        self._http = make_http(3, 15)

    def key_of(self, user: str) -> str | None:
        """The access key of a user that is active."""
        found = self._ask("ListAccessKeys", user)
        if found is None:
            return None
        for member in _every(found, "member"):
            if _text(member, "Status") in {"", "Active"} and _text(member, "AccessKeyId"):
                return _text(member, "AccessKeyId")
        return None

    def ensure(self, user: str, key: AccessKey) -> None:
        """Make the user, and replace whatever keys it has: the server does not show a secret, so it is set anew."""
        found = self._ask("ListAccessKeys", user)
        if found is None or self._ask("GetUser", user) is None:
            self._ask("CreateUser", user)
        for member in [] if found is None else _every(found, "member"):
            if _text(member, "AccessKeyId"):
                self._ask("DeleteAccessKey", user, AccessKeyId=_text(member, "AccessKeyId"))
        self._ask("CreateAccessKey", user, AccessKeyId=key.access_key, SecretAccessKey=key.secret_key)

    def policies(self, user: str) -> Mapping[str, Policy]:
        """The user's own policies."""
        listed = self._ask("ListUserPolicies", user)
        names = [] if listed is None else [found.text or "" for found in _every(listed, "member")]
        policies: dict[str, Policy] = {}
        for name in filter(None, names):
            found = self._ask("GetUserPolicy", user, PolicyName=name)
            text = "" if found is None else _text(found, "PolicyDocument")
            if text:
                policies[name] = json.loads(text if text.lstrip().startswith("{") else unquote(text))
        return policies

    def set_policy(self, user: str, name: str, policy: Policy | None) -> None:
        """Put or delete a policy of the user's own."""
        if policy is None:
            if name in self.policies(user):
                self._ask("DeleteUserPolicy", user, PolicyName=name)
            return
        self._ask("PutUserPolicy", user, PolicyName=name, PolicyDocument=json.dumps(policy))

    def users(self) -> Sequence[str]:
        """Those whose name carries the mark."""
        found = self._ask("ListUsers", None)
        names = [] if found is None else [_text(member, "UserName") for member in _every(found, "member")]
        return sorted(name.removeprefix(MARK) for name in names if name.startswith(MARK))

    def remove(self, user: str) -> None:
        """The policies first: a user of this name made later would find them again."""
        for name in self.policies(user):
            self._ask("DeleteUserPolicy", user, PolicyName=name)
        self._ask("DeleteUser", user)

    def _ask(self, action: str, user: str | None, **values: str) -> ElementTree.Element | None:
        """One call; None when there is no such user or policy. Raises HomelabError when it is refused."""
        from urllib3.exceptions import HTTPError

        fields = {"Action": action, "Version": VERSION, **values}
        if user is not None:
            fields["UserName"] = f"{MARK}{user}"
        body = urlencode(fields).encode()
        place = f"{self._endpoint.url} user {user}" if user else self._endpoint.url
        try:
            answer = self._http.urlopen("POST", f"{self._endpoint.url}/", body=body, headers=self._signed(body))
        except HTTPError as error:
            raise HomelabError.of(
                place, f"cannot reach the S3 server: {reason(error)}", "Start the site with `homelab up`, or check it."
            ) from None
        if answer.status == 200:
            return _parse(answer.data, place)
        code = _code(answer.data) or f"HTTP {answer.status}"
        if code == "NoSuchEntity":
            return None
        raise HomelabError.of(
            place,
            f"SeaweedFS refused {action}: {code}",
            f"The key {self._endpoint.access_key} must be an administrator's, and the server must let keys be made "
            "(-s3.iam.readOnly=false).",
        )

    def _signed(self, body: bytes) -> Mapping[str, str]:
        from minio.credentials.credentials import Credentials
        from minio.signer import sign_v4_sts

        now, digest = datetime.now(UTC), hashlib.sha256(body).hexdigest()
        url = urlsplit(f"{self._endpoint.url}/")
        headers: dict[str, str | list[str] | tuple[str]] = {
            "Host": url.netloc,
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Amz-Date": now.strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Content-Sha256": digest,
        }
        signed = sign_v4_sts(
            method="POST",
            url=url,
            region=self._endpoint.region,
            headers=headers,
            credentials=Credentials(self._endpoint.access_key, self._endpoint.secret_key),
            content_sha256=digest,
            date=now,
        )
        return {name: str(value) for name, value in signed.items()}


def _parse(data: bytes, place: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)  # noqa: S314 (our own server's answer)
    except ElementTree.ParseError:
        raise HomelabError.of(
            place, "the S3 server's answer is no XML", "Look into the log of the S3 server."
        ) from None


def _every(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [found for found in element.iter() if found.tag.rsplit("}", 1)[-1] == name]


def _text(element: ElementTree.Element, name: str) -> str:
    found = _every(element, name)
    return (found[0].text or "") if found else ""


def _code(data: bytes) -> str:
    try:
        return _text(ElementTree.fromstring(data), "Code")  # noqa: S314 (our own server's answer)
    except ElementTree.ParseError:
        return ""

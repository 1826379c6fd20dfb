"""S3 requests as they go over the wire, one at a time and never repeated.

Belongs here: signing, sending, and reading the answer's XML, for questions that a client library would hide (a refused
condition, a torn upload, a header of its own choosing). Not here: the questions (questions_*.py).

Signature Version 4 is the library's (`minio.signer`); the payload is hashed, or declared UNSIGNED-PAYLOAD where a test
sends only a part of it.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit
from xml.etree import ElementTree

from homelab_platform.tools.endpoints import ObjectsEndpoint

if TYPE_CHECKING:
    from minio.credentials.credentials import Credentials

UNSIGNED = "UNSIGNED-PAYLOAD"
TIMEOUT = 180.0  # seconds: a busy machine is not a server that fails


@dataclass(frozen=True)
class Reply:
    """An answer: `headers` by names in lower letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the server turned the caller away: 403, or 400 or 401 from servers that put it so."""
        return self.status in {400, 401, 403}

    @property
    def etag(self) -> str:
        """The etag without its quotes."""
        return self.headers.get("etag", "").strip('"')

    @property
    def code(self) -> str:
        """The error's S3 code, or the HTTP status where there is none."""
        return next(iter(self.texts("Code")), "") or f"HTTP {self.status}"

    def texts(self, name: str) -> list[str]:
        """The texts of all elements of this name in the answer's XML."""
        try:
            tree = ElementTree.fromstring(self.body)  # noqa: S314 (a server that the caller chose to ask)
        except ElementTree.ParseError:
            return []
        return [found.text or "" for found in tree.iter() if found.tag.rsplit("}", 1)[-1] == name]


class Wire:
    """Requests to one S3 server. Raises urllib3's errors when nothing answers."""

    def __init__(self, endpoint: ObjectsEndpoint) -> None:
        from urllib3 import PoolManager, Timeout

        self.endpoint = endpoint
        self._http = PoolManager(timeout=Timeout(connect=5, read=TIMEOUT), maxsize=32, retries=False)

    def close(self) -> None:
        """Close all connections."""
        self._http.clear()

    def with_key(self, access_key: str, secret_key: str) -> Wire:
        """The same server, asked with another key."""
        return Wire(replace(self.endpoint, access_key=access_key, secret_key=secret_key))

    def ask(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload: str | None = None,
    ) -> Reply:
        """One signed request; `payload` is the value of x-amz-content-sha256 where it is not the body's own hash."""
        url = self._url(bucket, key, query or {})
        digest = payload or hashlib.sha256(body).hexdigest()
        signed = self._signed(method, url, digest, headers or {})
        return self._send(method, url.geturl(), signed, body)

    def anonymous(self, method: str, bucket: str, key: str = "", body: bytes = b"") -> Reply:
        """One request that nobody signed."""
        return self._send(method, self._url(bucket, key, {}).geturl(), {}, body)

    def plain(self, method: str, url: str, body: bytes = b"") -> Reply:
        """One request to a URL that carries its own signature."""
        return self._send(method, url, {}, body)

    def presigned(self, method: str, bucket: str, key: str, seconds: int) -> str:
        """A URL that is good for `seconds` (query authentication of Signature Version 4)."""
        from minio.signer import presign_v4

        url = presign_v4(
            method=method,
            url=self._url(bucket, key, {}),
            region=self.endpoint.region,
            credentials=self._credentials(),
            date=datetime.now(UTC),
            expires=int(timedelta(seconds=seconds).total_seconds()),
        )
        return url.geturl()

    def begin_put(self, bucket: str, key: str, length: int, data: bytes) -> socket.socket:
        """Announce an object of `length` bytes and send only `data` of it; the caller closes the connection."""
        url = self._url(bucket, key, {})
        signed = self._signed("PUT", url, UNSIGNED, {"Content-Length": str(length)})
        lines = [f"PUT {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in signed.items()), "", ""]
        connection = socket.create_connection((url.hostname or "", url.port or 80), timeout=TIMEOUT)
        connection.sendall("\r\n".join(lines).encode())
        with suppress(OSError):  # the server may end it at any moment, and that is what is being looked at
            connection.sendall(data)
        return connection

    def _credentials(self) -> Credentials:
        from minio.credentials.credentials import Credentials

        return Credentials(self.endpoint.access_key, self.endpoint.secret_key)

    def _url(self, bucket: str, key: str, query: Mapping[str, str]) -> SplitResult:
        base = urlsplit(self.endpoint.url.rstrip("/"))
        path = "/" + "/".join(filter(None, (bucket, quote(key, safe="/~"))))
        text = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        return SplitResult(base.scheme, base.netloc, path, text, "")

    def _signed(self, method: str, url: SplitResult, digest: str, more: Mapping[str, str]) -> dict[str, str]:
        from minio.signer import sign_v4_s3

        now = datetime.now(UTC)
        headers: dict[str, Any] = {
            "Host": url.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": digest,
            **more,
        }
        signed = sign_v4_s3(
            method=method,
            url=url,
            region=self.endpoint.region,
            headers=headers,
            credentials=self._credentials(),
            content_sha256=digest,
            date=now,
        )
        return {name: str(value) for name, value in signed.items()}

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        found = self._http.request(method, url, headers=dict(headers), body=body or None, retries=False)
        return Reply(found.status, {name.lower(): value for name, value in found.headers.items()}, found.data)

"""One immutable object to a bucket of any S3 server: PUT signed with Signature Version 4, by the standard library.

Belongs here: the request and its signature. Not here: what the object holds (homelab_door.py) or NiFi (PutReadings.py).

Sources: AWS Signature Version 4 ("Create a signed AWS API request"), S3 API reference of PutObject, RFC 9110 for
If-None-Match. Python 3.9 or later.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import quote, urlsplit

ATTEMPTS = 3
FIRST_PAUSE = 0.1
REST = 1.0
"""Seconds for which nobody tries again once the bucket has failed: callers wait no time-out each."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_BUSY = (429, 500, 502, 503, 504)


class Unavailable(Exception):
    """The object is not in the bucket, and trying again later may help. `tried` says that the bucket was asked."""

    def __init__(self, reason: str, *, tried: bool = True) -> None:
        super().__init__(reason)
        self.tried = tried


class Target(NamedTuple):
    """A bucket and the key to it. `repr` is never logged: it holds the secret."""

    url: str
    bucket: str
    region: str
    access_key: str
    secret_key: str


def sign(target: Target, path: str, headers: dict[str, str], payload_sha256: str, now: datetime) -> dict[str, str]:
    """The headers of a PUT without a query, with its signature. `path` is percent-encoded; `now` is UTC."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{target.region}/s3/aws4_request"
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"x-amz-date": stamp, "x-amz-content-sha256": payload_sha256}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = f"PUT\n{path}\n\n{lines}\n{names}\n{payload_sha256}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{target.secret_key}".encode()
    for part in (stamp[:8], target.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={target.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return signed | {"authorization": f"{_ALGORITHM} {credential}"}


class Writer:
    """Writes objects to one bucket, over connections that are kept, one for each thread."""

    def __init__(self, target: Target, timeout: float = 10) -> None:
        """`timeout` in seconds, for each attempt."""
        self._target = target
        self._place = urlsplit(target.url)
        self._timeout = timeout
        self._mine = threading.local()
        self._rests_until = 0.0
        self._reason = ""

    def put(self, key: str, body: bytes, extra: Mapping[str, str] | None = None) -> bool:
        """Write the object; returns False if one of this key was there already.

        The key stands for the content, so that one already there is this one. Raises Unavailable with the reason; then
        it may or may not be in the bucket, and writing it again does no harm.
        """
        if time.monotonic() < self._rests_until:
            raise Unavailable(self._reason, tried=False)
        path = f"{self._place.path.rstrip('/')}/{quote(self._target.bucket)}/{quote(key, safe='/-_.~')}"
        digest = hashlib.sha256(body).hexdigest()
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                status, reason = self._send(path, body, digest, dict(extra or {}))
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                reason = f"cannot reach the bucket: {type(error).__name__}: {error}"
                if isinstance(error, (ConnectionRefusedError, TimeoutError)):
                    break
                continue
            if status in (200, 201, 204):
                self._rests_until = 0.0
                return True
            if status in (409, 412) and "If-None-Match" in (extra or {}):
                if status == 412:
                    return False
                continue  # 409: another writer of this key is under way
            if status not in _BUSY:
                break
        self._reason = reason
        self._rests_until = time.monotonic() + REST
        raise Unavailable(reason)

    def _send(self, path: str, body: bytes, digest: str, extra: dict[str, str]) -> tuple[int, str]:
        condition = {name: extra.pop(name) for name in ("If-None-Match",) if name in extra}
        headers = sign(self._target, path, {"Host": self._place.netloc, **extra}, digest, datetime.now(timezone.utc))
        connection, fresh = self._connection()
        try:
            connection.request("PUT", path, body, {**headers, **condition})
            answer = connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            if fresh:
                raise
            self._drop()  # a kept connection that the server has closed meanwhile says nothing about the server
            connection, _ = self._connection()
            connection.request("PUT", path, body, {**headers, **condition})
            answer = connection.getresponse()
        said = answer.read(2000).decode("utf-8", "replace")
        answer.read()
        code = said.partition("<Code>")[2].partition("</Code>")[0]
        return answer.status, f"the bucket answers {answer.status} {code or answer.reason}"

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        found = getattr(self._mine, "connection", None)
        if found is not None:
            return found, False
        host, port = self._place.hostname or "", self._place.port
        if self._place.scheme == "https":
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            made = http.client.HTTPConnection(host, port, timeout=self._timeout)
        self._mine.connection = made
        return made, True

    def _drop(self) -> None:
        found = getattr(self._mine, "connection", None)
        self._mine.connection = None
        if found is not None:
            with suppress(OSError):
                found.close()

"""The body of an object as a file that proves itself whole.

Belongs here: reading with the checks of length, etag and pace. Not here: requests (client.py).
"""

from __future__ import annotations

import hashlib
import io
import time
from typing import Any

from homelab_platform.tools.objects.errors import Truncated

CHUNK = 1 << 20
USER_METADATA = "x-amz-meta-"
PATIENCE = 30.0  # seconds before a slow answer is judged at all
SLOWEST = 16 * 1024  # bytes a second, on average, below which a transfer counts as stuck


class ObjectReader(io.RawIOBase):
    """An object's body as a file that is checked against the announced length and etag when it ends."""

    def __init__(self, response: Any, place: str) -> None:
        super().__init__()
        self._response = response
        self._place = place
        self.size = int(response.headers.get("content-length", -1))
        self.etag = str(response.headers.get("etag", "")).strip('"')
        self.metadata = {
            name[len(USER_METADATA) :].lower(): value
            for name, value in response.headers.items()
            if name.lower().startswith(USER_METADATA)
        }
        self._hash = hashlib.md5(usedforsecurity=False) if _is_md5(self.etag) else None
        self._seen = 0
        self._done = False
        self._begin = time.monotonic()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; 0 means the end, and that the body was whole. Raises Truncated or ObjectsUnreachable."""
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """The rest of the object."""
        parts = []
        while data := self._next(CHUNK):
            parts.append(data)
        return b"".join(parts)

    def _next(self, length: int) -> bytes:
        from urllib3.exceptions import HTTPError

        if self._done or length == 0:
            return b""
        try:
            data = bytes(self._response.read(min(length, CHUNK)))
        except HTTPError as error:
            raise Truncated.of(self._place, f"the body broke off after {self._seen} bytes: {reason(error)}") from None
        self._check_pace(len(data))
        if not data:
            self._check_whole()
        elif self._hash is not None:
            self._hash.update(data)
        return data

    def _check_pace(self, more: int) -> None:
        self._seen += more
        took = time.monotonic() - self._begin
        if took > PATIENCE and self._seen < SLOWEST * took and more:
            raise Truncated.of(self._place, f"only {self._seen} bytes came in {took:.0f} s; given up")

    def _check_whole(self) -> None:
        self._done = True
        if self.size >= 0 and self._seen != self.size:
            raise Truncated.of(self._place, f"the body has {self._seen} bytes, {self.size} were announced")
        if self._hash is not None and self._hash.hexdigest() != self.etag:
            raise Truncated.of(self._place, f"the body's MD5 differs from its etag {self.etag}")

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        if not self.closed:
            if self._done:
                self._response.release_conn()
            else:
                self._response.close()
        super().close()


def _is_md5(etag: str) -> bool:
    return len(etag) == 32 and all(letter in "0123456789abcdef" for letter in etag)


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type when it has none."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def reason(error: Exception) -> str:
    """Why a request failed, without the pool's own wrapping."""
    inner = getattr(error, "reason", None)
    text = first_line(inner if isinstance(inner, Exception) else error)
    return text.rsplit(": ", 1)[-1] if "HTTPConnection" in text else text

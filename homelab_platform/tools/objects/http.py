"""The HTTP side of the S3 client: bounded retries with jitter, and the conditional-write header.

Belongs here: what the `minio` library leaves to its HTTP pool. Not here: meaning of answers (client.py).

The library cannot send If-None-Match; its pool can. A header that is not part of the signature is allowed by
Signature Version 4, and conditional writes are defined on PutObject and CompleteMultipartUpload (S3 API reference).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib3 import PoolManager

REPEATED = (429, 500, 502, 503, 504)


@dataclass
class _Write:
    """The conditional write that the current thread is at: whether it was sent more than once."""

    retried: bool = False


_CURRENT: ContextVar[_Write | None] = ContextVar("conditional_write", default=None)


@contextmanager
def conditions(*, if_none_match: bool) -> Iterator[None]:
    """While inside, writes of this thread that create an object carry `If-None-Match: *`."""
    token = _CURRENT.set(_Write() if if_none_match else None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def was_retried() -> bool:
    """Whether the conditional write that this thread is at went out more than once."""
    write = _CURRENT.get()
    return write is not None and write.retried


def _creates_object(method: str, url: str) -> bool:
    if method == "PUT":
        return "uploadId=" not in url
    return method == "POST" and "uploadId=" in url


@cache
def _pool_class() -> type[PoolManager]:
    from urllib3 import PoolManager
    from urllib3._collections import HTTPHeaderDict

    class ConditionalPool(PoolManager):
        """A pool that adds the conditional-write header and notes repeats."""

        def urlopen(self, method: str, url: str, redirect: bool = True, **settings: Any) -> Any:  # type: ignore[override]
            write = _CURRENT.get()
            if write is None or not _creates_object(method, url):
                return super().urlopen(method, url, redirect, **settings)
            headers: Mapping[str, str] = settings.get("headers") or {}
            merged = HTTPHeaderDict(headers)
            merged["If-None-Match"] = "*"
            settings["headers"] = merged
            response = super().urlopen(method, url, redirect, **settings)
            write.retried = bool(response.retries and response.retries.history)
            return response

    return ConditionalPool


def make_http(retries: int, timeout: float) -> PoolManager:
    """A pool with `retries` repeats at most, exponential pauses with jitter (0.1 s to 5 s), `timeout` in seconds."""
    from urllib3 import Retry, Timeout

    repeat = Retry(
        total=retries,
        connect=min(retries, 3),
        allowed_methods=None,  # every S3 call of ours may be sent twice: writes are whole objects
        status_forcelist=REPEATED,
        backoff_factor=0.1,
        backoff_jitter=0.2,
        backoff_max=5,
        raise_on_status=False,
        respect_retry_after_header=False,  # a server must not make us wait for an hour
    )
    return _pool_class()(timeout=Timeout(connect=min(timeout, 5), read=timeout), maxsize=16, retries=repeat)

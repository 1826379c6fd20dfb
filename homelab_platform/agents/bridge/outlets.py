"""Where the bridge sends readings: the HTTP entrance of a stream's flow in NiFi, or straight into the raw bucket.

Belongs here: one batch of lines out of the house, and what went wrong with it: later it may work, or never as it is.
Not here: what the lines hold (payload.py), waiting and acknowledging (stream.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import orjson

from homelab_platform.agents.spool import digest_name
from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.durability import settle
from homelab_platform.wire.reading import object_key, pack

if TYPE_CHECKING:
    from homelab_platform.tools.objects.client import ObjectStore

TIMEOUT = 30.0
"""Seconds: the flow answers within 25, with 503 if need be."""
_LATER = frozenset({401, 403, 404, 405, 408, 425, 429})
"""Refusals that are not about the readings: a wrong token or address is put right by people."""


class Unavailable(Exception):
    """Nothing was stored, or nobody knows; the same lines may be sent again later."""


class Refused(Exception):
    """Nothing was stored, and these lines would be refused again; the text says why."""


class Outlet(Protocol):
    """A way out for whole lines."""

    def put(self, lines: bytes) -> None:
        """Store the lines; they are safe when this returns. Raises Unavailable or Refused. Repeating does no harm."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class BucketOutlet:
    """Objects of the raw bucket, under `<stream>/<day>/<producer>/`. `lakehouse` is asked anew after a failure."""

    def __init__(self, lakehouse: Callable[[], Lakehouse], stream: str, producer: str = "mqtt") -> None:
        self._lakehouse = lakehouse
        self._stream = stream
        self._producer = producer
        self._open: tuple[Lakehouse, ObjectStore] | None = None

    def put(self, lines: bytes) -> None:
        """One object for the lines."""
        self.put_at(self.key(lines), lines)

    def key(self, lines: bytes) -> str:
        """The key of an object with these lines that is made now; it holds their hash."""
        now = datetime.now(UTC)
        return object_key(self._stream, now.date(), self._producer, f"{now:%H%M%S}-{digest_name(lines)}")

    def put_at(self, key: str, lines: bytes) -> None:
        """The object with this key; the same key again, with the same lines, is the same object.

        Raises Unavailable.
        """
        from homelab_platform.tools.objects.client import AlreadyExists, ObjectStore

        try:
            if self._open is None:
                lakehouse = self._lakehouse()
                self._open = (lakehouse, ObjectStore(lakehouse.objects, retries=1, timeout=TIMEOUT))
            lakehouse, store = self._open
            with suppress(AlreadyExists):  # an earlier try wrote it and its answer was lost
                store.put(lakehouse.raw_bucket, key, pack(lines), if_none_match=True)
            settle(lakehouse.objects_folder)
        except HomelabError as error:
            self.close()
            raise Unavailable(error.problems[0].what) from None

    def close(self) -> None:
        """Close the connection to the bucket."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


class EntranceOutlet:
    """The HTTP entrance of a flow: 2xx comes after the object is in the bucket."""

    def __init__(self, url: str, token: str | None = None, *, producer: str = "mqtt") -> None:
        import urllib3

        self._url = url
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": f"homelab-{producer}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=TIMEOUT))

    def put(self, lines: bytes) -> None:
        """Post the lines."""
        from urllib3.exceptions import HTTPError

        try:
            answer = self._http.request("POST", self._url, body=lines, headers=self._headers)
        except HTTPError as error:
            raise Unavailable(f"{self._url}: {type(error).__name__}: {error}") from None
        if 200 <= answer.status < 300:
            return
        reason = f"{self._url} answers {answer.status}: {_said(answer.data)}"
        if 400 <= answer.status < 500 and answer.status not in _LATER:
            raise Refused(reason)
        raise Unavailable(reason)

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()


def _said(body: bytes) -> str:
    """The reasons that the flow's answer gives."""
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(body[:200].decode("utf-8", "replace").split())
    if not isinstance(answer, dict):
        return str(answer)[:200]
    items = answer.get("items")
    listed = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    reasons = "; ".join(str(item.get("reason")) for item in listed[:3])
    return f"{answer.get('error', '')}{f' ({reasons})' if reasons else ''}"

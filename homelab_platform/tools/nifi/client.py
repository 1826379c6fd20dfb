"""The HTTP side of NiFi's REST interface: calls, sign-in, requests that take their time, errors that name the place.

Belongs here: what every probe and change needs. Not here: what a flow is (definition.py) or looking at one and
changing it (flows.py). Bodies may hold secrets, so none is ever part of an error.

Source: NiFi REST API 2.x (`/nifi-api`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import NifiEndpoint

TIMEOUT = 60.0
REQUEST_TIMEOUT = 180.0
"""Seconds for a change that NiFi makes in the background (it stops and starts what the change touches)."""

Json = dict[str, Any]


class NifiUnreachable(HomelabError):
    """NiFi does not answer."""


class NifiRefused(HomelabError):
    """NiFi answered with an error; `status` is the HTTP status."""

    status: int = 0


class NifiClient:
    """Calls to one NiFi. Not shared between threads; `close()` it or use it with `with`."""

    def __init__(self, endpoint: NifiEndpoint, *, timeout: float = TIMEOUT) -> None:
        import urllib3

        self.endpoint = endpoint
        self.id = str(uuid.uuid4())
        self._token: str | None = None
        # urllib3 alone heeds no proxy settings or certificates of the environment
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=10, read=timeout),
            retries=urllib3.Retry(connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.3),
            ca_certs=str(endpoint.ca) if endpoint.ca else None,
        )

    def __enter__(self) -> NifiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.clear()

    def revision(self, version: int = 0) -> Json:
        """What NiFi wants to know of a change: who makes it, and on which version of the thing."""
        return {"clientId": self.id, "version": version}

    def get(self, path: str, **query: str) -> Json:
        """The JSON under a path below `/nifi-api`."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        what: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> Json:
        """One call. `what` names for people what it is about; `fields` makes it a multipart form.

        Raises NifiUnreachable, or NifiRefused with NiFi's own words.
        """
        status, data = self._send(method, path, body, query, fields)
        if status == 401 and self.endpoint.user:
            self._token = None
            status, data = self._send(method, path, body, query, fields)
        if status >= 400:
            said = " ".join(data.decode("utf-8", "replace").split())[:600] or f"HTTP {status}"
            error = NifiRefused.of(what or self.endpoint.url, f"NiFi refused: {said}", _remedy(status))
            error.status = status
            raise error
        try:
            found = json.loads(data) if data else {}
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {"value": found}

    def _send(
        self, method: str, path: str, body: object, query: Mapping[str, str] | None, fields: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        from urllib3.exceptions import HTTPError

        url = f"{self.endpoint.url.rstrip('/')}/nifi-api{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", **self._authorization()}
        try:
            if fields is not None:
                answer = self._http.request(method, url, fields=dict(fields), headers=headers)
            elif body is not None:
                headers["Content-Type"] = "application/json"
                answer = self._http.request(method, url, body=json.dumps(body).encode(), headers=headers)
            else:
                answer = self._http.request(method, url, headers=headers)
        except HTTPError as error:
            raise NifiUnreachable.of(
                self.endpoint.url,
                f"NiFi does not answer: {getattr(error, 'reason', None) or error}",
                "Start the site with `homelab up --profile full`, or look into NiFi's log.",
            ) from None
        return answer.status, answer.data

    def _authorization(self) -> dict[str, str]:
        """The token of a NiFi that asks who we are; none is asked for on loopback over plain HTTP."""
        if not self.endpoint.user:
            return {}
        if self._token is None:
            answer = self._http.request(
                "POST",
                f"{self.endpoint.url.rstrip('/')}/nifi-api/access/token",
                fields={"username": self.endpoint.user, "password": self.endpoint.password or ""},
                encode_multipart=False,
            )
            if answer.status >= 400:
                raise NifiRefused.of(
                    self.endpoint.url, f"NiFi does not let {self.endpoint.user} in", "Check the password reference."
                )
            self._token = answer.data.decode()
        return {"Authorization": f"Bearer {self._token}"}

    def finish(self, place: str, started: Json, what: str) -> Json:
        """Wait for a change that NiFi makes in the background, take its record away, and return the record.

        `place` is the path below which its requests lie, `started` what came back when it was asked for. Raises
        HomelabError with NiFi's reason when it failed or takes longer than three minutes.
        """
        request = started["request"]
        number = request["requestId"]
        deadline = time.monotonic() + REQUEST_TIMEOUT
        pause = 0.02
        while not request.get("complete"):
            if time.monotonic() > deadline:
                self.call("DELETE", f"{place}/{number}")
                raise HomelabError.of(what, f"NiFi is still at it: {request.get('state')}", "Look at its canvas.")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            request = self.get(f"{place}/{number}")["request"]
        self.call("DELETE", f"{place}/{number}")
        if request.get("failureReason"):
            raise HomelabError.of(what, f"NiFi could not do it: {request['failureReason']}")
        return dict(request)


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "The user needs the right to change flows, parameters and services."
    return "Somebody changed it at the same time; it will be tried again." if status == 409 else ""

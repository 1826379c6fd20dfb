"""What a stream's flow in NiFi is told: the values of the parameters that its definition declares.

Belongs here: one function for each kind of source, from the resolved stream to parameters. Not here: definitions
(nifi/flows/), giving the values to NiFi (nifi.py). A secret is looked up here and nowhere earlier.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.layers.flows.sources import POLLED
from homelab_platform.layers.flows.values import Given, Values

LOOPBACK = ("127.0.0.1", "localhost", "::1")
USUAL_PATH = "/readings"


def parameters(given: Given) -> Values:
    """The values for a stream. Raises HomelabError for a source that comes another way, or a missing secret."""
    source, known = given.declared.source, {**SOURCES, **POLLED}
    if source not in known:
        raise HomelabError.of(
            f"flow/{given.stream}", f"NiFi has no flow for {source}", f"There are: {', '.join(sorted(known))}."
        )
    own = known[source](given)
    bucket = {
        "stream": given.stream,
        "s3.endpoint": given.objects.url,
        "s3.bucket": given.bucket,
        "s3.region": given.objects.region,
        "s3.access_key": given.objects.access_key,
    }
    return Values({**bucket, **own.plain}, {"s3.secret_key": given.objects.secret_key, **own.secret})


def definition_of(source: str) -> str:
    """The flow definition that serves a kind of source: what comes by MQTT is posted by the bridge."""
    return "http" if source == "mqtt" else source


def has_entrance(source: str) -> bool:
    """Whether senders reach the flow of this kind of source."""
    return definition_of(source) == "http"


def path_of(stream: ResolvedStream) -> str:
    """The path that readings are posted to."""
    path = str(stream.source_settings.get("path") or USUAL_PATH) if stream.source == "http" else USUAL_PATH
    return path if path.startswith("/") else f"/{path}"


def _http(given: Given) -> Values:
    entrance = given.entrance
    if entrance is None:
        raise HomelabError.of(f"flow/{given.stream}", "has no entrance yet", "`homelab apply` makes one.")
    here = urlsplit(given.nifi.url).hostname in LOOPBACK
    plain = {
        "http.address": "127.0.0.1" if here else "0.0.0.0",  # noqa: S104 - in a pod of its own, behind a service
        "http.port": str(entrance.port),
        "http.path": re.escape(urlsplit(entrance.url).path),
        "http.zone": given.declared.tz or "",
    }
    return Values(plain, {"http.token": entrance.token})


SOURCES: dict[str, Callable[[Given], Values]] = {"http": _http, "mqtt": _http}
"""By kind of source; those that NiFi itself fetches are in sources.py."""

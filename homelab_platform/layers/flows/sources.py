"""What the flows of files and of polled addresses are told: from what the lab file says to their parameters.

Belongs here: one function for each of these sources, and making ready what its flow looks at. Not here: flows with an
entrance (parameters.py), the definitions themselves (nifi/flows/).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from homelab_platform.agents.drop.folders import folder_of as drop_folder
from homelab_platform.errors import HomelabError
from homelab_platform.layers.flows.values import Given, Values
from homelab_platform.secrets.values import lab_folder, reveal
from homelab_platform.wire.exposition import selectors

DAY = 86_400.0
LOOK_EVERY = 5
"""Seconds between looks into a drop folder, and for which a file must lie unchanged."""
STATISTICS = "/api/services/recorder/get_statistics?return_response"
"""Home Assistant's action that answers with statistics (REST API; since 2025.6)."""
_TYPES = ("mean", "min", "max", "state", "sum")


def folder_of(given: Given) -> Path:
    """The folder that a stream's files are dropped in; a relative one lies below the site's drop folder."""
    said = str(given.settings["path"])
    return drop_folder(given.nifi.drop.parent if given.nifi.drop else given.root, given.stream, said)


def prepare(given: Given) -> None:
    """Make what the flow looks at: a drop folder. Raises HomelabError when that is not possible."""
    if given.declared.source != "files":
        return
    folder = folder_of(given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomelabError.of(f"flow/{given.stream}", f"cannot make {folder}: {error.strerror}") from None


def _files(given: Given) -> Values:
    plain = {
        "files.folder": str(folder_of(given)),
        "files.every": f"{LOOK_EVERY} sec",
        "files.settled": f"{LOOK_EVERY} sec",
        "files.format": str(given.settings.get("format") or "any"),
        "files.columns": _json(given.settings.get("columns")),
        "files.device": _only(given.declared.devices),
        "files.sensor": _only(given.declared.sensors),
    }
    return Values(plain, {})


def _prometheus(given: Given) -> Values:
    settings = given.settings
    query = str(settings.get("query") or "")
    exporters = settings.get("exporter")
    if exporters:
        try:
            selectors(query)
        except ValueError as error:
            raise HomelabError.of(f"flow/{given.stream}", str(error), "Ask a Prometheus server (server:).") from None
        asked = {
            "poll.addresses": "\n".join(_metrics(str(one)) for one in exporters),
            "poll.kind": "exporter",
            "poll.accept": "text/plain;version=0.0.4",
            "poll.query": query,
        }
    else:
        server = _http(str(settings.get("server") or "")).rstrip("/")
        asked = {
            "poll.addresses": f"{server}/api/v1/query?query={quote(query, safe='')}",
            "poll.kind": "prometheus",
            "poll.accept": "application/json",
            "poll.query": "",
        }
    return Values({**asked, **_polled(given, "prometheus", 60)}, {})


def _http(address: str) -> str:
    return address if "://" in address else f"http://{address}"


def _metrics(address: str) -> str:
    """The full address of an exporter: `pi-1:9100` is `http://pi-1:9100/metrics`."""
    full = _http(address)
    return full if urlsplit(full).path.strip("/") else f"{full.rstrip('/')}/metrics"


def _rest(given: Given) -> Values:
    settings = given.settings
    asked = str(settings["url"])
    statistics = [str(one) for one in settings.get("statistics") or ()]
    body = ""
    if statistics:
        asked = asked if urlsplit(asked).path.strip("/") else asked.rstrip("/") + STATISTICS
        body = _statistics_body(statistics, float(settings.get("overlap") or 2 * DAY))
    plain = {
        "poll.address": asked,
        "poll.method": "POST" if statistics else "GET",
        "poll.body": body,
        "poll.kind": str(settings.get("shape") or ("home-assistant" if statistics else "readings")),
        "poll.items": str(settings.get("items") or ""),
        "poll.fields": _json(settings.get("fields")),
        "poll.device": _only(given.declared.devices),
        "poll.settle": f"{float(settings.get('settle') or 3600):g}",
        **_polled(given, "rest", 300),
    }
    token = settings.get("token")
    secret = f"Bearer {reveal(str(token), lab_folder(given.root))}" if token else ""
    return Values(plain, {"poll.authorization": secret})


def _statistics_body(statistics: list[str], overlap: float) -> str:
    """The request for some days' statistics; NiFi fills in when they begin."""
    begin = f"${{now():toNumber():minus({round(overlap * 1000)}):format(\"yyyy-MM-dd'T'HH:mm:ssXXX\", 'GMT')}}"
    asked = {"start_time": "BEGIN", "statistic_ids": statistics, "period": "hour", "types": list(_TYPES)}
    return json.dumps(asked).replace("BEGIN", begin)


def _polled(given: Given, producer: str, usual: float) -> dict[str, str]:
    every = max(1, round(float(given.settings.get("every") or usual)))
    units = {name: sensor.unit for name, sensor in given.declared.sensors.items()}
    return {
        "poll.every": f"{every} sec",
        "poll.sensors": _json(units),
        "site": str(given.settings.get("site") or ""),
        "producer": producer,
    }


def _json(value: Mapping[str, object] | None) -> str:
    return json.dumps(dict(value or {}), sort_keys=True)


def _only(names: Iterable[str]) -> str:
    """The one name that there is; empty when there are several or none."""
    found = list(names)
    return found[0] if len(found) == 1 else ""


POLLED: dict[str, Callable[[Given], Values]] = {"files": _files, "prometheus": _prometheus, "rest": _rest}
"""By kind of source."""

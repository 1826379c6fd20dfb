"""Where senders reach the flows of a site: one port and, where it has one, one token for each stream.

Belongs here: a file in the site's folder that outlives NiFi, so that an address once told to a sensor stays. Not here:
what listens there (nifi.py). The MQTT bridge reads the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from homelab_platform.errors import HomelabError
from homelab_platform.files import locked
from homelab_platform.servers.supervise.spec import write_json

FILE = "entrances.json"


@dataclass(frozen=True)
class Entrance:
    """The address that a stream's readings are posted to, and the token that senders present, if any."""

    url: str
    token: str = field(default="", repr=False)

    @property
    def port(self) -> int:
        """Its port."""
        return urlsplit(self.url).port or 80

    def curl(self) -> str:
        """A command that posts one reading; the token stays a variable."""
        bearer = ' -H "Authorization: Bearer $TOKEN"' if self.token else ""
        reading = '{"ts": "\'$(date -u +%FT%TZ)\'", "device": "test", "sensor": "temperature", "value": 21.5}'
        return f"curl -i{bearer} '{self.url}' -d '{reading}'"


class Entrances:
    """The entrances of the site in `root`."""

    def __init__(self, root: Path) -> None:
        self._file = root / FILE

    def get(self, stream: str) -> Entrance | None:
        """The entrance of a stream; None before it has one."""
        found = self._load().get(stream)
        return Entrance(found["url"], found.get("token") or "") if found else None

    def put(self, stream: str, entrance: Entrance) -> None:
        """Remember an entrance."""
        with locked(self._file.with_suffix(".lock")):
            found = dict(self._load())
            entry = {"url": entrance.url} | ({"token": entrance.token} if entrance.token else {})
            if found.get(stream) != entry:
                write_json(self._file, {**found, stream: entry})

    def forget(self, stream: str) -> None:
        """Drop an entrance; its port may be given to another stream then."""
        with locked(self._file.with_suffix(".lock")):
            found = dict(self._load())
            if found.pop(stream, None) is not None:
                write_json(self._file, found)

    def ports(self) -> frozenset[int]:
        """The ports of all of them."""
        return frozenset(Entrance(entry["url"]).port for entry in self._load().values())

    def _load(self) -> Mapping[str, dict[str, str]]:
        try:
            found = json.loads(self._file.read_text())
            return {name: entry for name, entry in found.items() if "url" in entry}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise HomelabError.of(
                str(self._file), f"cannot be read: {error}", "Move it away; flows then get new addresses."
            ) from None

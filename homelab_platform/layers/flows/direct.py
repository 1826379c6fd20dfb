"""Flows without NiFi: a collector's telemetry, what a bridge brings from a broker, and files that people drop.

Belongs here: what such a flow is told (a file in the site's folder that its carrier reads) and whether it runs. Not
here: flows through NiFi (nifi.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from homelab_platform.agents.drop.folders import FLOWS, folder_of
from homelab_platform.agents.drop.watch import LOOK_EVERY, last_look
from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedLab, ResolvedStream
from homelab_platform.names import Say
from homelab_platform.paths import LAB_JSON
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import name_of
from homelab_platform.plan.specs import read
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.wire.json_types import Document, Json

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import ServerStatus

COLLECTOR = "collector"
LOOK_WITHIN = 60.0
"""Seconds within which a drop folder must have been looked into; looks come every few seconds."""


class FlowAdapter:
    """Flows by name. `root` is the site's folder; its `lab.json` tells the carrier what to bring.

    `carrier` is the site's process that brings the readings of machines: its collector, or the bridge from the broker
    that the collectors of a lab's hosts publish to.
    """

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, root: Path, *, carrier: str = COLLECTOR) -> None:
        self._lab = lab
        self._lakehouse = lakehouse
        self._root = root
        self._carrier = carrier

    def _file(self, name: str) -> Path:
        return self._root / FLOWS / f"{name}.json"

    def _process(self) -> ServerStatus | None:
        """The carrier's process, if this site has one."""
        from homelab_platform.servers.site.site import status

        return next((server for server in status(self._root).servers if server.name == self._carrier), None)

    def probe(self, desired: DesiredState) -> Observation:
        """The settings as they lie in the site's folder, and whether the collector runs with them."""
        file = self._file(name_of(desired.key))
        if not file.exists():
            return Observation(exists=False)
        fingerprint = str(orjson.loads(file.read_bytes()).get("fingerprint", ""))
        process = self._process()
        if process is None:
            missing = f"no {self._carrier} runs on this site, and nothing brings its readings"
            return Observation(True, fingerprint, (missing,), {self._carrier: "not part of this site"})
        if read(ResolvedStream, desired.document).source == "files":
            return self._watched(desired, fingerprint)
        alive = process.state == "running"
        differences = () if alive else (f"the {self._carrier} is {process.state}",)
        facts: dict[str, Json] = {
            self._carrier: process.state,
            "restarts": process.restarts,
            "memory in bytes": process.memory,
        }
        return Observation(True, fingerprint, differences, facts)

    def _watched(self, desired: DesiredState, fingerprint: str) -> Observation:
        """Whether the carrier looks into the stream's drop folder: by its own record of the looks."""
        stream = read(ResolvedStream, desired.document)
        name = stream.name
        folder = folder_of(self._root, name, str(stream.source_settings.get("path") or name))
        look = last_look(self._root, name)
        facts: dict[str, Json] = {"files are dropped in": str(folder)}
        if look is None or look.folder != str(folder):
            return Observation(True, fingerprint, (f"nothing has looked into {folder} yet",), facts)
        age = time.time() - look.at
        facts |= {"last look, seconds ago": round(age), "files that wait": look.files}
        differences = [look.trouble] if look.trouble else []
        if age > LOOK_WITHIN:
            differences.append(f"nothing has looked into {folder} for {age:.0f} s")
        return Observation(True, fingerprint, tuple(differences), facts)

    def _await_look(self, desired: DesiredState, say: Say) -> None:
        """Wait for the first look into a new folder, so that the observation after the change sees it."""
        if self._process() is None:
            return
        say("waiting for the first look into its folder")
        deadline = time.monotonic() + LOOK_WITHIN
        while self._watched(desired, "").differences and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY / 10)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Give the collector the lab, wake it if it does not run, and only then leave the fingerprint."""
        write_whole(self._root / LAB_JSON, self._lab.to_json())
        self._wake(say)
        content = {"fingerprint": desired.fingerprint, "document": desired.document}
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2
        write_whole(self._file(name_of(desired.key)), orjson.dumps(content, option=options))
        if read(ResolvedStream, desired.document).source == "files":
            self._await_look(desired, say)

    def _wake(self, say: Say) -> None:
        process = self._process()
        if process is not None and process.state != "running":
            from homelab_platform.servers.site.site import restart

            restart(self._root, self._carrier, progress=say)

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Forget the settings; objects that were written stay."""
        self._file(name_of(key)).unlink(missing_ok=True)

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """The newest objects of the flow."""
        from homelab_platform.tools.objects.client import NotFound, ObjectStore

        prefix = read(ResolvedStream, desired.document).prefix
        with ObjectStore(self._lakehouse.objects) as store:
            try:
                found = list(store.list(self._lakehouse.raw_bucket, prefix))
            except NotFound:
                found = []
        yield Exhibit("objects", "number", len(found))
        if found:
            newest = max(found, key=lambda item: item.last_modified)
            yield Exhibit("newest object", "text", f"{newest.key}, {newest.last_modified:%Y-%m-%d %H:%M:%S} UTC")

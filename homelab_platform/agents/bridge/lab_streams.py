"""Which streams the bridge carries in a site that steers a lab: at the lab's own broker, those of its hosts too.

Belongs here: the resolved lab to BridgeStream values for such a site. Not here: streams at a site's own broker
(settings.py), carrying (machines.py), who may do what at the lab's broker
(plan/broker_access.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homelab_platform.agents.bridge.machines import BATCH_SECONDS
from homelab_platform.agents.bridge.settings import (
    FOLDER,
    bridge_stream,
    broker_of,
    client_id,
    read_json,
)
from homelab_platform.agents.bridge.stream import BridgeStream
from homelab_platform.errors import HomelabError
from homelab_platform.paths import LAB_JSON
from homelab_platform.tools.endpoints import MqttEndpoint

AGAIN_AFTER = 60.0
TOPIC = "homelab/{stream}/+"
"""What hosts publish to, a level for the host (lab/resolve/host_facts.py)."""


def machine_streams_of(lab: Mapping[str, Any], broker: MqttEndpoint, folder: Path) -> dict[str, BridgeStream]:
    """The streams of a resolved lab (as JSON data) that its hosts publish, by name, as they are read at `broker`.

    `folder` is the bridge's own in the site.
    """
    streams: Mapping[str, Any] = lab.get("streams") or {}
    return {
        name: BridgeStream(
            name,
            TOPIC.format(stream=name),
            broker,
            client_id(folder, str(lab.get("name") or ""), name),
            machines=True,
            batch_seconds=BATCH_SECONDS,
        )
        for name, stream in sorted(streams.items())
        if stream.get("source") == "machine"
    }


def lab_streams_of(lab: Mapping[str, Any], secret: str, root: Path, lab_folder: Path) -> dict[str, BridgeStream]:
    """The streams that come by brokers, by name: those of machines at the lab's broker, MQTT streams at theirs.

    `secret` is the site's, from which the broker's passwords follow; `root` the site's folder; `lab_folder` the one of
    the lab file. Raises HomelabError when a secret that the lab refers to cannot be read.
    """
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.plan.broker_access import BRIDGE, broker_place, broker_workload, own_names, password_of

    resolved = ResolvedLab.model_validate(dict(lab))
    place, names = broker_place(resolved), own_names(resolved)
    own = None
    if place is not None:
        ours = broker_workload(resolved) is not None
        own = MqttEndpoint(*place, *((BRIDGE, password_of(secret, BRIDGE)) if ours else ()))
    found = machine_streams_of(lab, own, root / FOLDER) if own is not None else {}
    for name, stream in sorted((lab.get("streams") or {}).items()):
        if stream.get("source") == "mqtt":
            settings = stream["source_settings"]
            at_own = own is not None and str(settings.get("broker") or "") in names
            broker = own if own is not None and at_own else broker_of(name, settings, lab_folder)
            client = client_id(root / FOLDER, resolved.name, name)
            found[name] = bridge_stream(name, stream, broker, client)
    return found


class LabStreams:
    """The streams of the lab that the site in `root` steers, read anew when lab or site have changed, and each minute:
    a secret that the lab refers to may be another."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: tuple[object, ...] = ()
        self._found: dict[str, BridgeStream] = {}

    def __call__(self) -> dict[str, BridgeStream]:
        """The streams as the lab says now. Raises HomelabError when that cannot be read."""
        from homelab_platform.servers.site.files import Layout, load_secrets

        layout = Layout(self._root)
        lab_file = Path(os.environ.get("HOMELAB_LAB") or self._root / "lab.yaml")
        seen = (_stamp(self._root / LAB_JSON), _stamp(layout.secrets_file), time.monotonic() // AGAIN_AFTER)
        if seen != self._seen:
            secrets = load_secrets(layout)
            if secrets is None or not secrets.mqtt_password:
                raise HomelabError.of(str(layout.secrets_file), "holds no secret for the lab's broker", "`homelab up`.")
            lab = read_json(self._root / LAB_JSON)
            self._found = lab_streams_of(lab, secrets.mqtt_password, self._root, lab_file.parent)
            self._seen = seen
        return self._found


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size

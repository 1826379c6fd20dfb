"""Which streams the bridge carries, as the resolved lab of its site says.

Belongs here: `lab.json` to BridgeStream values, the broker and the way out of each. Not here: carrying
(stream.py). It reads the resolved lab as plain JSON, so that the bridge stays small.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from homelab_platform.agents.bridge.stream import BridgeStream
from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.paths import LAB_JSON
from homelab_platform.secrets.values import lab_folder, reveal
from homelab_platform.tools.endpoints import MqttEndpoint
from homelab_platform.wire.payload import Shape
from homelab_platform.wire.reading import safe_name

FOLDER = "mqtt_bridge"
ENTRANCES = "entrances.json"
"""In a site's folder: by stream, the address that its flow in NiFi listens on, `{"url": …, "token": …}`."""


def streams_of(root: Path, own_broker: MqttEndpoint | None) -> dict[str, BridgeStream]:
    """The MQTT streams of the site in `root` by name; all of them at `own_broker` if the site has one.

    Raises HomelabError when the lab or a secret that it refers to cannot be read.
    """
    lab = read_json(root / LAB_JSON)
    entrances = read_json(root / ENTRANCES)
    streams: Mapping[str, Any] = lab.get("streams") or {}
    found = {}
    for name in sorted(streams):
        stream = streams[name]
        if stream.get("source") == "mqtt":
            client = client_id(root / FOLDER, str(lab.get("name") or root.name), name)
            broker = own_broker or broker_of(name, stream["source_settings"], lab_folder(root))
            found[name] = bridge_stream(name, stream, broker, client, entrances.get(name))
    return found


def bridge_stream(
    name: str, stream: Mapping[str, Any], broker: MqttEndpoint, client: str, entrance: Mapping[str, Any] | None = None
) -> BridgeStream:
    """One stream of the resolved lab, given as JSON data."""
    settings: Mapping[str, Any] = stream["source_settings"]
    devices = stream.get("devices") or []
    shape = Shape(
        {sensor: str(said.get("unit") or "") for sensor, said in (stream.get("sensors") or {}).items()},
        dict(settings.get("fields") or {}),
        device=str(devices[0]) if len(devices) == 1 else "",
        site=str(settings.get("site") or ""),
        zone=str(stream.get("tz") or ""),
    )
    return BridgeStream(
        name,
        str(settings["topic"]),
        broker,
        client,
        qos=int(settings.get("qos", 1)),
        levels=tuple(settings.get("levels") or ("device", "sensor")),
        shape=shape,
        entrance=str(entrance["url"]) if entrance else None,
        token=entrance.get("token") if entrance else None,
    )


def client_id(folder: Path, lab: str, stream: str) -> str:
    """The name under which the broker keeps the session: the same for ever, and no other site's.

    Two clients of one name throw each other out; so part of it is random, made once and kept beside the journals, with
    which it would be lost.
    """
    file = folder / "site_id"
    if not file.exists():
        write_whole(file, secrets.token_hex(4))
    return f"homelab-{safe_name(lab, most=40)}-{safe_name(stream, most=60)}-{file.read_text().strip()}"


def read_json(file: Path) -> dict[str, Any]:
    """A file of the site as JSON; empty if there is none. Raises HomelabError when it cannot be read."""
    try:
        found = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise HomelabError.of(str(file), f"cannot be read: {error}", "`homelab apply` writes it anew.") from None
    return found if isinstance(found, dict) else {}


def broker_of(stream: str, settings: Mapping[str, Any], folder: Path) -> MqttEndpoint:
    """The broker that a stream's own settings name; `folder` is the lab file's. Raises HomelabError if none does."""
    address = settings.get("broker")
    if not address:
        raise HomelabError.of(stream, "has no broker", "Name one in the lab file: from: {mqtt: {broker: …}}.")
    password = settings.get("password")
    return MqttEndpoint(
        str(address),
        int(settings.get("port") or 1883),
        settings.get("user"),
        None if password is None else reveal(str(password), folder),
    )

"""The engines beyond PostgreSQL and S3 for a test session or a benchmark: each started once, when first asked for.

Belongs here: for each engine a throw-away folder beside the scratch servers' own, shared by all processes of a session.
Not here: how an engine is installed and set up (minio.py, trino.py, nifi.py, mosquitto.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homelab_platform.servers import minio, mosquitto, nifi, ports
from homelab_platform.servers.shared import Shared, shared_servers
from homelab_platform.tools.endpoints import MqttEndpoint, NifiEndpoint, ObjectsEndpoint

MQTT_ADMIN = "admin"
START_TIMEOUT = 400.0
"""Seconds; a Java server beside two test workers takes one to two minutes."""


def beside(folder: Path, name: str) -> Path:
    """Where the engine `name` of a session lies whose scratch servers lie in `folder`."""
    return folder.with_name(f"{folder.name}-{name}")


@contextmanager
def scratch_minio(folder: Path) -> Iterator[ObjectsEndpoint]:
    """A MinIO in `folder`, installed first if need be (some minutes, once for this user)."""

    def make(folder: Path) -> Shared:
        minio.installed()
        access, secret = (secrets.token_urlsafe(18) for _ in range(2))
        port = ports.choose(1)[0]
        minio.prepare(folder / "minio", access, secret)
        made = ObjectsEndpoint(f"http://127.0.0.1:{port}", access, secret)
        return Shared((minio.process(folder / "minio", port),), vars(made))

    with shared_servers(folder, make) as raw:
        yield ObjectsEndpoint(**raw)


@contextmanager
def scratch_mqtt(folder: Path) -> Iterator[MqttEndpoint]:
    """A Mosquitto in `folder` with one user, who may do everything."""

    def make(folder: Path) -> Shared:
        user = mosquitto.MqttUser(MQTT_ADMIN, secrets.token_urlsafe(18), ("#",), ("#",))
        port = ports.choose(1)[0]
        mosquitto.prepare(folder / "mqtt", (user,), port)
        made = {"host": mosquitto.HOST, "port": port, "user": user.name, "password": user.password}
        return Shared((mosquitto.process(folder / "mqtt", port),), made)

    with shared_servers(folder, make) as raw:
        yield MqttEndpoint(**raw)


@contextmanager
def scratch_nifi(folder: Path) -> Iterator[NifiEndpoint]:
    """A NiFi in `folder`, installed first if need be; its file flows look below `folder/drop`."""

    def make(folder: Path) -> Shared:
        nifi.installed()
        chosen = nifi.NifiPorts.choose()
        nifi.prepare(folder / "nifi", chosen, secrets.token_urlsafe(18), durable=False)
        (folder / "drop").mkdir(exist_ok=True)
        return Shared((nifi.process(folder / "nifi", chosen),), {"url": f"http://{nifi.ADDRESS}:{chosen.http}"})

    with shared_servers(folder, make, start_timeout=START_TIMEOUT) as raw:
        yield NifiEndpoint(**raw, drop=folder / "drop")

"""What a full site runs beyond PostgreSQL, S3 and the graph: NiFi, Trino, the broker and its bridge.

Belongs here: their folders, ports, credentials and order within a site on this machine. Not here: any engine's own
settings (servers/nifi.py, servers/trino.py, mosquitto.py) or installing them (engines.py).
"""

from __future__ import annotations

import hashlib
import hmac
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from homelab_platform.servers import minio, mosquitto, nifi, trino
from homelab_platform.servers.site import access
from homelab_platform.servers.site.files import Layout, Secrets, SiteFile
from homelab_platform.servers.supervise import launch, processes
from homelab_platform.servers.supervise.spec import ProcessSpec, write_json
from homelab_platform.tools.endpoints import Engines, Lakehouse, MqttEndpoint, NifiEndpoint

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

SERVERS = ("postgres", "objects")
SLOW_START = 1200.0
"""Seconds: on a Pi with a slow card, or where many things start at once, Java takes minutes; a crash shows at once."""
BRIDGE_MODULE = "homelab_platform.agents.bridge.main"
BRIDGE_USER = "bridge"
USERS_FILE = "users.json"
"""In the broker's folder: who may send, and with which password; for the owner's eyes only."""


def wanted(site: SiteFile) -> tuple[str, ...]:
    """The engines that must be installed before this site can start."""
    found = ("mqtt", "trino", "nifi") if site.full else ()
    return (*found, "minio") if site.objects == "minio" else found


def engine_processes(layout: Layout, site: SiteFile, environment: Mapping[str, str]) -> list[ProcessSpec]:
    """The engines as the supervisor is told them; `environment` is that of the graph's processes."""
    flows = nifi.process(layout.nifi, _nifi_ports(site))
    queries = trino.process(layout.trino, _trino_ports(site), after=SERVERS, gate=str(layout.prepared))
    return [
        mosquitto.process(layout.mqtt, site.ports["mqtt"]),
        replace(flows, start_timeout=SLOW_START),
        replace(queries, start_timeout=SLOW_START),
        bridge_process(layout, environment, (*SERVERS, "mqtt")),
    ]


def bridge_process(layout: Layout, environment: Mapping[str, str], after: tuple[str, ...] = SERVERS) -> ProcessSpec:
    """The bridge from the site's broker, or from the lab's, into the bucket."""
    return ProcessSpec(
        name="bridge",
        command=(sys.executable, "-m", BRIDGE_MODULE, "--site", str(layout.root)),
        folder=str(layout.root),
        environment=dict(environment),
        after=after,
        gate=str(layout.prepared),
        stop_timeout=15,
    )


def _nifi_ports(site: SiteFile) -> nifi.NifiPorts:
    return nifi.NifiPorts(site.ports["nifi"], site.ports["nifi_management"])


def _trino_ports(site: SiteFile) -> trino.TrinoPorts:
    return trino.TrinoPorts(http=site.ports["trino_internal"], https=site.ports["trino"])


def prepare_engines(
    layout: Layout, site: SiteFile, credentials: Secrets, lakehouse: Lakehouse, lab: ResolvedLab
) -> None:
    """Write what the engines read at their start. Safe to repeat; they must be installed."""
    trino.prepare(
        layout.trino,
        _trino_ports(site),
        access.as_role(layout.root, lakehouse, lab, "trino"),
        password=credentials.trino_password,
        shared_secret=credentials.trino_shared_secret,
        lab=lab,
    )
    nifi.prepare(layout.nifi, _nifi_ports(site), credentials.nifi_key)
    layout.drop.mkdir(exist_ok=True)
    prepare_broker(layout, site, credentials, lab)


def broker_users(credentials: Secrets, lab: ResolvedLab) -> tuple[mosquitto.MqttUser, ...]:
    """The bridge, which reads what the lab's streams say, and a user for each stream, who writes just its topics."""
    topics = {name: str(s.source_settings["topic"]) for name, s in lab.streams.items() if s.source == "mqtt"}
    bridge = mosquitto.MqttUser(BRIDGE_USER, _password(credentials, BRIDGE_USER), reads=tuple(topics.values()))
    senders = (mosquitto.MqttUser(name, _password(credentials, name), (topic,)) for name, topic in topics.items())
    return (bridge, *senders)


def _password(credentials: Secrets, user: str) -> str:
    """A user's password: follows from the site's own secret, so that a start never changes it."""
    return hmac.new(credentials.mqtt_password.encode(), user.encode(), hashlib.sha256).hexdigest()[:32]


def prepare_broker(layout: Layout, site: SiteFile, credentials: Secrets, lab: ResolvedLab) -> None:
    """Write the broker's settings, users and rights; a running one takes users and rights over at once."""
    users = broker_users(credentials, lab)
    mosquitto.prepare(layout.mqtt, users, site.ports["mqtt"])
    told = {user.name: {"password": user.password, "writes": user.writes} for user in users if user.writes}
    write_json(layout.mqtt / USERS_FILE, {"host": mosquitto.HOST, "port": site.ports["mqtt"], "users": told})
    state = launch.live_state(layout.run)
    child = state.children.get("mqtt") if state else None
    if child and child.pid and processes.is_running(child.pid, child.start):
        processes.send(child.pid, signal.SIGHUP)  # mosquitto(8): reads password and rights files anew


def engines_of(layout: Layout, site: SiteFile, credentials: Secrets) -> Engines:
    """The endpoints of a site's engines; all None for a site of the small profile."""
    if not site.full:
        return Engines()
    return Engines(
        trino=trino.endpoint(layout.trino, _trino_ports(site), credentials.trino_password),
        nifi=NifiEndpoint(f"http://{nifi.ADDRESS}:{site.ports['nifi']}", drop=layout.drop),
        mqtt=MqttEndpoint(mosquitto.HOST, site.ports["mqtt"], BRIDGE_USER, _password(credentials, BRIDGE_USER)),
    )


def pages(site: SiteFile) -> dict[str, str]:
    """The addresses of the pages that a site's servers have, by name."""
    found = {}
    if site.full:
        found["trino"] = f"https://localhost:{site.ports['trino']}/ui/"
        found["nifi"] = f"http://{nifi.ADDRESS}:{site.ports['nifi']}/nifi/"
    if site.objects == "minio" and "console" in site.ports:
        found["minio"] = f"http://{minio.ADDRESS}:{site.ports['console']}"
    return found

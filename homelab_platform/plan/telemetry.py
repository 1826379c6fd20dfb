"""What the collector in the cluster is told: for each node the settings that its host's own collector would have.

Belongs here: these settings, as facts of the workload and as the files that its pods read. Not here: which host has
which stream (lab/resolve/host_facts.py), or the collector itself (ansible/roles/collector/files).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab import interfaces
from homelab_platform.lab.resolve.host_facts import broker_port, collected_in_cluster, telemetry_facts

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

FOLDER = "/etc/homelab/nodes"
CREDENTIALS = "/etc/homelab/mqtt"
"""Where pods find the keys `user` and `password` of their Secret."""


def node_telemetry(lab: ResolvedLab) -> dict[str, dict[str, object]]:
    """For each node that the collector in the cluster looks after: stream, site, beat, topic, and the broker."""
    found = {name: telemetry_facts(lab, lab.hosts[name]) for name in collected_in_cluster(lab)}
    inside = _broker_inside(lab)
    kept = ("stream", "site", "every", "topic", "to")
    return {
        name: {key: facts[key] for key in kept} | ({"to": inside} if inside else {})
        for name, facts in found.items()
        if facts
    }


def collector_values(lab: ResolvedLab) -> dict[str, Any]:
    """The values of the collector's chart: which nodes it runs on, and the settings file of each.

    Raises HomelabError for a lab that gives it nothing to publish, or no broker to publish to.
    """
    nodes = node_telemetry(lab)
    if not nodes:
        raise HomelabError.of(
            "workload collector",
            "has nothing to publish: no stream of the lab is `from: machine` of a node, or there is no MQTT broker",
            "Add the stream or mosquitto, or take collector out.",
        )
    secret = {"user_file": f"{CREDENTIALS}/user", "password_file": f"{CREDENTIALS}/password"}
    files = {
        f"{FOLDER}/{name}.json": json.dumps({**facts, **secret, "device": name}, sort_keys=True)
        for name, facts in nodes.items()
    }
    return {"nodes": sorted(nodes), "config": files}


def _broker_inside(lab: ResolvedLab) -> str | None:
    """The broker as pods reach it, if it is a workload of the cluster: by its name there, whichever node it is on."""
    for workload in interfaces.workloads_with(lab, interfaces.MQTT):
        if workload.kind == "helm":
            return f"mqtt://{workload.name}.{workload.namespace}.svc.cluster.local:{broker_port(workload)}"
    return None

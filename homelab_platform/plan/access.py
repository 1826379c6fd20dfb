"""Who may do what on the cluster, and who may talk to whom: derived from people's roles and workloads' needs.

Belongs here: facts that documents carry, so that a plan shows them, and that adapters turn into Kubernetes objects.
Not here: those objects (operations/adapters).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from homelab_platform.lab.interfaces import INGRESS, PROMETHEUS
from homelab_platform.lab.pod_levels import PodLevel, most_open

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

DEPLOYED = ("helm", "kustomize")
ANYONE = "any"
MEDIA = "media"
"""The storage class of the lab's one shared media folder."""
MEDIA_FOLDER = "/var/lib/media-data"
"""Where it lies on its host when the lab does not say."""
PLATFORM_TIERS = ("infrastructure", "storage")
"""Tiers whose workloads serve all others: their namespaces are for admins."""


def deployed(lab: ResolvedLab) -> list[ResolvedWorkload]:
    """The workloads that run as pods which this platform deploys."""
    return [workload for _, workload in sorted(lab.workloads.items()) if workload.kind in DEPLOYED]


def namespaces(lab: ResolvedLab) -> dict[str, list[str]]:
    """Each namespace of a workload with the roles, besides admin, that have rights in it.

    Who may start pods in a namespace can mount its Secrets and use its service accounts, so a dev has rights only where
    every workload is for devs, none serves the whole platform, and none may have its node.
    """
    found: dict[str, set[str]] = {}
    not_for_dev: set[str] = set()
    for workload in deployed(lab):
        found.setdefault(workload.namespace, set()).update(set(workload.roles) - {"admin"})
        if "dev" not in workload.roles or workload.tier in PLATFORM_TIERS or workload.pod_security == "privileged":
            not_for_dev.add(workload.namespace)
    for name in not_for_dev:
        found[name].discard("dev")
    return {name: sorted(roles) for name, roles in sorted(found.items())}


def pod_security(lab: ResolvedLab) -> dict[str, PodLevel]:
    """The level of pods that each namespace of a workload takes: the most open that one of its workloads needs."""
    found: dict[str, list[PodLevel]] = {}
    for workload in deployed(lab):
        found.setdefault(workload.namespace, []).append(workload.pod_security)
    return {name: most_open(levels) for name, levels in sorted(found.items())}


def media_facts(lab: ResolvedLab) -> dict[str, object]:
    """The lab's media folder as volumes of the cluster: its `namespaces`, `size`, and the `source` of each volume."""
    users = [workload for workload in deployed(lab) if any(v.storage_class == MEDIA for v in workload.volumes.values())]
    media = lab.storage.get("media") or {"on": "local", "path": MEDIA_FOLDER}
    if not users:
        return {}
    volume = next(v for v in users[0].volumes.values() if v.storage_class == MEDIA)
    nfs = lab.storage.get("nfs")
    if media["on"] == "nfs" and nfs:
        server = lab.hosts.get(str(nfs["server"]))
        path = f"{str(nfs['path']).rstrip('/')}/{str(media['path']).strip('/')}"
        address = server.address if server is not None and server.address else nfs["server"]
        source: dict[str, object] = {"nfs": {"server": address, "path": path}, "mountOptions": ["hard", "noatime"]}
    else:
        match = {"key": "kubernetes.io/hostname", "operator": "In", "values": [volume.on_host]}
        required = {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
        source = {"local": {"path": media["path"]}, "nodeAffinity": {"required": required}}
    return {"namespaces": sorted({w.namespace for w in users}), "size": volume.size, "source": source}


def node_networks(lab: ResolvedLab) -> tuple[str, ...]:
    """Where the API server's calls come from: the nodes' own addresses, and those that they have among pods."""
    nodes = {*lab.cluster.servers, *lab.cluster.agents} if lab.cluster else set()
    found = {n for name in nodes if (n := _network_of(str(lab.hosts[name].address or "")))}
    return tuple(sorted({*found, lab.network.pod_cidr})) if nodes else ()


def has_load_balancer(lab: ResolvedLab) -> bool:
    """Whether the cluster gives services addresses of their own on the LAN: MetalLB's pool, or k3s' servicelb."""
    if lab.network.load_balancers:
        return True
    return lab.cluster is not None and "servicelb" not in lab.cluster.disabled


def reaches(lab: ResolvedLab, workload: ResolvedWorkload) -> list[dict[str, Any]]:
    """Whom a workload may connect to, as the app chart's `network.to` says it: what it needs, and what it scrapes."""
    found: list[dict[str, object]] = [{"workload": name} for name in workload.needs]
    if PROMETHEUS not in workload.provides:
        return found
    found += [
        {"workload": other.name} for other in deployed(lab) if other.exporters and other.name not in workload.needs
    ]
    hosts: dict[str, set[int]] = {}
    for target in lab.scrape_targets:
        place, _, port = target.address.rpartition(":")
        network = _network_of(place.strip("[]"))
        if network is not None:
            hosts.setdefault(network, set()).add(int(port))
    return [*found, *({"cidr": network, "ports": sorted(ports)} for network, ports in sorted(hosts.items()))]


def _network_of(address: str) -> str | None:
    """The network of this one address; None for a name."""
    try:
        return str(ipaddress.ip_network(address))
    except ValueError:
        return None


def callers(lab: ResolvedLab) -> dict[str, list[str]]:
    """Which workloads may connect to each workload, sorted; `any` for one that the whole LAN reaches.

    Whoever needs it may, whoever scrapes it may if it has an exporter (Prometheus itself too, which asks itself by its
    Service like any other), and the ingress if it is reached by name.
    """
    running = deployed(lab)
    by_kind = {kind: [other.name for other in running if kind in other.provides] for kind in (PROMETHEUS, INGRESS)}
    found: dict[str, set[str]] = {workload.name: set() for workload in running}
    for workload in running:
        for need in workload.needs:
            if need in found:
                found[need].add(workload.name)
        if workload.exporters:
            found[workload.name].update(by_kind[PROMETHEUS])
        if workload.exposure in ("ingress", "vpn"):
            found[workload.name].update(by_kind[INGRESS])
    return {
        workload.name: [ANYONE] if workload.exposure == "lan" else sorted(found[workload.name]) for workload in running
    }

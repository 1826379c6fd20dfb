"""Who may do what on the cluster, and who may talk to whom: derived from people's roles and workloads' needs.

Belongs here: facts that documents carry, so that a plan shows them, and that adapters turn into Kubernetes objects.
Not here: those objects (operations/adapters).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

DEPLOYED = ("helm", "kustomize")
SCRAPERS = ("monitoring", "prometheus")
INGRESS = ("traefik",)
ANYONE = "any"


def deployed(lab: ResolvedLab) -> list[ResolvedWorkload]:
    """The workloads that run as pods which this platform deploys."""
    return [workload for _, workload in sorted(lab.workloads.items()) if workload.kind in DEPLOYED]


def namespaces(lab: ResolvedLab) -> dict[str, list[str]]:
    """Each namespace of a workload with the roles, besides admin, that may use something in it."""
    found: dict[str, set[str]] = {}
    for workload in deployed(lab):
        found.setdefault(workload.namespace, set()).update(set(workload.roles) - {"admin"})
    return {name: sorted(roles) for name, roles in sorted(found.items())}


def has_load_balancer(lab: ResolvedLab) -> bool:
    """Whether the cluster gives services addresses of their own on the LAN: MetalLB's pool, or k3s' servicelb."""
    if lab.network.load_balancers:
        return True
    return lab.cluster is not None and "servicelb" not in lab.cluster.disabled


def reaches(lab: ResolvedLab, workload: ResolvedWorkload) -> list[dict[str, Any]]:
    """Whom a workload may connect to, as the app chart's `network.to` says it: what it needs, and what it scrapes."""
    found: list[dict[str, Any]] = [{"workload": name} for name in workload.needs]
    if workload.catalogue not in SCRAPERS:
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
    by_kind = {kinds: [other.name for other in running if other.catalogue in kinds] for kinds in (SCRAPERS, INGRESS)}
    found: dict[str, set[str]] = {workload.name: set() for workload in running}
    for workload in running:
        for need in workload.needs:
            if need in found:
                found[need].add(workload.name)
        if workload.exporters:
            found[workload.name].update(by_kind[SCRAPERS])
        if workload.exposure == "ingress":
            found[workload.name].update(by_kind[INGRESS])
    return {
        workload.name: [ANYONE] if workload.exposure in ("lan", "vpn") else sorted(found[workload.name])
        for workload in running
    }

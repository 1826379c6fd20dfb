"""Who may do what on the cluster, and who may talk to whom: derived from people's roles and workloads' needs.

Belongs here: facts that documents carry, so that a plan shows them, and that adapters turn into Kubernetes objects.
Not here: those objects (operations/adapters).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def callers(lab: ResolvedLab) -> dict[str, list[str]]:
    """Which workloads may connect to each workload, sorted; `any` for one that the whole LAN reaches.

    Whoever needs it may, whoever scrapes it may if it has an exporter, and the ingress if it is reached by name.
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
        workload.name: [ANYONE]
        if workload.exposure in ("lan", "vpn")
        else sorted(found[workload.name] - {workload.name})
        for workload in running
    }

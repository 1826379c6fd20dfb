"""What our generic chart `helm/app` is told about a workload, derived from the catalogue and the lab.

Belongs here: the way from a catalogue entry of `kind: app` to values of that chart, so that most entries need no
`values.yaml` at all. Not here: values that people write (values.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homelab_platform.lab.interfaces import FORWARD_AUTH, INGRESS
from homelab_platform.plan.access import MEDIA, callers, has_load_balancer, reaches
from homelab_platform.plan.neighbours import provider_of, sso_facts

if TYPE_CHECKING:
    from homelab_platform.catalog.model import CatalogueEntry
    from homelab_platform.catalog.parts import Health
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

MI = 1024 * 1024

BUNDLED_INGRESS = "traefik"


def app_values(lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None) -> dict[str, Any]:
    """The values of `helm/app` for this workload, before anything that a file or a person says."""
    found: dict[str, Any] = {
        "image": workload.image or "",
        "controller": "DaemonSet" if entry is not None and entry.per_node else "Deployment",
        "replicas": workload.replicas,
        "ports": {name: {"port": port.port, "protocol": port.protocol} for name, port in workload.ports.items()},
        "requests": {"cpu": f"{max(workload.cpu, 1)}m", "memory": f"{max(workload.memory // MI, 16)}Mi"},
        "volumes": _volumes(workload),
        "nodes": list(workload.placement),
        "network": network(lab, workload),
        "env": dict(workload.settings.get("env") or {}),
    }
    if entry is not None:
        found["hostNetwork"] = entry.host_network
        if entry.first_start is not None:
            found["startup"] = entry.first_start
        if entry.internet:
            found["network"]["internet"] = True
        if entry.requests.limit:
            found["limits"] = {"memory": f"{entry.requests.limit // MI}Mi"}
        if entry.health is not None:
            found["probe"] = _probe(entry.health)
    elif listening := first_port(workload):
        found["probe"] = {"tcp": listening}
    return {**found, **reached(lab, workload, entry, found["ports"]), **_metrics(workload)}


def network(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, Any]:
    """Who may connect to it and whom it may connect to; pods that are not known by their workload's name, by labels."""
    may_call = callers(lab).get(workload.name, [])
    selectors = [selector for name in may_call for selector in _selectors(lab, name)]
    rows: list[dict[str, Any]] = []
    for row in reaches(lab, workload):
        name = row.get("workload")
        others = _selectors(lab, name) if name else []
        rows += [
            row if isinstance(s, str) else {**{k: v for k, v in row.items() if k != "workload"}, **s} for s in others
        ]
        rows += [row] if not name else []
    return {"from": selectors, "to": rows}


def _selectors(lab: ResolvedLab, name: str) -> list[Any]:
    other = lab.workloads.get(name)
    return [{"labels": dict(labels)} for labels in other.pods] if other is not None and other.pods else [name]


def first_port(workload: ResolvedWorkload) -> str | None:
    """The port that proves that a workload of one's own is up: its first one that takes connections."""
    return next((name for name, port in workload.ports.items() if port.protocol == "tcp"), None)


def _volumes(workload: ResolvedWorkload) -> dict[str, Any]:
    return {
        name: {
            "size": f"{volume.size // MI}Mi",
            "mount": volume.mount or f"/{name}",
            **(
                {"existing": MEDIA}
                if volume.storage_class == MEDIA
                else {"storageClass": volume.storage_class, "access": volume.access}
            ),
        }
        for name, volume in workload.volumes.items()
        if volume.size
    }


def _probe(health: Health) -> dict[str, Any]:
    if health.http is not None:
        return {"http": health.http, "port": health.port or "http"}
    if health.tcp is not None:
        return {"tcp": health.tcp}
    return {}


def reached(
    lab: ResolvedLab, workload: ResolvedWorkload, entry: CatalogueEntry | None, ports: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """How people reach it. On a cluster without a load balancer its ports are those of the node that it runs on."""
    if workload.exposure == "lan" and not has_load_balancer(lab):
        return {"ports": {name: {**port, "hostPort": port["port"]} for name, port in ports.items()}}
    if workload.exposure == "lan":
        service = {"type": "LoadBalancer", "address": workload.address or ""}
        share = workload.settings.get("share")
        return {"service": {**service, **({"share": share} if share else {})}}
    if workload.exposure in ("ingress", "vpn") and workload.hostname:
        port = entry.web_port if entry is not None and entry.web_port else "http"
        ingress: dict[str, Any] = {"host": workload.hostname, "port": port, "className": _ingress_class(lab)}
        middleware = sso_facts(lab, workload).get("middleware") if workload.sso == FORWARD_AUTH else None
        if middleware:
            ingress["annotations"] = {"traefik.ingress.kubernetes.io/router.middlewares": middleware}
        return {"ingress": ingress}
    return {}


def _ingress_class(lab: ResolvedLab) -> str:
    """The class of whoever serves names: a provider's own, else that of the Traefik which k3s brings along."""
    provider = provider_of(lab, INGRESS)
    return BUNDLED_INGRESS if provider is None else provider.catalogue


def _metrics(workload: ResolvedWorkload) -> dict[str, Any]:
    """The first exporter that listens on one of its own ports."""
    ports = {port.port: name for name, port in workload.ports.items()}
    for exporter in workload.exporters.values():
        if exporter.port in ports:
            return {"metrics": {"port": ports[exporter.port], "path": exporter.path}}
    return {}

"""The facts that a workload takes from the rest of the lab.

Belongs here: which kinds of workload are told what about their neighbours (a monitoring system its scrape targets, a
DNS server its records). A change of such a fact changes these workloads and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homelab_platform.plan.layers import make_key
from homelab_platform.plan.telemetry import node_telemetry

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload


def providers(lab: ResolvedLab, *names: str) -> tuple[str, ...]:
    """The keys of what provides one of these services: workloads of such a catalogue entry, else hosts that run it."""
    found = tuple(make_key("workload", name) for name, workload in lab.workloads.items() if workload.catalogue in names)
    return found or tuple(
        make_key("host", name) for name, host in lab.hosts.items() if any(service in names for service in host.services)
    )


def _scrape_targets(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    rows = [target.model_dump(mode="json") for target in lab.scrape_targets]
    return {f"{row['job']}/{row['instance']}": f"{row['address']}{row['path']}" for row in rows}


def _dns_records(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    return dict(lab.network.dns_records)


def _address_pool(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    return lab.network.load_balancers


def _certificates(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    return {"domain": lab.network.domain, "tls": lab.network.tls, "dns": lab.network.dns}


def _clients(lab: ResolvedLab, workload: ResolvedWorkload) -> object:
    return {
        other.name: {"hostname": other.hostname, "sso": other.sso, "roles": sorted(other.roles)}
        for other in lab.workloads.values()
        if other.sso != "none" and other.name != workload.name
    }


def _people(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    return {name: {"role": person.role, "groups": sorted(person.groups)} for name, person in lab.people.items()}


def _hostnames(lab: ResolvedLab, workload: ResolvedWorkload) -> object:
    others = (w for w in lab.workloads.values() if w.name != workload.name)
    return {other.name: other.hostname for other in others if other.hostname and other.exposure != "none"}


def _telemetry(lab: ResolvedLab, _: ResolvedWorkload) -> object:
    return node_telemetry(lab)


_Fact = Callable[["ResolvedLab", "ResolvedWorkload"], object]

_TOLD: dict[str, tuple[_Fact, frozenset[str]]] = {
    "scrape_targets": (
        _scrape_targets,
        frozenset({"monitoring", "prometheus", "kube-prometheus-stack", "victoria-metrics"}),
    ),
    "dns_records": (
        _dns_records,
        frozenset({"pihole", "adguard", "blocky", "unbound", "coredns", "dnsmasq", "external-dns", "bind"}),
    ),
    "address_pool": (_address_pool, frozenset({"metallb", "kube-vip"})),
    "certificates": (_certificates, frozenset({"cert-manager", "traefik", "acme"})),
    "clients": (
        _clients,
        frozenset({"authentik", "authelia", "keycloak", "oauth2-proxy", "krakend", "lldap", "openldap"}),
    ),
    "telemetry": (_telemetry, frozenset({"collector"})),
    "people": (_people, frozenset({"authentik", "authelia", "keycloak", "lldap", "openldap"})),
    "hostnames": (_hostnames, frozenset({"homarr", "homepage", "uptime-kuma", "traefik", "krakend"})),
}


def facts_for(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, object]:
    """What `workload` is told about the rest of the lab; empty for most."""
    told = {name: tell(lab, workload) for name, (tell, kinds) in _TOLD.items() if workload.catalogue in kinds}
    return {name: fact for name, fact in told.items() if fact}

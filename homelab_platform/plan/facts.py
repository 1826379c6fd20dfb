"""The facts that a workload takes from the rest of the lab.

Belongs here: which kinds of workload are told what about their neighbours (a monitoring system its scrape targets, a
DNS server its records). A change of such a fact changes these workloads and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homelab_platform.lab import interfaces
from homelab_platform.plan.layers import make_key
from homelab_platform.plan.telemetry import node_telemetry

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload


def providers(lab: ResolvedLab, *names: str) -> tuple[str, ...]:
    """The keys of what provides one of these interfaces: workloads, else hosts that have a service which does."""
    found = tuple(make_key("workload", workload.name) for workload in interfaces.workloads_with(lab, *names))
    return found or tuple(make_key("host", host.name) for host in interfaces.hosts_with(lab, *names))


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
    "scrape_targets": (_scrape_targets, frozenset({interfaces.PROMETHEUS})),
    "dns_records": (_dns_records, frozenset({interfaces.DNS_RECORDS})),
    "address_pool": (_address_pool, frozenset({interfaces.ADDRESS_POOL})),
    "certificates": (
        _certificates,
        frozenset({interfaces.CERTIFICATES, interfaces.HOST_CERTIFICATES, interfaces.INGRESS}),
    ),
    "clients": (
        _clients,
        frozenset({interfaces.OIDC, interfaces.FORWARD_AUTH, interfaces.LDAP, interfaces.GATEWAY}),
    ),
    "telemetry": (_telemetry, frozenset({interfaces.MACHINE_READINGS})),
    "people": (_people, frozenset({interfaces.OIDC, interfaces.LDAP})),
    "hostnames": (
        _hostnames,
        frozenset({interfaces.DASHBOARD, interfaces.UPTIME_CHECKS, interfaces.INGRESS, interfaces.GATEWAY}),
    ),
}
"""What is told to whoever provides one of these interfaces."""


def facts_for(lab: ResolvedLab, workload: ResolvedWorkload) -> dict[str, object]:
    """What `workload` is told about the rest of the lab; empty for most."""
    told = {name: tell(lab, workload) for name, (tell, to) in _TOLD.items() if to & set(workload.provides)}
    return {name: fact for name, fact in told.items() if fact}

"""Derived facts of watching: one Prometheus target for every exporter of every host and workload.

Belongs here: scrape targets only.
"""

from __future__ import annotations

from collections.abc import Mapping

from homelab_platform.lab.resolved import ResolvedHost, ResolvedWorkload, ScrapeTarget


def scrape_targets(
    hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> tuple[ScrapeTarget, ...]:
    """Targets sorted by job and instance. A host is asked over the VPN when it stands elsewhere or has no address."""
    found: dict[tuple[str, str], ScrapeTarget] = {}
    for host in hosts.values():
        address = _address(host)
        for exporter in host.exporters.values():
            target = f"{_bracketed(address)}:{exporter.port}"
            found[exporter.name, host.name] = ScrapeTarget(
                job=exporter.name, instance=host.name, address=target, path=exporter.path
            )
    for workload in workloads.values():
        for exporter in workload.exporters.values():
            for instance, address in _places(workload, hosts, exporter.port):
                target = f"{_bracketed(address)}:{exporter.port}"
                found.setdefault(
                    (exporter.name, instance),
                    ScrapeTarget(job=exporter.name, instance=instance, address=target, path=exporter.path),
                )
    return tuple(found[key] for key in sorted(found))


def _address(host: ResolvedHost) -> str:
    if host.vpn_address and (host.site != "home" or not host.address):
        return host.vpn_address
    return host.address or host.address6 or host.dns_names[0]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _places(workload: ResolvedWorkload, hosts: Mapping[str, ResolvedHost], port: int) -> list[tuple[str, str]]:
    """(instance, address) of one exporter: every host that it runs on, or the Service that its port lies behind."""
    if workload.kind == "host":
        return [(name, _address(hosts[name])) for name in workload.placement]
    names = {spec.port: name for name, spec in workload.ports.items()}
    service = workload.service_of(names.get(port, str(port)))
    return [(workload.name, f"{service}.{workload.namespace}.svc.cluster.local")]

"""What a host's own configuration takes from the rest of the lab, so that nix/ and ansible/ derive nothing themselves.

Belongs here: networks behind the words of firewall rules, time servers and locale, where the host's own readings go.
Not here: what follows from the host alone (hosts.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from homelab_platform.lab import interfaces
from homelab_platform.lab.resolve.nodes import node_facts
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab, ResolvedWorkload

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10")
"""Addresses that never come from the internet: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291."""

MQTT_PORT = 1883
TOPIC = "homelab"
"""First part of the topic of machines' readings: homelab/<stream>/<host>."""


def with_host_facts(lab: ResolvedLab) -> ResolvedLab:
    """The lab with `sources`, `system` and `telemetry` of each host that the platform configures."""
    shared = _Shared(lab, tuple(exposure_rules(lab)), system_facts(lab), frozenset(collected_in_cluster(lab)))
    hosts = {name: _told(shared, host) if host.os != "external" else host for name, host in lab.hosts.items()}
    return lab.model_copy(update={"hosts": hosts})


@dataclass(frozen=True)
class _Shared:
    """What is the same for every host, derived once: of a large lab each would cost a walk over all hosts."""

    lab: ResolvedLab
    exposure: tuple[dict[str, Any], ...]
    system: dict[str, Any]
    in_cluster: frozenset[str]
    networks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def networks_of(self, word: str) -> tuple[str, ...]:
        if word not in self.networks:
            self.networks[word] = networks_of(self.lab, word)
        return self.networks[word]


def _told(shared: _Shared, host: ResolvedHost) -> ResolvedHost:
    firewall = (*host.firewall, *(shared.exposure if host.k3s else ()))
    words = sorted({str(word) for rule in firewall for word in rule.get("from", ("any",))} - {"any"})
    return host.model_copy(
        update={
            "firewall": firewall,
            "sources": {word: shared.networks_of(word) for word in words},
            "system": shared.system | _records(shared.lab, host),
            "node": node_facts(shared.lab, host),
            "telemetry": {} if host.name in shared.in_cluster else telemetry_facts(shared.lab, host),
        }
    )


def exposure_rules(lab: ResolvedLab) -> Iterator[dict[str, Any]]:
    """What nodes let through to workloads: the firewall stands ahead of the translation to pods, so a workload that the
    lab shows to the LAN needs a rule there. Who else may come (the internet) is for the lab's own rules to say.
    """
    entrances: set[str] = set()
    for name, workload in sorted(lab.workloads.items()):
        if workload.kind == "host":
            continue
        if workload.exposure in ("ingress", "vpn"):
            entrances.update(("lan", "vpn") if workload.exposure == "ingress" else ("vpn",))
        elif workload.exposure == "lan" and workload.ports:
            ports = sorted({f"{port.protocol}/{port.port}" for port in workload.ports.values()})
            yield {"name": name, "allow": ports, "from": ["lan", "vpn"], "to": ["any"]}
    if entrances:
        yield {"name": "ingress", "allow": ["tcp/443", "tcp/80"], "from": sorted(entrances), "to": ["any"]}


def _records(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    """The lab's names, for a host that answers them."""
    records = {**(lab.network.settings.get("dns_records6") or {}), **lab.network.dns_records}
    return {"records": dict(sorted(records.items()))} if "unbound" in host.services and records else {}


def networks_of(lab: ResolvedLab, word: str) -> tuple[str, ...]:
    """The networks that a firewall rule means by `word`; for `internet` those that are not it.

    A LAN that the lab does not name is taken to be any private network.
    """
    net = lab.network
    lan = tuple(n for n in (net.lan, net.lan6) if n) or PRIVATE
    meanings: dict[str, Iterable[str | None]] = {
        "lan": lan,
        "hosts": _addresses(lab, lab.hosts.values(), lan),
        "cluster": (*_addresses(lab, (h for h in lab.hosts.values() if h.k3s), lan), *_pods(lab)),
        "internal": (*lan, *_vpn(lab), *net.vlans.values(), *_pods(lab)),
        "vpn": _vpn(lab),
        "internet": (*PRIVATE, *lan, *_vpn(lab), *net.vlans.values(), *_pods(lab)),
    }
    if word in meanings:
        found = meanings[word]
    elif word in net.vlans:
        found = (net.vlans[word],)
    elif word in lab.hosts:
        found = _addresses(lab, (lab.hosts[word],), lan)
    elif word in lab.workloads or word in net.zones:
        found = _pods(lab)
    else:
        found = (word,) if _is_network(word) else ()
    return _merged(found)


def _merged(found: Iterable[str | None]) -> tuple[str, ...]:
    """Without doubles and without networks inside others, which nftables refuses in one set."""
    parsed = [ipaddress.ip_network(n, strict=False) for n in found if n]
    four = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv6Network))
    return (*map(str, four), *map(str, six))


def _addresses(lab: ResolvedLab, hosts: Iterable[ResolvedHost], lan: tuple[str, ...]) -> Iterator[str]:
    """Each host's addresses; one that takes what DHCP gives can be anywhere in the LAN."""
    for host in hosts:
        known = [a for a in (host.address, host.address6, host.vpn_address) if a]
        yield from known
        if not host.address:
            yield from lan


def _pods(lab: ResolvedLab) -> tuple[str, ...]:
    if lab.cluster is None:
        return ()
    return tuple(n for n in (lab.network.pod_cidr, lab.network.settings.get("pods6")) if n)


def _vpn(lab: ResolvedLab) -> tuple[str, ...]:
    star: Mapping[str, object] = lab.network.vpn.get("wireguard") or {}
    mesh = ("100.64.0.0/10",) if lab.network.vpn.get("tailscale") else ()
    return tuple(str(n) for n in (star.get("cidr"), star.get("cidr6"), *mesh) if n)


def _is_network(word: str) -> bool:
    try:
        ipaddress.ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def system_facts(lab: ResolvedLab) -> dict[str, Any]:
    """Language, keyboard and time servers of every host; without time servers those of its distribution."""
    locale = lab.settings.get("locale") or {}
    facts = {
        "language": locale.get("language", "en_GB.UTF-8"),
        "keyboard": locale.get("keyboard", "us"),
        "ntp": list(lab.network.settings.get("ntp") or ()),
    }
    return {name: value for name, value in facts.items() if value}


def collected_in_cluster(lab: ResolvedLab) -> tuple[str, ...]:
    """The nodes whose readings the workload `collector` takes: there the host has no collector of its own."""
    nodes = (*lab.cluster.servers, *lab.cluster.agents) if lab.cluster else ()
    for workload in lab.workloads.values():
        if interfaces.MACHINE_READINGS in workload.provides and workload.kind == "helm":
            return tuple(sorted(name for name in nodes if name in (workload.placement or nodes)))
    return ()


def telemetry_facts(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    """The stream that the host's own readings belong to and the broker they go to; empty if the lab lacks either."""
    streams = [s for _, s in sorted(lab.streams.items()) if s.source == "machine"]
    stream = next((s for s in streams if host.name in (s.source_settings.get("hosts") or (host.name,))), None)
    broker = broker_address(lab)
    if stream is None or broker is None:
        return {}
    paces = [s.every for s in stream.sensors.values() if s.every]
    every = stream.source_settings.get("every") or min(paces, default=10.0)
    # Only a broker on the cluster is given users by the platform (plan/broker_access.py).
    able = interfaces.workloads_with(lab, interfaces.BROKER_USERS)
    own = any(workload.kind in ("helm", "kustomize") for workload in able)
    return {
        "stream": stream.name,
        "site": str(stream.source_settings.get("site") or lab.name),
        "every": max(1.0, float(every)),
        "to": f"mqtt://{broker}",
        "topic": f"{TOPIC}/{stream.name}/{host.name}",
        **({"user": f"host-{host.name}"} if own else {}),
    }


def broker_port(workload: ResolvedWorkload) -> int:
    """The port on which a broker takes MQTT: the one that is called so, else the usual one."""
    return next((p.port for p in workload.ports.values() if p.name in ("mqtt", "tcp-mqtt")), MQTT_PORT)


def broker_address(lab: ResolvedLab) -> str | None:
    """host:port of the lab's MQTT broker as hosts reach it: its own address, else its host's, else its name.

    A pod that the LAN reaches without an address of its own answers at its node's.
    """
    for workload in interfaces.workloads_with(lab, interfaces.MQTT):
        at_host = workload.kind == "host" or (workload.exposure == "lan" and len(workload.placement) == 1)
        on = [lab.hosts[h].address for h in workload.placement if h in lab.hosts] if at_host else []
        where = workload.address or next((a for a in on if a), None) or workload.hostname
        if where:
            return f"{where}:{broker_port(workload)}"
    for host in interfaces.hosts_with(lab, interfaces.MQTT):
        service = interfaces.service_with(host.services, interfaces.MQTT)
        if service and host.address:
            return f"{host.address}:{int(host.services[service].get('port') or MQTT_PORT)}"
    return None

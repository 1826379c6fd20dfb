"""Rules about ports and load-balancer addresses: one listener for each.

Belongs here: what listens on hosts, on shared addresses and on NodePorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import POOL, SERVICELB, expose_path, facts, ref
from homelab_platform.lab.rules.values import leaves

_BEHIND_ONE_NGINX = {"reverse-proxy", "nextcloud", "fluidd", "hedgedoc", "acme"}  # names of one web server, no clash
_K3S = {"server": (("tcp", 6443), ("tcp", 10250), ("udp", 8472)), "agent": (("tcp", 10250), ("udp", 8472))}


class Listener(NamedTuple):
    """Something that listens on a port of a host."""

    protocol: str
    port: int
    owner: str
    path: Path


def port_clash(ctx: RuleContext) -> Iterable[Problem]:
    """Two programs cannot listen on one port of one machine: the second does not start, or the wrong one answers."""
    everywhere = list(_on_all_nodes(ctx))
    told: set[tuple[str, str]] = set()
    for host in ctx.lab.hosts:
        seen: dict[tuple[str, int], Listener] = {}
        for listener in [*_on_host(ctx, host), *(everywhere if host in facts(ctx).nodes else ())]:
            first = seen.setdefault((listener.protocol, listener.port), listener)
            if first.owner == listener.owner or {first.owner, listener.owner} <= _BEHIND_ONE_NGINX:
                continue
            here, other = _told_at(ctx, first, listener)
            if (here.owner, other.owner) in told:
                continue
            told.add((here.owner, other.owner))
            where = f" {ref(ctx, other.path, here.path)}" if ctx.positions.written(*other.path) else ""
            port = f"{here.protocol}/{here.port}"
            what = f"{here.owner} and {other.owner} both listen on {port} of {host}{where}"
            yield ctx.problem(here.path, what, _apart(ctx, here, other), "port-clash", key=True)


def _told_at(ctx: RuleContext, a: Listener, b: Listener) -> tuple[Listener, Listener]:
    """The one that is written further down first."""
    if not ctx.positions.written(*b.path) or not ctx.positions.written(*a.path):
        return (b, a) if ctx.positions.written(*b.path) else (a, b)
    return (b, a) if ctx.positions.key(*a.path) <= ctx.positions.key(*b.path) else (a, b)


def _apart(ctx: RuleContext, here: Listener, other: Listener) -> str:
    if "systemd-resolved" in (here.owner, other.owner):
        return "Write services.resolved.enable: false under nix.options, or move the DNS server to another host."
    if "k3s's Traefik" in (here.owner, other.owner):
        return "Write cluster: {disable: [traefik]}, or use metallb, which gives each service an address of its own."
    known, workloads = facts(ctx), ctx.lab.workloads
    balanced = [o for o in (here.owner, other.owner) if o in workloads and known.way(o, workloads[o]) == "lan"]
    if balanced and known.load_balancer == SERVICELB:
        return "Use metallb, which gives each service an address of its own, or expose one of them by name (ingress)."
    return "Move one of them to another host, or give it another port."


def _on_host(ctx: RuleContext, name: str) -> Iterator[Listener]:
    host, known = ctx.lab.hosts[name], facts(ctx)
    if _resolved_runs(host.nix.options):
        path: Path = ("hosts", name, "nix", "options")
        yield Listener("udp", 53, "systemd-resolved", path)
        yield Listener("tcp", 53, "systemd-resolved", path)
    for protocol, port in _K3S.get(host.k3s or "", ()):
        yield Listener(protocol, port, "k3s", ("hosts", name, "k3s"))
    for service, said in host.services.items():
        path = ("hosts", name, "services", service)
        for protocol, port in _service_ports(service, said or {}):
            yield Listener(protocol, port, service, path)
    wireguard = ctx.lab.network.vpn.wireguard
    if wireguard and wireguard.hub == name:
        yield Listener("udp", wireguard.port, "wireguard", ("network", "vpn", "wireguard", "port"))
    for key, workload in ctx.lab.workloads.items():
        entry = known.entries[key]
        if name not in workload.on:
            continue
        for tail, port in _numbers(workload.values, "hostPort"):
            yield Listener("tcp", port, key, ("workloads", key, "values", *tail))
        if entry is not None and (entry.kind == "host" or getattr(entry, "host_network", False)):
            for protocol, port in known.ports(key, workload).values():
                owner = entry.name if entry.kind == "host" else key  # a host service may be named in both places
                yield Listener(protocol, port, owner, ("workloads", key))


def _service_ports(service: str, said: dict[str, object]) -> Iterator[tuple[str, int]]:
    known = HOST_SERVICES.get(service)
    for index, text in enumerate(known.ports if known else ()):
        protocol, _, port = text.partition("/")
        own = said.get("port") if index == 0 else None
        for number in port.split("-")[:1]:
            yield protocol, own if isinstance(own, int) and not isinstance(own, bool) else int(number)


def _resolved_runs(options: dict[str, object]) -> bool:
    dotted = options.get("services.resolved.enable")
    services = options.get("services")
    resolved = services.get("resolved") if isinstance(services, dict) else options.get("services.resolved")
    nested = resolved.get("enable") if isinstance(resolved, dict) else None
    return dotted is True or nested is True


def _on_all_nodes(ctx: RuleContext) -> Iterator[Listener]:
    """What k3s's own load balancer opens on every node, pods on the hosts' network, and host ports of Helm values."""
    known = facts(ctx)
    servicelb = known.load_balancer == SERVICELB
    if servicelb and known.bundled_traefik:
        yield Listener("tcp", 80, "k3s's Traefik", ("cluster", "disable"))
        yield Listener("tcp", 443, "k3s's Traefik", ("cluster", "disable"))
    for name, workload, entry in known.pods():
        on_hosts = entry is not None and getattr(entry, "host_network", False) and not workload.on
        balanced = servicelb and known.way(name, workload) == "lan"
        if on_hosts or balanced:
            for protocol, port in known.ports(name, workload).values():
                yield Listener(protocol, port, name, ("workloads", name))
        if not workload.on:
            for path, port in _numbers(workload.values, "hostPort"):
                yield Listener("tcp", port, name, ("workloads", name, "values", *path))


def _numbers(values: object, key: str) -> Iterator[tuple[Path, int]]:
    for path, value in leaves(values):
        parent = path[-2] if len(path) > 1 else None
        if path[-1:] != (key,) and parent != f"{key}s":
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            yield path, value
        elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
            yield path, int(value)


def node_port(ctx: RuleContext) -> Iterable[Problem]:
    """Kubernetes gives NodePorts from one range only, and each port once."""
    first_text, _, last_text = ctx.lab.network.node_ports.split("/")[-1].partition("-")
    low, high = int(first_text), int(last_text or 0)
    seen: dict[int, tuple[str, Path]] = {}
    for name, workload in ctx.lab.workloads.items():
        for tail, port in _numbers(workload.values, "nodePort"):
            path: Path = ("workloads", name, "values", *tail)
            if high and port and not low <= port <= high:
                what = f"{name}: NodePort {port} is outside of {low}-{high}"
                yield ctx.problem(path, what, f"Choose one from {low} to {high}, or leave it out.", "node-port")
                continue
            first, where = seen.setdefault(port, (name, path))
            if port and where != path:
                what = f"{name}: NodePort {port} is taken by {first} {ref(ctx, where, path)}"
                yield ctx.problem(path, what, "Choose another one, or leave it out.", "node-port")


def node_port_range(ctx: RuleContext) -> Iterable[Problem]:
    """The range of NodePorts must leave the ports of the system and of k3s alone."""
    path: Path = ("network", "node_ports")
    low, high = ctx.lab.network.node_ports.split("/")[-1].partition("-")[::2]
    if not high:
        yield ctx.problem(path, f"node_ports {low} is one port, not a range", "Write 30000-32767.", "node-port-range")
        return
    reserved = {22: "SSH", 53: "DNS", 80: "HTTP", 443: "HTTPS", 6443: "the Kubernetes API", 10250: "the kubelet"}
    for port, owner in reserved.items():
        if int(low) <= port <= int(high):
            what = f"node_ports {low}-{high} contains {port}, the port of {owner}"
            yield ctx.problem(path, what, "Write 30000-32767, or leave node_ports out.", "node-port-range")
            return


def address_asked_twice(ctx: RuleContext) -> Iterable[Problem]:
    """MetalLB gives one address to two services only when both name the same sharing key, and other ports."""
    known = facts(ctx)
    asked: dict[str, str] = {}
    taken: dict[tuple[str, str, int], str] = {}
    for name, workload in ctx.lab.workloads.items():
        address, key = workload.expose.address, workload.expose.share
        if known.load_balancer != POOL or (address is None and key is None):
            continue
        if address is not None:
            first = asked.setdefault(address, name)
            other = ctx.lab.workloads[first].expose.share
            if first != name and (key is None or key != other):
                where = ref(ctx, expose_path(ctx, first), expose_path(ctx, name))
                what = f"{name} asks for {address}, which {first} has already {where}"
                remedy = "Give both the same sharing key (share: web), or one of them another address."
                yield ctx.problem(expose_path(ctx, name), what, remedy, "address-asked-twice")
                continue
        for protocol, port in known.ports(name, workload).values() if key else ():
            holder = taken.setdefault((str(key), protocol, port), name)
            if holder != name:
                what = f"{name} and {holder} share one address ({key}) and both need {protocol}/{port} of it"
                yield ctx.problem(
                    ("workloads", name, "expose"),
                    what,
                    "Give one of them an address of its own.",
                    "address-asked-twice",
                )
                break


def address_outside_pool(ctx: RuleContext) -> Iterable[Problem]:
    """A load balancer gives only what it has: addresses of its pool, or without MetalLB those of the nodes."""
    known = facts(ctx)
    nodes = {host.address: name for name, host in known.nodes.items() if host.address}
    pools = ctx.lab.network.load_balancers
    for name, workload in ctx.lab.workloads.items():
        address, entry = workload.expose.address, known.entries[name]
        if address is None or (entry is not None and entry.kind == "host"):
            continue
        path = expose_path(ctx, name)
        if known.load_balancer == POOL and pools and not any(address in pool for pool in pools):
            what = f"{name} asks for {address}, which is not in load_balancers {', '.join(map(str, pools))}"
            yield ctx.problem(path, what, f"Choose one of {pools[0]}, or leave it out.", "address-outside-pool")
        elif known.load_balancer != POOL and known.nodes and address not in nodes:
            what = f"{name} asks for {address}, but without metallb a service has the addresses of the nodes"
            remedy = "Add metallb: to workloads and load_balancers to network, or write expose: lan."
            yield ctx.problem(path, what, remedy, "address-outside-pool")


def port_not_its_own(ctx: RuleContext) -> Iterable[Problem]:
    """A name that leads to a port where nobody listens answers 502."""
    for name, workload in ctx.lab.workloads.items():
        entry, port = facts(ctx).entries[name], workload.expose.port
        ports = {number for _, number in facts(ctx).ports(name, workload).values()}
        if port is not None and entry is not None and ports and port not in ports:
            what = f"{name} does not listen on {port}"
            remedy = q.did_you_mean("", {str(p) for p in ports}, "Its ports")
            yield ctx.problem(("workloads", name, "expose", "port"), what, remedy, "port-not-its-own")


RULES = (port_clash, node_port, node_port_range, address_asked_twice, address_outside_pool, port_not_its_own)

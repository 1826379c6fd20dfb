"""What several rules need to know about a lab, derived once per check.

Belongs here: cheap derived facts of the lab as written, and small helpers for messages. Not here: rules, or facts that
the resolved lab already has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from homelab_platform.lab import interfaces
from homelab_platform.lab import quantities as q
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.catalogue import Entry
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.positions import Path

GI = 1024**3

POOL, SERVICELB = "pool", "servicelb"
"""Who gives services addresses of their own."""


def facts(ctx: RuleContext) -> Facts:
    """The facts of this check; rules of one check share them."""
    made = ctx.shared.get("facts")
    if not isinstance(made, Facts):
        made = ctx.shared["facts"] = Facts(ctx)
    return made


def ref(ctx: RuleContext, path: Path, of: Path = ()) -> str:
    """'(line 10)' for what stands at `path`; with the file's name when it is another file than that of `of`."""
    there, here = ctx.positions.key(*path), ctx.positions.key(*of)
    return f"(line {there.line})" if there.file == here.file else f"({there.file}:{there.line})"


def listed(words: list[str] | tuple[str, ...], most: int = 4) -> str:
    """'a, b and c', or the first few and '…'."""
    if len(words) > most:
        return f"{', '.join(words[:most])}, …"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


@dataclass(frozen=True)
class Claim:
    """Something that says 'this address is mine': a host, an interface, a router, the API, a service."""

    address: str
    path: Path
    owner: str
    kind: str  # host, interface, gateway, api or service
    site: str = "home"


class Facts:
    """Derived facts of one lab."""

    def __init__(self, ctx: RuleContext) -> None:
        self.ctx = ctx
        self.lab = ctx.lab

    @cached_property
    def nodes(self) -> dict[str, Host]:
        """Hosts that are part of the cluster."""
        return {name: host for name, host in self.lab.hosts.items() if host.k3s}

    @cached_property
    def servers(self) -> list[str]:
        """k3s servers."""
        return [name for name, host in self.nodes.items() if host.k3s == "server"]

    @cached_property
    def entries(self) -> dict[str, Entry | None]:
        """Catalogue entries of the workloads; None of one's own and of unknown ones."""
        found: dict[str, Entry | None] = {}
        for name, workload in self.lab.workloads.items():
            known = self.ctx.catalog.resolve_name(workload.catalogue or name)
            found[name] = self.ctx.catalog[known] if known is not None else None
        return found

    @cached_property
    def by_entry(self) -> dict[str, str]:
        """Catalogue names that run here, and under which name."""
        return {entry.name: name for name, entry in reversed(self.entries.items()) if entry is not None}

    @cached_property
    def providers(self) -> dict[str, str]:
        """Names by which a need may be met, and the workload of this lab that meets it: its own, the catalogue's, and
        the interfaces that it provides."""
        found = dict(self.by_entry)
        for name, entry in self.entries.items():
            for interface in entry.provides if entry is not None else ():
                found.setdefault(interface, name)
        return found | {name: name for name in self.lab.workloads}

    @cached_property
    def known_names(self) -> set[str]:
        """Names of workloads of this lab: as written, as the catalogue has them, and what they bring along."""
        names = {*self.lab.workloads, *self.by_entry}
        for entry in self.entries.values():
            names.update(getattr(entry, "members", ()) or ())
            names.update(getattr(entry, "provides", ()) or ())
        if self.ctx.resolved is not None:
            names.update(self.ctx.resolved.workloads)
        return names

    @cached_property
    def names_here(self) -> set[str]:
        """Names by which something of this lab meets a need: of workloads, of services of hosts, and of the interfaces
        that either provide.
        """
        services = {service for host in self.ctx.lab.hosts.values() for service in host.services}
        on_hosts = {i for name in services if name in HOST_SERVICES for i in HOST_SERVICES[name].provides}
        return self.known_names | services | on_hosts

    def pods(self) -> Iterator[tuple[str, Workload, Entry | None]]:
        """Workloads that run as pods."""
        for name, workload in self.lab.workloads.items():
            entry = self.entries[name]
            if entry is None or entry.kind in ("helm", "kustomize"):
                yield name, workload, entry

    @cached_property
    def load_balancer(self) -> str | None:
        """Who gives addresses to services: POOL, a workload that has them from the lab's pool; SERVICELB, which k3s
        brings along and which has the nodes' own; or nobody."""
        if interfaces.ADDRESS_POOL in self.providers:
            return POOL
        disabled = self.lab.cluster.disable if self.lab.cluster else None
        return None if disabled and SERVICELB in disabled else SERVICELB

    @cached_property
    def bundled_traefik(self) -> bool:
        """Whether the Traefik that k3s brings along runs."""
        disabled = self.lab.cluster.disable if self.lab.cluster else None
        return "traefik" not in (disabled or ()) and interfaces.INGRESS not in self.providers

    def way(self, name: str, workload: Workload) -> str:
        """How a workload is reached: as it says, else as the catalogue has it."""
        expose, entry = workload.expose, self.entries[name]
        if expose.way is not None:
            return expose.way
        if expose.address is not None:
            return "lan"
        if expose.host is not None:
            return entry.exposure if entry is not None and entry.exposure in ("lan", "ingress", "vpn") else "ingress"
        return entry.exposure if entry is not None else "cluster"

    def ports(self, name: str, workload: Workload) -> dict[str, tuple[str, int]]:
        """Ports of a workload: name to protocol and number."""
        entry = self.entries[name]
        ports: dict[str, tuple[str, int]] = {}
        if entry is not None:
            ports = {key: (p.protocol, p.port) for key, p in entry.ports.items()}
        return ports | {key: (p.protocol, p.port) for key, p in workload.ports.items()}

    @cached_property
    def claims(self) -> list[Claim]:
        """Every address that something of this lab says is its own, in the order of the file."""
        return list(self._claims())

    def _claims(self) -> Iterator[Claim]:
        network = self.lab.network
        for field in ("gateway", "gateway6"):
            if address := getattr(network, field):
                yield Claim(address, ("network", field), "the router", "gateway")
        for name, vlan in network.vlans.items():
            if vlan.gateway and vlan.gateway != network.gateway:
                yield Claim(vlan.gateway, ("network", "vlans", name, "gateway"), f"the router of {name}", "gateway")
        for name, host in self.lab.hosts.items():
            yield from _host_claims(name, host)
        if self.lab.cluster and self.lab.cluster.api.address:
            yield Claim(self.lab.cluster.api.address, ("cluster", "api", "address"), "the Kubernetes API", "api")
        for name, workload in self.lab.workloads.items():
            if workload.expose.address:
                yield Claim(workload.expose.address, expose_path(self.ctx, name), name, "service")

    @cached_property
    def by_address(self) -> dict[str, list[Claim]]:
        """Claims by address."""
        found: dict[str, list[Claim]] = {}
        for claim in self.claims:
            found.setdefault(claim.address, []).append(claim)
        return found

    def free_address(self, cidr: str) -> str | None:
        """The first address of a network that nobody has, from .2 on and outside of DHCP and pools."""
        network = self.lab.network
        ranges = [r for r in (network.dhcp, *network.load_balancers) if r is not None]
        net = q.network(cidr)
        first = int(net.network_address)
        for offset in range(2, min(net.num_addresses - 1, 4096)):
            address = str(q.ip(str(net[offset])))
            number = first + offset
            skip = next((r for r in ranges if r.version == net.version and r.first <= number <= r.last), None)
            if skip is None and address not in self.by_address:
                return address
        return None

    def arch(self, host: Host) -> str:
        """Processor architecture of a host."""
        return BOARDS[host.board].arch


def _host_claims(name: str, host: Host) -> Iterator[Claim]:
    path: Path = ("hosts", name)
    if host.address and host.address != "dhcp":
        yield Claim(host.address, (*path, "address"), name, "host", host.site)
    if host.address6:
        yield Claim(host.address6, (*path, "address6"), name, "host", host.site)
    for key, interface in host.interfaces.items():
        for field in ("address", "address6"):
            address = getattr(interface, field)
            if address and address != "dhcp" and address not in (host.address, host.address6):
                at = (*path, "interfaces", key, field)
                yield Claim(address, at, f"{name} ({key})", "interface", host.site)


def expose_path(ctx: RuleContext, name: str) -> Path:
    """Where the address of a workload stands: `expose: 192.168.0.201` or `expose: {address: …}`."""
    long = ("workloads", name, "expose", "address")
    return long if ctx.positions.written(*long) else ("workloads", name, "expose")

"""Rules about networks: none inside another, each large enough, IPv4 and IPv6 in their places, the VPN star whole.

Belongs here: LAN, VLANs, pod, service and VPN networks. Single addresses are in addresses.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from homelab_platform.errors import Problem
from homelab_platform.lab import interfaces
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts, ref

CGNAT = "100.64.0.0/10"  # Tailscale numbers its machines from here (RFC 6598)
_K3S_PODS = ("10.42.0.0/16", "10.43.0.0/16")
_PRIVATE = ("172.20.0.0/16", "172.21.0.0/16", "10.142.0.0/16", "10.143.0.0/16", "172.30.0.0/16", "172.31.0.0/16")


class Span(NamedTuple):
    """A network as integers, with its name, its CIDR and where it stands."""

    version: int
    first: int
    last: int
    name: str
    cidr: str
    path: Path


def networks(ctx: RuleContext) -> list[tuple[str, str, Path]]:
    """Every network of the lab: how it is called, its CIDR, where it stands."""
    network = ctx.lab.network
    found: list[tuple[str, str, Path]] = []
    for field in ("lan", "lan6"):
        if cidr := getattr(network, field):
            found.append((field, cidr, ("network", field)))
    found += [(f"VLAN {name}", vlan.cidr, _vlan_path(ctx, name)) for name, vlan in network.vlans.items()]
    if facts(ctx).nodes:
        for field in ("pods", "services", "pods6", "services6"):
            if cidr := getattr(network, field):
                found.append((field, cidr, ("network", field)))
    if wireguard := network.vpn.wireguard:
        for field in ("cidr", "cidr6"):
            if cidr := getattr(wireguard, field):
                found.append(("the VPN", cidr, ("network", "vpn", "wireguard", field)))
    if network.vpn.tailscale:
        found.append(("Tailscale", CGNAT, ("network", "vpn", "tailscale")))
    return found


def _vlan_path(ctx: RuleContext, name: str) -> Path:
    long = ("network", "vlans", name, "cidr")
    return long if ctx.positions.written(*long) else long[:3]


def overlapping_networks(ctx: RuleContext) -> Iterable[Problem]:
    """Where two networks overlap, packets to one end up in the other: pods that cannot reach the printer, a VPN that
    cuts off the LAN. k3s takes 10.42.0.0/16 and 10.43.0.0/16 when nothing is said, which some home LANs use."""
    spans = []
    for name, cidr, path in networks(ctx):
        net = q.network(cidr)
        spans.append(Span(net.version, int(net.network_address), int(net.broadcast_address), name, cidr, path))
    open_: list[Span] = []
    for span in sorted(spans, key=lambda s: s[:3]):
        open_ = [o for o in open_ if o.version == span.version and o.last >= span.first]
        for other in open_:
            if not _same_wire(other, span):
                yield _overlap(ctx, other, span)
        open_.append(span)


def _same_wire(one: Span, other: Span) -> bool:
    """A VLAN that is the LAN itself, or the LAN as one large network that holds its VLANs."""
    vlans = [s for s in (one, other) if s.name.startswith("VLAN ")]
    return len(vlans) == 1 and any(s.name in ("lan", "lan6") for s in (one, other))


def _overlap(ctx: RuleContext, a: Span, b: Span) -> Problem:
    """Told of the one that is written; of two, of the one further down."""
    written = [s for s in (a, b) if ctx.positions.written(*s.path)]
    here = max(written, key=lambda s: ctx.positions.at(*s.path)) if written else b
    if len(written) == 2 and not _cluster_network(here) and any(map(_cluster_network, (a, b))):
        here = a if _cluster_network(a) else b
    other = b if here is a else a
    where = f" {ref(ctx, other.path, here.path)}" if other in written else " (what k3s takes when nothing is said)"
    if other.name == "Tailscale":
        where = " (the addresses that Tailscale gives)"
    what = f"{here.name} {here.cidr} overlaps {other.name} {other.cidr}{where}"
    return ctx.problem(here.path, what, _elsewhere(ctx, here, other), "overlapping-networks")


def _cluster_network(span: Span) -> bool:
    return span.name in ("pods", "services", "pods6", "services6")


def _elsewhere(ctx: RuleContext, here: Span, other: Span) -> str:
    taken = [q.network(cidr) for _, cidr, _ in networks(ctx)]
    free = [c for c in (*_K3S_PODS, *_PRIVATE) if not any(n.version == 4 and q.network(c).overlaps(n) for n in taken)]
    mover = next((s for s in (other, here) if _cluster_network(s)), here)
    suggestion = f", such as {free[0]}" if free and here.version == 4 else ""
    return f"Give {mover.name} another network{suggestion}."


def pods_too_small(ctx: RuleContext) -> Iterable[Problem]:
    """k3s gives every node a piece of the pod network; when the pieces run out, further nodes start no pods."""
    network, nodes = ctx.lab.network, len(facts(ctx).nodes)
    prefix, path = q.network(network.pods).prefixlen, ("network", "pods")
    if q.network(network.pods).version != 4 or not nodes:
        return
    if prefix > network.node_mask:
        what = f"pods {network.pods} is smaller than the /{network.node_mask} that each node takes"
        yield ctx.problem(path, what, _larger_pods(nodes, network.node_mask), "pods-too-small")
        return
    room = 2 ** (network.node_mask - prefix)
    if room < nodes:
        rooms = f"{room} node{'s' * (room > 1)} of /{network.node_mask}"
        what = f"pods {network.pods} has room for {rooms}; the lab has {nodes}"
        yield ctx.problem(path, what, _larger_pods(nodes, network.node_mask), "pods-too-small")


def _larger_pods(nodes: int, mask: int) -> str:
    need = mask - (nodes - 1).bit_length()
    return f"Use at least a /{need}; leave pods out for 10.42.0.0/16, which carries {2 ** max(0, mask - 16)} nodes."


def address_family(ctx: RuleContext) -> Iterable[Problem]:
    """An IPv6 address where an IPv4 one is due, or the other way round, ends in a configuration nothing can start."""
    network = ctx.lab.network
    wanted: list[tuple[str | None, int, Path]] = []
    for field, version in _FAMILIES.items():
        wanted.append((getattr(network, field), version, ("network", field)))
    if wireguard := network.vpn.wireguard:
        wanted.append((wireguard.cidr, 4, ("network", "vpn", "wireguard", "cidr")))
        wanted.append((wireguard.cidr6, 6, ("network", "vpn", "wireguard", "cidr6")))
    for name, host in ctx.lab.hosts.items():
        wanted.append((None if host.address == "dhcp" else host.address, 4, ("hosts", name, "address")))
        wanted.append((host.address6, 6, ("hosts", name, "address6")))
    for text, version, path in wanted:
        if text and (":" in text) != (version == 6):
            other = f"{path[-1]}6" if version == 4 else str(path[-1]).removesuffix("6")
            what = f"{'.'.join(map(str, path[1:]))} {text} is IPv{10 - version}, IPv{version} is due"
            yield ctx.problem(path, what, f"Write it under {other}, or give an IPv{version} one.", "address-family")


_FAMILIES = {
    "lan": 4, "gateway": 4, "pods": 4, "services": 4, "lan6": 6, "gateway6": 6, "pods6": 6, "services6": 6,
}  # fmt: skip


def dual_stack_pair(ctx: RuleContext) -> Iterable[Problem]:
    """k3s runs dual stack only when pods and services both have IPv6."""
    network = ctx.lab.network
    for one, other in (("pods6", "services6"), ("services6", "pods6")):
        if getattr(network, one) and not getattr(network, other):
            what = f"{one} is given, {other} is missing"
            example = "fd00:43::/112" if other == "services6" else "fd00:42::/56"
            yield ctx.problem(("network", one), what, f"Add {other}: {example}, or leave both out.", "dual-stack-pair")


def services_too_large(ctx: RuleContext) -> Iterable[Problem]:
    """Kubernetes refuses to start with a service network of more than 2^20 addresses (its allocator's bound)."""
    network = ctx.lab.network
    for field, most in (("services", 12), ("services6", 108)):
        cidr = getattr(network, field)
        if cidr and facts(ctx).nodes and q.network(cidr).prefixlen < most:
            what = f"{field} {cidr} is larger than Kubernetes takes"
            yield ctx.problem(("network", field), what, f"Use at most a /{most}.", "services-too-large")


def vpn_hub(ctx: RuleContext) -> Iterable[Problem]:
    """Every peer connects to the hub: it must be a host that others can find."""
    wireguard = ctx.lab.network.vpn.wireguard
    if wireguard is None or wireguard.hub not in ctx.lab.hosts:
        return  # unknown_reference speaks of it
    hub, path = ctx.lab.hosts[wireguard.hub], ("network", "vpn", "wireguard", "hub")
    if hub.vpn == "none":
        there = ref(ctx, ("hosts", wireguard.hub, "vpn"), path)
        what = f"{wireguard.hub} is the hub of the VPN but says vpn: none {there}"
        yield ctx.problem(path, what, "Leave vpn: none out, or choose another hub.", "vpn-hub")
    if hub.address in (None, "dhcp") and wireguard.endpoint is None:
        what = f"nobody can find the hub {wireguard.hub}: it has no fixed address and the VPN no endpoint"
        yield ctx.problem(path, what, f"Give {wireguard.hub} an address, or add endpoint: vpn.example.org.", "vpn-hub")


def vpn_addresses(ctx: RuleContext) -> Iterable[Problem]:
    """Each peer's VPN address is the network plus its number; two with one number would cut each other off."""
    wireguard = ctx.lab.network.vpn.wireguard
    if wireguard is None:
        return
    net = q.network(wireguard.cidr)
    numbers: dict[int, tuple[str, Path]] = {}
    for name, number, path in _vpn_numbers(ctx):
        if not 0 < number < net.num_addresses - 1:
            what = f"{name}: number {number} is not inside the VPN {wireguard.cidr}"
            yield ctx.problem(path, what, f"Use 1 to {net.num_addresses - 2}.", "vpn-addresses")
            continue
        first, where = numbers.setdefault(number, (name, path))
        if where != path:
            what = f"{name} has the VPN number {number}, which {first} has already {ref(ctx, where, path)}"
            free = next((n for n in range(1, net.num_addresses - 1) if n not in numbers), None)
            yield ctx.problem(path, what, f"Use {free}, or leave it out." if free else "Leave it out.", "vpn-addresses")
    members = len(wireguard.peers) + len([h for h in ctx.lab.hosts.values() if h.os != "external" and h.vpn != "none"])
    if members > net.num_addresses - 2:
        what = f"the VPN {wireguard.cidr} has {net.num_addresses - 2} addresses for {members} hosts and devices"
        path = ("network", "vpn", "wireguard", "cidr")
        yield ctx.problem(path, what, "Use a larger network, such as 10.9.0.0/24.", "vpn-addresses")


def _vpn_numbers(ctx: RuleContext) -> Iterator[tuple[str, int, Path]]:
    for name, host in ctx.lab.hosts.items():
        if isinstance(host.vpn, int):
            yield name, host.vpn, ("hosts", name, "vpn")
    wireguard = ctx.lab.network.vpn.wireguard
    for name, peer in wireguard.peers.items() if wireguard else ():
        if peer.postfix is not None:
            yield name, peer.postfix, ("network", "vpn", "wireguard", "peers", name, "postfix")


def vpn_key(ctx: RuleContext) -> Iterable[Problem]:
    """A WireGuard public key is 32 bytes in base64; a clipped one fails only when the phone tries to connect."""
    import base64
    import binascii

    wireguard = ctx.lab.network.vpn.wireguard
    seen: dict[str, tuple[str, Path]] = {}
    for name, peer in wireguard.peers.items() if wireguard else ():
        path: Path = ("network", "vpn", "wireguard", "peers", name, "public_key")
        if peer.public_key is None:
            continue
        try:
            size = len(base64.b64decode(peer.public_key, validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size != 32:
            what = f"{name}: this is not a WireGuard public key (44 characters of base64, {len(peer.public_key)} given)"
            yield ctx.problem(path, what, "Copy the output of: wg pubkey < private.key", "vpn-key")
        first, where = seen.setdefault(peer.public_key, (name, path))
        if where != path:
            what = f"{name} has the public key of {first} {ref(ctx, where, path)}"
            yield ctx.problem(path, what, "Each device needs a key of its own.", "vpn-key")


def tailscale_routes(ctx: RuleContext) -> Iterable[Problem]:
    """Routes are offered by one machine; without it they lead nowhere."""
    tailscale = ctx.lab.network.vpn.tailscale
    if tailscale and tailscale.routes and not tailscale.router:
        what = "routes are offered to the mesh, but no host is their router"
        path = ("network", "vpn", "tailscale", "routes")
        yield ctx.problem(path, what, "Add router: and the name of a host.", "tailscale-routes")


def exposed_to_no_vpn(ctx: RuleContext) -> Iterable[Problem]:
    """A service that only the VPN reaches is lost when there is no VPN."""
    vpn = ctx.lab.network.vpn
    if vpn.wireguard or vpn.tailscale or interfaces.VPN in facts(ctx).providers:
        return
    for name, workload in ctx.lab.workloads.items():
        if workload.expose.way == "vpn":
            path = ("workloads", name, "expose")
            what = f"{name} is exposed to the VPN, but the lab has none"
            yield ctx.problem(path, what, "Add network.vpn, or write expose: ingress.", "exposed-to-no-vpn")


def dns_loop(ctx: RuleContext) -> Iterable[Problem]:
    """A resolver that asks itself answers nothing; nodes that ask a resolver in the cluster cannot pull its image after
    a power cut."""
    dns, own = ctx.lab.network.dns, set()
    if dns.lan in ctx.lab.workloads:
        own = {ctx.lab.workloads[dns.lan].expose.address}
    elif dns.lan in ctx.lab.hosts:
        own = {ctx.lab.hosts[dns.lan].address}
    for index, address in enumerate(dns.upstream):
        if address in own - {None, "dhcp"}:
            path: Path = ("network", "dns", "upstream", index)
            path = path if ctx.positions.written(*path) else path[:3]
            what = f"upstream {address} is {dns.lan} itself: it would ask itself"
            yield ctx.problem(path, what, "Give resolvers outside of the lab, such as 9.9.9.9.", "dns-loop")


RULES = (
    overlapping_networks, pods_too_small, address_family, dual_stack_pair, services_too_large, vpn_hub, vpn_addresses,
    vpn_key, tailscale_routes, exposed_to_no_vpn, dns_loop,
)  # fmt: skip

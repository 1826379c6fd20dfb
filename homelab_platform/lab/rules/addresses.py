"""Rules about single addresses and ranges: given once, inside their network, outside of each other.

Belongs here: hosts, routers, DHCP ranges, pools and services. Networks against networks are in networks.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.positions import Path
from homelab_platform.lab.ranges import AddressRange
from homelab_platform.lab.rules.facts import POOL, Claim, facts, ref


def duplicate_address(ctx: RuleContext) -> Iterable[Problem]:
    """Two machines with one address answer each other's packets; both seem broken at random."""
    known = facts(ctx)
    for claims in known.by_address.values():
        machines: dict[str, Claim] = {}
        for claim in claims:
            if claim.kind not in ("host", "interface"):
                continue
            first = machines.setdefault(claim.site, claim)
            if first is not claim:
                what = f"{claim.owner} has {claim.address}, which {first.owner} has already"
                yield ctx.problem(
                    claim.path, f"{what} {ref(ctx, first.path, claim.path)}", _another(ctx, claim), "duplicate-address"
                )


def _another(ctx: RuleContext, claim: Claim) -> str:
    known = facts(ctx)
    networks = [ctx.lab.network.lan, ctx.lab.network.lan6, *(v.cidr for v in ctx.lab.network.vlans.values())]
    for cidr in networks:
        if cidr and q.ip(claim.address) in q.network(cidr) and (free := known.free_address(cidr)):
            return f"Give one of them another address; {free} is free."
    return "Give one of them another address."


def duplicate_mac(ctx: RuleContext) -> Iterable[Problem]:
    """The router reserves an address by MAC address: two hosts with one MAC would be given one address."""
    seen: dict[str, tuple[str, Path]] = {}
    for name, host in ctx.lab.hosts.items():
        macs: list[tuple[str | None, Path]] = [(host.mac, ("hosts", name, "mac"))]
        macs += [(i.mac, ("hosts", name, "interfaces", key, "mac")) for key, i in host.interfaces.items()]
        for mac, path in macs:
            if mac is None:
                continue
            first, where = seen.setdefault(mac, (name, path))
            if where != path and (first != name or len(path) == len(where)):
                what = f"{name} has the MAC address {mac}, which {first} has already {ref(ctx, where, path)}"
                yield ctx.problem(path, what, f"Read it again on the machine: ip link, on {name}.", "duplicate-mac")


def host_outside_lan(ctx: RuleContext) -> Iterable[Problem]:
    """A host whose address is in no network of the lab cannot be reached from any other."""
    network = ctx.lab.network
    for name, host in ctx.lab.hosts.items():
        if _elsewhere(host):
            continue
        if host.address and host.address != "dhcp":
            vlan = network.vlans.get(host.vlan) if host.vlan else None
            homes = {host.vlan: vlan.cidr} if vlan and host.vlan else _home_networks(ctx)
            yield from _outside(ctx, name, host.address, ("hosts", name, "address"), homes)
        if host.address6 and network.lan6:
            homes = {"lan6": network.lan6, **{n: v.cidr for n, v in network.vlans.items() if ":" in v.cidr}}
            if not q.ip(host.address6).is_global:
                yield from _outside(ctx, name, host.address6, ("hosts", name, "address6"), homes)


def _elsewhere(host: Host) -> bool:
    return host.site != "home" or host.board == "cloud"


def _home_networks(ctx: RuleContext) -> dict[str, str]:
    network = ctx.lab.network
    if network.lan is None:
        return {}
    wireguard = network.vpn.wireguard
    vpn = {"vpn": wireguard.cidr} if wireguard else {}
    return {"lan": network.lan, **{name: vlan.cidr for name, vlan in network.vlans.items()}, **vpn}


def _outside(ctx: RuleContext, name: str, address: str, path: Path, homes: dict[str, str]) -> Iterator[Problem]:
    found = q.ip(address)
    if not homes or any(found in q.network(cidr) for cidr in homes.values()):
        return
    key, cidr = next(iter(homes.items()))
    free = facts(ctx).free_address(cidr)
    remedy = f"Give it an address of {cidr}{f', such as {free}' if free else ''}, or add its network under vlans."
    yield ctx.problem(path, f"{name}: {address} is outside of {key} {cidr}", remedy, "host-outside-lan")


def reserved_address(ctx: RuleContext) -> Iterable[Problem]:
    """The first and last address of a network and the router's address belong to no host."""
    networks = [c for c in (ctx.lab.network.lan, *(v.cidr for v in ctx.lab.network.vlans.values())) if c]
    routers = {c.address: c for c in facts(ctx).claims if c.kind == "gateway"}
    for claim in facts(ctx).claims:
        if claim.kind == "gateway":
            yield from _edge(ctx, claim, networks)
            continue
        host = ctx.lab.hosts.get(str(claim.path[1])) if claim.path[0] == "hosts" else None
        if host is not None and (_elsewhere(host) or (host.role == "router" and claim.address in routers)):
            continue
        if claim.kind == "service" and facts(ctx).load_balancer == POOL:
            continue  # pool_holds_taken_address and address_outside_pool speak of these
        if router := routers.get(claim.address):
            what = (
                f"{claim.owner} has {claim.address}, the address of {router.owner} {ref(ctx, router.path, claim.path)}"
            )
            yield ctx.problem(claim.path, what, _another(ctx, claim), "reserved-address")
        else:
            yield from _edge(ctx, claim, networks)


def _edge(ctx: RuleContext, claim: Claim, networks: list[str]) -> Iterator[Problem]:
    found = q.ip(claim.address)
    for cidr in networks:
        net = q.network(cidr)
        if net.version != found.version or net.num_addresses < 4 or found.version == 6:
            continue
        kind = {int(net.network_address): "network", int(net.broadcast_address): "broadcast"}.get(int(found))
        if kind:
            what = f"{claim.owner}: {claim.address} is the {kind} address of {cidr}"
            yield ctx.problem(claim.path, what, f"Use {net[1]} to {net[-2]}.", "reserved-address")


def pool_overlaps_dhcp(ctx: RuleContext) -> Iterable[Problem]:
    """A laptop could be given the address of a service."""
    network = ctx.lab.network
    ranges: list[tuple[str, AddressRange, Path]] = []
    if network.dhcp:
        ranges.append(("dhcp", network.dhcp, ("network", "dhcp")))
    for name, vlan in network.vlans.items():
        if vlan.dhcp and vlan.dhcp != network.dhcp:
            ranges.append((f"dhcp of {name}", vlan.dhcp, ("network", "vlans", name, "dhcp")))
    for pool, path in pools(ctx):
        for name, dhcp, where in ranges:
            if dhcp.overlaps(pool):
                what = f"{name} {dhcp} overlaps load_balancers {pool} {ref(ctx, path, where)}"
                yield ctx.problem(where, what, _apart(dhcp, pool), "pool-overlaps-dhcp")


def pools(ctx: RuleContext) -> list[tuple[AddressRange, Path]]:
    """The load balancers' pools and where they stand."""
    many = ctx.lab.network.load_balancers
    paths = [("network", "load_balancers", i) for i in range(len(many))]
    return [(pool, path if ctx.positions.written(*path) else path[:2]) for pool, path in zip(many, paths, strict=True)]


def _apart(dhcp: AddressRange, pool: AddressRange) -> str:
    ways = []
    if dhcp.first < pool.first:
        ways.append(f"end DHCP at {_last(pool.first - 1, dhcp)}")
    if dhcp.last < pool.last:
        ways.append(f"start the pool at {_last(dhcp.last + 1, dhcp)}")
    if not ways and pool.last < dhcp.last:
        ways.append(f"start DHCP at {_last(pool.last + 1, dhcp)}")
    text = " or ".join(ways) or "take one of them out of the other"
    return f"A laptop could be given the address of a service. {text[0].upper()}{text[1:]}."


def _last(number: int, like: AddressRange) -> str:
    return f".{number & 255}" if like.version == 4 else AddressRange(6, number, number).address(0)


def pool_holds_taken_address(ctx: RuleContext) -> Iterable[Problem]:
    """A service could be given the address of a host, of the router or of the Kubernetes API."""
    for pool, path in pools(ctx):
        for claim in facts(ctx).claims:
            number = int(q.ip(claim.address))
            if claim.kind == "service" or q.ip(claim.address).version != pool.version:
                continue
            if pool.first <= number <= pool.last:
                what = f"load_balancers {pool} contains {claim.address}, the address of {claim.owner}"
                remedy = f"Start the pool at {_last(number + 1, pool)}, end it at {_last(number - 1, pool)}, or move "
                yield ctx.problem(
                    path, f"{what} {ref(ctx, claim.path, path)}", f"{remedy}{claim.owner}.", "pool-holds-taken-address"
                )


def range_outside_network(ctx: RuleContext) -> Iterable[Problem]:
    """Addresses that are in no network of the lab are answered by nobody."""
    network = ctx.lab.network
    homes = [cidr for cidr in (network.lan, network.lan6, *(v.cidr for v in network.vlans.values())) if cidr]
    ranges = [("load_balancers", pool, path, homes) for pool, path in pools(ctx)]
    if network.dhcp:
        ranges.append(("dhcp", network.dhcp, ("network", "dhcp"), homes))
    for name, vlan in network.vlans.items():
        if vlan.dhcp:
            ranges.append((f"dhcp of {name}", vlan.dhcp, ("network", "vlans", name, "dhcp"), [vlan.cidr]))
    for name, pool, path, among in ranges:
        if among and network.lan and not any(pool.within(cidr) for cidr in among):
            what = f"{name} {pool} is not inside {' or '.join(among[:3])}"
            remedy = f"Choose addresses of {among[0]} that neither DHCP nor a host has."
            yield ctx.problem(path, what, remedy, "range-outside-network")
    for name, vlan in network.vlans.items():
        if vlan.gateway and q.ip(vlan.gateway) not in q.network(vlan.cidr):
            what = f"the gateway {vlan.gateway} is not inside {name} {vlan.cidr}"
            path = ("network", "vlans", name, "gateway")
            yield ctx.problem(path, what, f"Use {q.network(vlan.cidr)[1]}.", "range-outside-network")
    if network.gateway and network.lan and q.ip(network.gateway) not in q.network(network.lan):
        what = f"the gateway {network.gateway} is not inside lan {network.lan}"
        remedy = f"Use {q.network(network.lan)[1]}, or correct lan."
        yield ctx.problem(("network", "gateway"), what, remedy, "range-outside-network")


def pools_overlap(ctx: RuleContext) -> Iterable[Problem]:
    """Two pools that share an address could give it out twice."""
    ordered = sorted(pools(ctx), key=lambda item: (item[0].version, item[0].first))
    for (one, where), (other, path) in pairwise(ordered):
        if one.overlaps(other):
            what = f"load_balancers {other} overlaps {one} {ref(ctx, where, path)}"
            yield ctx.problem(path, what, f"Start it at {_last(one.last + 1, one)}, or join the two.", "pools-overlap")


def static_address_in_dhcp(ctx: RuleContext) -> Iterable[Problem]:
    """The router could give a host's address to somebody else, unless it reserves it."""
    network = ctx.lab.network
    ranges = {"dhcp": network.dhcp, **{f"dhcp of {n}": v.dhcp for n, v in network.vlans.items()}}
    for claim in facts(ctx).claims:
        if claim.kind not in ("host", "api") or (claim.kind == "host" and _reserves(ctx, claim)):
            continue
        number, version = int(q.ip(claim.address)), q.ip(claim.address).version
        for name, dhcp in ranges.items():
            if dhcp and dhcp.version == version and dhcp.first <= number <= dhcp.last and claim.site == "home":
                what = f"{claim.owner}: {claim.address} is inside {name} {dhcp}"
                remedy = "Let the router reserve it (mac: … and reserved: true), or choose an address outside of it."
                yield ctx.problem(claim.path, what, remedy, "static-address-in-dhcp")


def _reserves(ctx: RuleContext, claim: Claim) -> bool:
    host = ctx.lab.hosts[str(claim.path[1])]
    return host.reserved or host.mac is not None


def reservation_needs_mac(ctx: RuleContext) -> Iterable[Problem]:
    """A router recognises a host by its MAC address; without it there is nothing to reserve by."""
    for name, host in ctx.lab.hosts.items():
        if host.reserved and not host.mac:
            what = f"{name}: reserved says that the router reserves its address, but mac is missing"
            path = ("hosts", name, "reserved")
            yield ctx.problem(path, what, f"Add mac: of {name} (ip link shows it).", "reservation-needs-mac")
        elif host.reserved and host.address in (None, "dhcp"):
            what = f"{name}: reserved says that the router reserves its address, but no address is given"
            yield ctx.problem(("hosts", name, "reserved"), what, "Write address: 192.168.…", "reservation-needs-mac")


RULES = (
    duplicate_address, duplicate_mac, host_outside_lan, reserved_address, pool_overlaps_dhcp, pool_holds_taken_address,
    range_outside_network, pools_overlap, static_address_in_dhcp, reservation_needs_mac,
)  # fmt: skip

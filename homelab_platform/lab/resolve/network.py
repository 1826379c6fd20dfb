"""Derived facts of the network: VPN addresses and peers, load-balancer addresses, DNS records.

Belongs here: allocation of addresses. Every allocation is explicit wishes first, then a place that depends on the
name alone, so that adding one host or workload does not move another's address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homelab_platform.lab import quantities as q
from homelab_platform.lab.beside import wireguard_key
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.model.network import WireGuard
from homelab_platform.lab.ranges import AddressRange
from homelab_platform.lab.resolve.chosen import Draft, facts_of, free_slot, plain
from homelab_platform.lab.resolved import ResolvedHost, ResolvedNetwork, ResolvedWorkload


def vpn_members(draft: Draft, wireguard: WireGuard) -> tuple[str, ...]:
    """Hosts of the star, the hub included."""
    hosts = draft.lab.hosts
    if wireguard.hosts is not None:
        named = {name for name in wireguard.hosts if name in hosts}
    else:
        named = {name for name, host in hosts.items() if host.os != "external"}
    named = {name for name in named if hosts[name].vpn != "none"}
    return tuple(sorted({*named, wireguard.hub} & set(hosts)))


def vpn_addresses(draft: Draft) -> dict[str, str]:
    """VPN address of every host and device: the hub is .1, then said postfixes, then the end of the LAN address.

    Hosts without either get a place by their name.
    """
    wireguard = draft.lab.network.vpn.wireguard
    if wireguard is None:
        return {}
    net = q.network(wireguard.cidr)
    room = min(net.num_addresses - 2, 65_534)
    taken: dict[int, str] = {}
    hosts = draft.lab.hosts
    members = vpn_members(draft, wireguard)
    wishes = _wishes(wireguard, {name: hosts[name] for name in members})
    for name, wish in wishes:
        if 1 <= wish <= room and wish not in taken and name not in taken.values():
            taken[wish] = name
    for name in (*members, *sorted(wireguard.peers)):
        if name not in taken.values():
            slot = free_slot(name, room, {n - 1 for n in taken})
            if slot is not None:
                taken[slot + 1] = name
    base = int(net.network_address)
    kind = type(net.network_address)
    return {name: str(kind(base + number)) for number, name in sorted(taken.items())}


def _wishes(wireguard: WireGuard, members: Mapping[str, Host]) -> list[tuple[str, int]]:
    """(name, last part of the address) in order of precedence."""
    said = [(name, host.vpn) for name, host in sorted(members.items()) if isinstance(host.vpn, int)]
    devices = [(name, peer.postfix) for name, peer in sorted(wireguard.peers.items()) if peer.postfix is not None]
    ends = [
        (name, int(q.ip(host.address)) & 0xFF)
        for name, host in sorted(members.items())
        if host.address and host.address != "dhcp" and q.ip(host.address).version == 4
    ]
    hub = [] if any(name == wireguard.hub for name, _ in said) else [(wireguard.hub, 1)]
    return [*said, *devices, *hub, *ends]


def vpn_facts(draft: Draft, addresses: Mapping[str, str]) -> dict[str, Any]:
    """The VPN section of lab.json: the star with a /32 for every spoke, and the Tailscale mesh."""
    facts: dict[str, Any] = {}
    vpn = draft.lab.network.vpn
    if vpn.wireguard is not None:
        facts["wireguard"] = _star(vpn.wireguard, addresses, draft.loaded.texts)
    if vpn.tailscale is not None:
        mesh = plain(vpn.tailscale.model_dump())
        managed = sorted(name for name, host in draft.lab.hosts.items() if host.os != "external")
        mesh["hosts"] = sorted(vpn.tailscale.hosts) if vpn.tailscale.hosts is not None else managed
        facts["tailscale"] = mesh
    return facts


def _star(wireguard: WireGuard, addresses: Mapping[str, str], texts: dict[str, str]) -> dict[str, Any]:
    peers: dict[str, Any] = {}
    for name, address in addresses.items():
        if name == wireguard.hub:
            continue
        device = wireguard.peers.get(name)
        own = [address, *([sixth] if (sixth := _second(wireguard, address)) else [])]
        allowed = [f"{one}/{q.ip(one).max_prefixlen}" for one in own]
        peers[name] = {"address": address, "allowed_ips": [*allowed, *(device.reaches if device else ())]}
        if sixth:
            peers[name]["address6"] = sixth
        if device is not None:
            peers[name] |= {"device": True, "public_key": device.public_key, "person": device.person}
        elif key := wireguard_key(texts, name):
            peers[name]["public_key"] = key
    return {
        "hub": wireguard.hub,
        "hub_address": addresses.get(wireguard.hub),
        "hub_public_key": wireguard_key(texts, wireguard.hub),
        "cidr": wireguard.cidr,
        "cidr6": wireguard.cidr6,
        "port": wireguard.port,
        "endpoint": wireguard.endpoint,
        "keepalive": wireguard.keepalive,
        "key": wireguard.key,
        "peers": peers,
        "spoke_allowed_ips": [wireguard.cidr, *([wireguard.cidr6] if wireguard.cidr6 else [])],
    }


def _second(wireguard: WireGuard, address: str) -> str | None:
    """The IPv6 address of the star's member that has this one: the same place in `cidr6`; None when it has no room."""
    if wireguard.cidr6 is None:
        return None
    place = int(q.ip(address)) - int(q.network(wireguard.cidr).network_address)
    room = q.network(wireguard.cidr6)
    return str(room[place]) if place < room.num_addresses else None


def load_balancer_addresses(draft: Draft, wanting: Iterable[tuple[str, str | None, str | None]]) -> dict[str, str]:
    """Load-balancer address of each workload of `wanting` (name, wished address, sharing key).

    Wishes first; workloads of one sharing key share; the ingress controller gets the pool's first address; the rest
    get a place by their name. A workload is left out when the pool is full.
    """
    pools = tuple(p for p in draft.lab.network.load_balancers if p.version == 4) or draft.lab.network.load_balancers
    rows = sorted(wanting)
    found: dict[str, str] = {name: wish for name, wish, _ in rows if wish}
    shared = {key: found[name] for name, _, key in rows if key and name in found}
    taken = set(found.values())
    size = sum(len(pool) for pool in pools)
    slots = {s for s in (_slot(pools, address) for address in taken) if s is not None}
    ingress = draft.first("ingress")
    for name, _, key in sorted(rows, key=lambda row: (row[0] != ingress, row[0])):
        if name in found:
            continue
        if key and key in shared:
            found[name] = shared[key]
            continue
        first = name == ingress and size > 0 and 0 not in slots
        slot = 0 if first else free_slot(key or name, min(size, 65_536), slots)
        if slot is None:
            continue
        slots.add(slot)
        found[name] = _at(pools, slot)
        if key:
            shared[key] = found[name]
    return found


def _slot(pools: tuple[AddressRange, ...], address: str) -> int | None:
    offset, number = 0, q.ip(address)
    for pool in pools:
        if pool.version == number.version and pool.first <= int(number) <= pool.last:
            return offset + int(number) - pool.first
        offset += len(pool)
    return None


def _at(pools: tuple[AddressRange, ...], slot: int) -> str:
    for pool in pools:
        if slot < len(pool):
            return pool.address(slot)
        slot -= len(pool)
    raise IndexError(slot)


def network_facts(
    draft: Draft, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload], vpn: Mapping[str, str]
) -> ResolvedNetwork:
    """The network section of lab.json."""
    lab, net = draft.lab, draft.lab.network
    tls = facts_of(net.tls)
    provider = next((name for name in ("cloudflare", "gandi") if getattr(net.dns, name)), None)
    tls["challenge"] = tls["challenge"] or ("dns-01" if provider else None)
    tls["provider"] = provider
    return ResolvedNetwork(
        domain=lab.domain,
        subdomain=lab.subdomain,
        lan=net.lan,
        lan6=net.lan6,
        gateway=net.gateway,
        dhcp=str(net.dhcp) if net.dhcp else None,
        load_balancers=", ".join(map(str, net.load_balancers)) or None,
        pod_cidr=net.pods,
        service_cidr=net.services,
        vlans={name: vlan.cidr for name, vlan in net.vlans.items()},
        zones={name: tuple(sorted(w for w, of in workloads.items() if of.zone == name)) for name in _ZONES},
        dns_servers=dns_servers(draft, hosts, workloads),
        dns_records=dns_records(draft, hosts, workloads),
        dns=facts_of(net.dns, exclude_none=True),
        vpn=vpn_facts(draft, vpn),
        firewall=tuple(
            firewall_facts(name, rule.model_dump(by_alias=True)) for name, rule in sorted(net.firewall.items())
        ),
        wifi={name: plain(wifi.model_dump()) for name, wifi in net.wifi.items()},
        tls=tls,
        settings=_further(draft, hosts),
    )


_ZONES = ("dmz", "internal", "restricted")


def _further(draft: Draft, hosts: Mapping[str, ResolvedHost]) -> dict[str, Any]:
    net = draft.lab.network
    return {
        "dns_records6": {name: h.address6 for h in hosts.values() if h.address6 for name in h.dns_names},
        "gateway6": net.gateway6,
        "dhcp_server": net.dhcp_server,
        "pods6": net.pods6,
        "services6": net.services6,
        "node_mask": net.node_mask,
        "node_ports": net.node_ports,
        "ntp": list(net.ntp),
        "vlans": {name: plain(vlan.model_dump()) for name, vlan in net.vlans.items()},
    }


def firewall_facts(name: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """A firewall rule as JSON-ready data."""
    return {"name": name, **{key: plain(value) for key, value in rule.items() if value not in (None, ())}}


def dns_servers(
    draft: Draft, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> tuple[str, ...]:
    """Resolvers of the LAN: the lab's own first, then the upstream ones."""
    name = draft.lab.network.dns.lan
    own: list[str] = []
    if name is not None and name in workloads:
        workload = workloads[name]
        own = [workload.address] if workload.address else [a for h in workload.placement if (a := hosts[h].address)]
    elif name is not None and name in hosts:
        own = [address for address in (hosts[name].address,) if address]
    return (*own, *draft.lab.network.dns.upstream)


def dns_records(
    draft: Draft, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]
) -> dict[str, str]:
    """Names of hosts and services and the addresses they lead to; records of the lab file win."""
    records: dict[str, str] = {}
    for host in hosts.values():
        for name in host.dns_names:
            if host.address:
                records[name] = host.address
    entrance = _entrance(draft, hosts, workloads)
    for workload in workloads.values():
        target = workload.address or (entrance if workload.exposure in ("ingress", "vpn") else None)
        if workload.kind == "host" and workload.placement:
            target = hosts[workload.placement[0]].address
        if workload.hostname and target:
            records[workload.hostname] = target
    return {**records, **draft.lab.network.dns.records}


def _entrance(draft: Draft, hosts: Mapping[str, ResolvedHost], workloads: Mapping[str, ResolvedWorkload]) -> str | None:
    """Where HTTPS comes in: the ingress controller's address, else the first server (k3s' own load balancer)."""
    ingress = draft.first("ingress")
    if ingress and workloads[ingress].address:
        return workloads[ingress].address
    return next((hosts[name].address for name in draft.servers if hosts[name].address), None)

"""Rules about names that point to something else in the lab: it must be there.

Belongs here: hosts, people, networks, disks, plans … by name. What a workload needs is in workloads.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.host_services.table import HOST_SERVICES
from homelab_platform.lab.model.network import FirewallRule
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import facts

Reference = tuple[Path, str, str]  # where it stands, the name, what is meant ("host", "host or workload" …)
_SOURCES = {"any", "internet", "lan", "vpn", "cluster", "hosts", "dmz", "internal", "restricted"}


def unknown_reference(ctx: RuleContext) -> Iterable[Problem]:
    """A name that leads nowhere is a typing error: what it was meant for would silently not happen."""
    kinds = _kinds(ctx)
    for path, name, kind in _references(ctx):
        known: set[str] = set().union(*(kinds[word] for word in kind.split(" or ")))
        if name not in known:
            what = f"{_owner(path)}{path[-1] if isinstance(path[-1], str) else path[-2]}: the lab has no {kind} {name}"
            remedy = q.did_you_mean(name, known, "The lab has")
            yield ctx.problem(path, what, remedy or f"Add the {kind} to the lab, or leave it out.", "unknown-reference")


def _owner(path: Path) -> str:
    return f"{path[1]}: " if path[0] in ("hosts", "workloads", "streams", "people", "tasks") else ""


def _kinds(ctx: RuleContext) -> dict[str, set[str]]:
    lab = ctx.lab
    return {
        "host": set(lab.hosts),
        "person": set(lab.people),
        "workload": facts(ctx).known_names,
        "wireless network": set(lab.network.wifi),
        "VLAN": set(lab.network.vlans),
        "ZFS pool": set(lab.storage.zfs),
        "backup target": set(lab.backups.to),
        "backup plan": set(lab.backups.plans),
        "task": set(lab.tasks),
        "disk": {disk for host in lab.hosts.values() for disk in host.disks},
        "host service": set(HOST_SERVICES),
    }


def _references(ctx: RuleContext) -> Iterator[Reference]:
    yield from _of_network(ctx)
    yield from _of_hosts(ctx)
    yield from _of_workloads(ctx)
    yield from _of_storage(ctx)
    yield from _of_operations(ctx)


def _each(path: Path, names: Iterable[str] | None, kind: str) -> Iterator[Reference]:
    for index, name in enumerate(names or ()):
        yield (*path, index), name, kind


def _one(path: Path, name: str | None, kind: str) -> Iterator[Reference]:
    if name is not None:
        yield path, name, kind


def _of_network(ctx: RuleContext) -> Iterator[Reference]:
    network: Path = ("network",)
    said = ctx.lab.network
    yield from _one((*network, "dhcp_server"), said.dhcp_server, "host or workload")
    yield from _one((*network, "dns", "lan"), said.dns.lan, "host or workload")
    if said.dns.dynamic:
        yield from _one((*network, "dns", "dynamic", "host"), said.dns.dynamic.host, "host")
    for provider in ("cloudflare", "gandi"):
        if account := getattr(said.dns, provider):
            yield from _each((*network, "dns", provider, "proxied"), account.proxied, "workload")
    for zone, members in said.zones.items():
        yield from _each((*network, "zones", zone), members, "workload or host or host service")
    if wireguard := said.vpn.wireguard:
        path: Path = (*network, "vpn", "wireguard")
        yield from _one((*path, "hub"), wireguard.hub, "host")
        yield from _each((*path, "hosts"), wireguard.hosts, "host")
        for name, peer in wireguard.peers.items():
            yield from _one((*path, "peers", name, "person"), peer.person, "person")
    if tailscale := said.vpn.tailscale:
        path = (*network, "vpn", "tailscale")
        yield from _each((*path, "hosts"), tailscale.hosts, "host")
        yield from _one((*path, "router"), tailscale.router, "host")
        yield from _one((*path, "exit_node"), tailscale.exit_node, "host")


def _of_hosts(ctx: RuleContext) -> Iterator[Reference]:
    for name, host in ctx.lab.hosts.items():
        path: Path = ("hosts", name)
        yield from _each((*path, "wifi"), host.wifi, "wireless network")
        yield from _one((*path, "vlan"), host.vlan, "VLAN")
        yield from _each((*path, "users"), host.users, "person")
        yield from _one((*path, "runs_on"), host.runs_on, "host")
        yield from _each((*path, "needs"), host.needs, "host")
        for disk, said in host.disks.items():
            yield from _one((*path, "disks", disk, "pool"), said.pool, "ZFS pool")
        for key, interface in host.interfaces.items():
            yield from _one((*path, "interfaces", key, "wifi"), interface.wifi, "wireless network")
            yield from _one((*path, "interfaces", key, "vlan"), interface.vlan, "VLAN")
    for name, person in ctx.lab.people.items():
        yield from _each(("people", name, "hosts"), person.hosts, "host")
    yield from _each(("nix", "builders"), ctx.lab.nix.builders, "host")
    if puppet := ctx.lab.tooling.puppet:
        yield from _one(("tooling", "puppet", "server"), puppet.server, "host")


def _of_workloads(ctx: RuleContext) -> Iterator[Reference]:
    for name, workload in ctx.lab.workloads.items():
        yield from _each(("workloads", name, "on"), workload.on, "host")
        yield from _each(("workloads", name, "backup", "plans"), workload.backup.plans, "backup plan")
    for role, rights in ctx.lab.identity.roles.items():
        yield from _each(("identity", "roles", role, "workloads"), rights.workloads, "workload")
    yield from _one(("identity", "gateway"), ctx.lab.identity.gateway, "workload")
    if ldap := ctx.lab.identity.ldap:
        yield from _one(("identity", "ldap", "host"), ldap.host, "host or workload")
    for name, stream in ctx.lab.streams.items():
        if stream.from_.machine:
            yield from _each(("streams", name, "from", "machine", "hosts"), stream.from_.machine.hosts, "host")


def _of_storage(ctx: RuleContext) -> Iterator[Reference]:
    storage = ctx.lab.storage
    yield from _one(("storage", "local_path", "disk"), storage.local_path.disk, "disk")
    if storage.longhorn:
        yield from _each(("storage", "longhorn", "hosts"), storage.longhorn.hosts, "host")
        yield from _one(("storage", "longhorn", "disk"), storage.longhorn.disk, "disk")
    if storage.media:
        yield from _one(("storage", "media", "host"), storage.media.host, "host")
    for name, pool in storage.zfs.items():
        yield from _one(("storage", "zfs", name, "host"), pool.host, "host")
        yield from _each(("storage", "zfs", name, "send_to"), pool.send_to, "backup target")


def _of_operations(ctx: RuleContext) -> Iterator[Reference]:
    for name, plan in ctx.lab.backups.plans.items():
        yield from _each(("backups", name, "to"), plan.to, "backup target")
    yield from _one(("patching", "canary"), ctx.lab.patching.canary, "host")
    yield from _each(("patching", "order"), ctx.lab.patching.order, "host")
    yield from _each(("logs", "to"), ctx.lab.logs.to, "workload or host or host service")
    for name, task in ctx.lab.tasks.items():
        yield from _one(("tasks", name, "by"), task.by, "person")
        yield from _each(("tasks", name, "needs"), task.needs, "task")
        for index, asset in enumerate(task.done_when):
            layer, _, item = asset.partition("/")
            if layer in ("host", "workload") and item:
                yield ("tasks", name, "done_when", index), item, layer


def unknown_firewall_end(ctx: RuleContext) -> Iterable[Problem]:
    """A rule from or to nobody protects nothing."""
    known = {*_SOURCES, *ctx.lab.hosts, *ctx.lab.network.vlans, *facts(ctx).known_names, *HOST_SERVICES}
    for path, rule in firewall_rules(ctx):
        for field, words in (("from", rule.from_), ("to", rule.to)):
            for index, word in enumerate(words):
                if word not in known and not _is_network(word):
                    what = f"{path[-1]}: {word} is no host, network or VLAN of the lab"
                    remedy = q.did_you_mean(word, known, "Known are")
                    yield ctx.problem((*path, field, index), what, remedy, "unknown-firewall-end")


def firewall_rules(ctx: RuleContext) -> Iterator[tuple[Path, FirewallRule]]:
    """Every named rule, of the lab and of single hosts."""
    for name, rule in ctx.lab.network.firewall.items():
        yield ("network", "firewall", name), rule
    for host_name, host in ctx.lab.hosts.items():
        for name, rule in host.firewall.items():
            yield ("hosts", host_name, "firewall", name), rule


def _is_network(word: str) -> bool:
    try:
        ipaddress.ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def unknown_backup_item(ctx: RuleContext) -> Iterable[Problem]:
    """A plan that saves something which is not there saves nothing, and nobody notices until the day it matters."""
    for name, plan in ctx.lab.backups.plans.items():
        for field, items in (("what", plan.what), ("but", plan.but)):
            for index, item in enumerate(items or ()):
                if problem := _item_problem(ctx, item):
                    what, remedy = problem
                    yield ctx.problem(
                        ("backups", name, field, index), what, remedy or "Leave it out.", "unknown-backup-item"
                    )


def _item_problem(ctx: RuleContext, item: str) -> tuple[str, str] | None:
    layer, slash, name = item.partition("/")
    resolved = ctx.resolved
    among: dict[str, set[str]] = {
        "workload": facts(ctx).known_names,
        "host": set(ctx.lab.hosts),
        "bucket": set(resolved.buckets) if resolved else {name},
        "table": {t.removeprefix("default.") for t in resolved.tables} if resolved else {name},
        "platform": {"dagster", "secrets", "nifi"},
        "disk": {name},
        "zfs": {name},
    }
    if not slash:
        known = {"cluster", "lake", *among["workload"]}
        return None if item in known else (f"the lab has no {item} to save", q.did_you_mean(item, known))
    if layer not in among:
        return f"{item} is no item", f"Items are cluster, {', '.join(f'{k}/…' for k in sorted(among)[:4])}."
    if name in among[layer]:
        return None
    return f"the lab has no {layer} {name} to save", q.did_you_mean(name, among[layer], "The lab has")


def disk_not_on_host(ctx: RuleContext) -> Iterable[Problem]:
    """A pool or a storage class can only use disks that its host has."""
    for name, pool in ctx.lab.storage.zfs.items():
        host = ctx.lab.hosts.get(pool.host)
        for index, disk in enumerate(pool.disks if host else ()):
            if host and disk not in host.disks:
                what = f"{name}: {pool.host} has no disk {disk}"
                remedy = q.did_you_mean(disk, host.disks, f"Disks of {pool.host}") or f"Add it to {pool.host}'s disks."
                yield ctx.problem(("storage", "zfs", name, "disks", index), what, remedy, "disk-not-on-host")
    longhorn = ctx.lab.storage.longhorn
    for index, name in enumerate(longhorn.hosts or () if longhorn and longhorn.disk else ()):
        host = ctx.lab.hosts.get(name)
        if host and longhorn and longhorn.disk not in host.disks:
            what = f"{name} has no disk {longhorn.disk} for Longhorn"
            remedy = f"Add it to {name}'s disks, or take {name} out of storage.longhorn.hosts."
            yield ctx.problem(("storage", "longhorn", "hosts", index), what, remedy, "disk-not-on-host")


RULES = (unknown_reference, unknown_firewall_end, unknown_backup_item, disk_not_on_host)

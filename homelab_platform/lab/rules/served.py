"""Rules about what a way of configuring hosts can do: what a host asks for is served, or refused at its line.

Belongs here: hosts. What other sections ask for and nothing serves is for the rules of those sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.host_services.served import Served, served_by
from homelab_platform.lab.host_services.table import EXPORTERS, HOST_SERVICES
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.positions import Path
from homelab_platform.lab.rules.facts import listed

CAUSES: dict[str, Path] = {
    "wireguard": ("network", "vpn", "wireguard"),
    "tailscale": ("network", "vpn", "tailscale"),
    "zfs": ("storage", "zfs"),
    "dynamic-dns": ("network", "dns", "dynamic"),
    "docker": ("cluster", "runtime"),
    "puppet-agent": ("tooling", "puppet"),
    "puppet-server": ("tooling", "puppet"),
    "remote-builder": ("nix", "builders"),
}
"""Where the wish for a service stands that a host does not name itself."""


def host_not_served(ctx: RuleContext) -> Iterable[Problem]:
    """A host that reads as applied although no role did what was asked of it is worse than one that is refused."""
    derived: dict[str, list[str]] = {}
    for name, host in ctx.lab.hosts.items():
        served = served_by(way_of(ctx, host))
        if host.os == "external" or served is None:
            continue
        for service in _derived(ctx, name, host):
            if service not in served.services:
                derived.setdefault(service, []).append(name)
        yield from _services(ctx, name, host, served)
        yield from _exporters(ctx, name, host, served)
        yield from _fields(ctx, name, host, served)
        yield from _disks(ctx, name, host, served)
    for service, names in sorted(derived.items()):
        what = f"no Ansible role sets up {service}, which this means for {listed(names)}"
        remedy = "Leave them out there (hosts: [...])." if service in ("tailscale", "wireguard") else "Use NixOS there."
        path = CAUSES.get(service, ("hosts", names[0]))
        yield ctx.problem(path, what, remedy, "host-not-served", key=path[0] == "hosts")


def _derived(ctx: RuleContext, name: str, host: Host) -> list[str]:
    """Services that the host has without naming them."""
    resolved = ctx.resolved.hosts.get(name) if ctx.resolved else None
    return sorted({*(resolved.services if resolved else ())} - {*host.services})


def way_of(ctx: RuleContext, host: Host) -> str:
    """The tool that configures the host."""
    usual = {"nixos": "nix", "external": "none"}
    return host.configured_by or usual.get(host.os, ctx.lab.tooling.configuration)


def _services(ctx: RuleContext, name: str, host: Host, served: Served) -> Iterator[Problem]:
    for service in host.services:
        if service not in HOST_SERVICES:
            continue
        path: Path = ("hosts", name, "services", service)
        if service not in served.services:
            what = f"{name}: no Ansible role sets up {service}"
            remedy = f"Ansible serves {', '.join(sorted(served.services))}."
            yield ctx.problem(path, what, remedy, "host-not-served", key=True)
            continue
        for key in host.services.get(service) or {}:
            if key not in served.services[service] and key in {*HOST_SERVICES[service].settings, "port", "data"}:
                read = ", ".join(served.services[service])
                remedy = f"It reads {read}." if read else "Leave it out."
                what = f"{name}: the role of {service} does not read {key}"
                yield ctx.problem((*path, key), what, remedy, "host-not-served", key=True)


def _exporters(ctx: RuleContext, name: str, host: Host, served: Served) -> Iterator[Problem]:
    for exporter in host.exporters:
        if exporter in EXPORTERS and exporter not in served.exporters:
            what = f"{name}: no Ansible role installs the exporter {exporter}"
            remedy = (
                f"Ansible installs {', '.join(sorted(served.exporters))}. Give one of your own its port: mine: 9999."
            )
            yield ctx.problem(("hosts", name, "exporters", exporter), what, remedy, "host-not-served", key=True)


def _fields(ctx: RuleContext, name: str, host: Host, served: Served) -> Iterator[Problem]:
    for field, refusal in served.fields.items():
        if getattr(host, field) and not (field == "wifi" and _has_image(host)):
            yield ctx.problem(
                ("hosts", name, field), f"{name}: {refusal.what}", refusal.remedy, "host-not-served", key=True
            )
    for profile in host.profiles:
        if profile not in served.profiles:
            what = f"{name}: no Ansible role sets up the profile {profile}"
            yield ctx.problem(("hosts", name, "profiles"), what, "Use NixOS, or leave it out.", "host-not-served")


def _has_image(host: Host) -> bool:
    """Whether `homelab image` makes what the host starts from, which joins its wireless networks."""
    return host.os == "raspios" and host.board.startswith("pi")


def _disks(ctx: RuleContext, name: str, host: Host, served: Served) -> Iterator[Problem]:
    resolved = ctx.resolved.hosts.get(name) if ctx.resolved else None
    for disk_name, disk in host.disks.items():
        path: Path = ("hosts", name, "disks", disk_name)
        for field, refusal in served.disk_fields.items():
            if getattr(disk, field):
                where = (*path, field)
                yield ctx.problem(where, f"{name}: {refusal.what}", refusal.remedy, "host-not-served", key=True)
        if disk.pool or resolved is None or disk_name not in resolved.disks:
            continue
        facts = resolved.disks[disk_name]
        if facts.filesystem not in served.filesystems:
            what = f"{name}: no Ansible role makes {facts.filesystem} on a disk"
            yield ctx.problem(path, what, f"Use {', '.join(served.filesystems)}.", "host-not-served")
        elif facts.mount not in (None, "/") and not disk.device:
            what = f"{name}: which device is the disk {disk_name}, to be mounted at {facts.mount}?"
            remedy = "Add its stable path: device: /dev/disk/by-id/… (ls -l /dev/disk/by-id at the host)."
            yield ctx.problem(path, what, remedy, "host-not-served")


def node_not_served(ctx: RuleContext) -> Iterable[Problem]:
    """A token or a datastore that the lab names and no role hands to k3s would leave a cluster with another one."""
    cluster = ctx.lab.cluster
    nodes = [name for name, host in ctx.lab.hosts.items() if host.k3s and way_of(ctx, host) == "ansible"]
    if cluster is None or not cluster.managed or not nodes:
        return
    if cluster.token is not None:
        what = f"no Ansible role gives k3s a token of the lab ({listed(nodes)})"
        remedy = "Leave it out: the first server makes one, and the platform brings it to those that join."
        yield ctx.problem(("cluster", "token"), what, remedy, "node-not-served", key=True)
    if cluster.datastore == "external":
        what = f"no Ansible role connects k3s to a datastore of its own ({listed(nodes)})"
        yield ctx.problem(("cluster", "datastore"), what, "Use sqlite or etcd.", "node-not-served", key=True)


RULES = (host_not_served, node_not_served)

"""Rules about NixOS hosts: what a lab asks for and nix/ cannot do is refused at its line, never by a build.

Belongs here: hosts that are configured by nix, and the sections that only they read. What every host is held to is
with the rules of those sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homelab_platform.errors import Problem
from homelab_platform.lab.beside import WIREGUARD, wireguard_key
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.host_services.nixos import served_nixos
from homelab_platform.lab.host_services.table import COMMON, EXPORTERS, HOST_SERVICES
from homelab_platform.lab.model.hosts import Host
from homelab_platform.lab.positions import Path

CAUSES: dict[str, Path] = {
    "puppet-agent": ("tooling", "puppet"),
    "puppet-server": ("tooling", "puppet"),
    "docker": ("cluster", "runtime"),
}
"""Where the wish for a service stands that a host does not name itself."""


def nixos_cannot(ctx: RuleContext) -> Iterable[Problem]:
    """A service, setting, exporter or board without a module would stop the build, or be missing without a word."""
    for name, host in _hosts(ctx):
        yield from _services(ctx, name, host)
        yield from _exporters(ctx, name, host)
        yield from _interfaces(ctx, name, host)
        for profile in host.profiles:
            if profile not in served_nixos().profiles:
                remedy = "Use the host service kiosk." if profile == "kiosk" else "Leave it out."
                what = f"{name}: no NixOS module sets up the profile {profile}"
                yield ctx.problem(("hosts", name, "profiles"), what, remedy, "nixos-cannot")
        board = BOARDS[host.board]
        if board.arch in ("armv6", "armv7") or (
            not host.board.startswith(("pi", "cm")) and host.board not in served_nixos().boards
        ):
            what = f"{name}: nix/ builds no system for the board {host.board}"
            remedy = "Use os: raspios (32-bit Pis), or os: external for what others install."
            yield ctx.problem(("hosts", name, "board"), what, remedy, "nixos-cannot")


def nixos_which_card(ctx: RuleContext) -> Iterable[Problem]:
    """Without its MAC a fixed address would be given to every network card of a PC, and start-up waits for each."""
    for name, host in _hosts(ctx):
        several = host.board in ("x86", "laptop", "arm64")
        if several and host.address not in (None, "dhcp") and not host.mac and not host.reserved:
            what = f"{name}: which network card gets {host.address}?"
            remedy = "Add its MAC: mac: 52:54:00:12:34:56 (ip link shows it), or take the address by DHCP."
            yield ctx.problem(("hosts", name, "address"), what, remedy, "nixos-which-card")


def nixos_unfree(ctx: RuleContext) -> Iterable[Problem]:
    """nixpkgs builds unfree packages only for who allows them by name; else the build stops."""
    needs = served_nixos().unfree
    for name, host in _hosts(ctx):
        allowed = {*host.nix.unfree, *ctx.lab.nix.unfree}
        wanted: list[tuple[str, Path, tuple[str, ...]]] = [
            (str(profile), ("profiles",), needs.profiles.get(profile, ())) for profile in host.profiles
        ]
        wanted += [(s, ("services", s), needs.services.get(s, ())) for s in host.services]
        if "nvidia" in host.services and (host.services["nvidia"] or {}).get("cuda", True):
            wanted.append(("nvidia with CUDA", ("services", "nvidia"), needs.cuda))
        for asked, place, names in wanted:
            missing = [one for one in names if one not in allowed]
            if missing:
                what = f"{name}: {asked} needs packages that are not free: {', '.join(missing)}"
                remedy = f"Allow them: nix: {{unfree: [{', '.join(sorted({*host.nix.unfree, *missing}))}]}}."
                yield ctx.problem(("hosts", name, *place), what, remedy, "nixos-unfree")


def nixos_k3s(ctx: RuleContext) -> Iterable[Problem]:
    """What k3s is asked for beyond nix/modules/k3s.nix would be missing on NixOS nodes; another minor is no answer."""
    cluster = ctx.lab.cluster
    nodes = [name for name, host in _hosts(ctx) if host.k3s]
    if cluster is None or not nodes:
        return
    asked: list[tuple[str, bool, str]] = [
        ("datastore", cluster.datastore == "external", "an external datastore"),
        ("runtime", cluster.runtime != "containerd", f"the runtime {cluster.runtime}"),
    ]
    for key, wanted, what in asked:
        if wanted:
            remedy = "Leave it out, or use Raspberry Pi OS or Debian for the nodes. Flags of k3s go into server_flags."
            text = f"NixOS nodes ({', '.join(nodes)}) cannot have k3s with {what} yet"
            yield ctx.problem(("cluster", key), text, remedy, "nixos-k3s", key=True)
    minor = ".".join(cluster.k3s.lstrip("v").split(".")[:2])
    if minor not in served_nixos().k3s:
        text = f"NixOS {served_nixos().release} has no k3s {minor}: NixOS nodes are {', '.join(nodes)}"
        remedy = f"It has {', '.join(served_nixos().k3s)}. k3s is upgraded one minor at a time."
        yield ctx.problem(("cluster", "k3s"), text, remedy, "nixos-k3s")


def nixos_tunnel_key(ctx: RuleContext) -> Iterable[Problem]:
    """Without the public half of its key a host is left out of the VPN, and a firewall that lets in the VPN alone
    shuts it off."""
    star = ctx.lab.network.vpn.wireguard
    if star is None or ctx.resolved is None:
        return
    for name, _ in _hosts(ctx):
        if "wireguard" not in ctx.resolved.hosts[name].services:
            continue
        file = WIREGUARD.format(name)
        if wireguard_key(ctx.loaded.texts, name) is None:
            what = f"{name}: the public half of its WireGuard key is missing: {file}"
            remedy = "homelab secrets init makes the pair: the private half for SOPS, the public one as this file."
            yield ctx.problem(("hosts", name), what, remedy, "nixos-tunnel-key", key=True)


def nixos_release(ctx: RuleContext) -> Iterable[Problem]:
    """The modules are written for one release of NixOS, and the Pi's kernel comes from a cache for that one."""
    if not list(_hosts(ctx)):
        return
    release = served_nixos().release
    if ctx.lab.nix.release != release:
        text = f"nix/ is written for NixOS {release}, the lab asks for {ctx.lab.nix.release}"
        yield ctx.problem(("nix", "release"), text, f"Write release: '{release}', or leave it out.", "nixos-release")


def nixos_own_modules(ctx: RuleContext) -> Iterable[Problem]:
    """A module of one's own lies beside the lab file and goes into each build; one that is not there stops it."""
    for name, host in _hosts(ctx):
        for place, text in enumerate(host.nix.modules):
            path: Path = ("hosts", name, "nix", "modules", place)
            file = ctx.folder / text
            if text.startswith("/") or ".." in text.split("/"):
                what = f"{name}: {text} does not lie beside the lab file"
                yield ctx.problem(path, what, "Copy it into the lab's folder: nix/mine.nix.", "nixos-own-modules")
            elif "\\" not in text and not file.is_file():
                what = f"{name}: there is no Nix module {text}"
                yield ctx.problem(path, what, f"Write it as {file.name} beside the lab file.", "nixos-own-modules")


def _hosts(ctx: RuleContext) -> Iterator[tuple[str, Host]]:
    """The hosts that nix configures."""
    for name, host in ctx.lab.hosts.items():
        if host.os == "nixos" and host.configured_by in (None, "nix"):
            yield name, host


def _services(ctx: RuleContext, name: str, host: Host) -> Iterator[Problem]:
    served = served_nixos()
    resolved = ctx.resolved.hosts.get(name) if ctx.resolved else None
    for service in sorted({*host.services, *(resolved.services if resolved else ())}):
        known = HOST_SERVICES.get(service)
        if known is None:
            continue
        own = service in host.services
        path: Path = ("hosts", name, "services", service) if own else CAUSES.get(service, ("hosts", name))
        if service not in served.services:
            remedy = served.not_served.get(service, f"NixOS has: {', '.join(sorted(served.services))}.")
            yield ctx.problem(path, f"{name}: no NixOS module sets up {service}", remedy, "nixos-cannot", key=own)
            continue
        takes = served.services[service]
        for key in host.services.get(service) or {}:
            if key not in takes and key in {**COMMON, **known.settings}:
                remedy = f"It takes {', '.join(takes)}." if takes else "Leave it out."
                what = f"{name}: the NixOS module of {service} does not take {key}"
                yield ctx.problem((*path, key), what, remedy, "nixos-cannot", key=True)


def _exporters(ctx: RuleContext, name: str, host: Host) -> Iterator[Problem]:
    for exporter in host.exporters:
        if exporter in EXPORTERS and exporter not in served_nixos().exporters:
            what = f"{name}: NixOS has no exporter {exporter}"
            remedy = f"It has {', '.join(sorted(served_nixos().exporters))}."
            yield ctx.problem(("hosts", name, "exporters", exporter), what, remedy, "nixos-cannot", key=True)


def _interfaces(ctx: RuleContext, name: str, host: Host) -> Iterator[Problem]:
    for key, interface in host.interfaces.items():
        path: Path = ("hosts", name, "interfaces", key)
        if interface.wifi:
            what = f"{name}: NixOS joins wireless networks by hosts.{name}.wifi, not by an interface"
            yield ctx.problem((*path, "wifi"), what, f"Write wifi: [{interface.wifi}] at the host.", "nixos-cannot")
        vlan = ctx.lab.network.vlans.get(interface.vlan or "")
        if vlan is not None and vlan.id is None:
            what = f"{name}: the VLAN {interface.vlan} of {key} has no tag"
            remedy = f"Add it: vlans: {{{interface.vlan}: {{cidr: {vlan.cidr}, id: 20}}}}."
            yield ctx.problem((*path, "vlan"), what, remedy, "nixos-cannot")


RULES = (
    nixos_cannot, nixos_which_card, nixos_unfree, nixos_k3s, nixos_tunnel_key, nixos_release, nixos_own_modules,
)  # fmt: skip

"""Derived facts of hosts: hardware, what is left for pods, services that follow from the lab, exporters, firewall.

Belongs here: one ResolvedHost from one Host. Units: memory in bytes, CPU in millicores.

What a node keeps for itself (measured figures of the project's facts): the system 0.35 GiB, a k3s server 1.3 GiB and
half a core, an agent 0.45 GiB and a tenth of a core; host services as lab/host_services/table.py has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homelab_platform.lab.beside import ssh_host_key
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.host_services.nixos import served_nixos
from homelab_platform.lab.host_services.served import served_by
from homelab_platform.lab.host_services.table import COMMON, EXPORTERS, HOST_SERVICES
from homelab_platform.lab.model.hosts import Disk, Host
from homelab_platform.lab.model.people import Person
from homelab_platform.lab.resolve.chosen import Draft, plain, settings_of
from homelab_platform.lab.resolve.network import firewall_facts
from homelab_platform.lab.resolve.secrets import host_secrets
from homelab_platform.lab.resolved import ResolvedDisk, ResolvedExporter, ResolvedHost

GI = 1024**3
OS_MEMORY = int(0.35 * GI)
K3S_MEMORY = {"server": int(1.3 * GI), "agent": int(0.45 * GI)}
K3S_CPU = {"server": 500, "agent": 100}
_KINDS = ("nvme", "ssd", "hdd", "usb", "emmc", "sd")
_IMAGES = {"virtualbox": "virtualbox", "hyperv": "hyperv", "libvirt": "qcow2"}
_BOOT = ("sd", "emmc", "nvme", "ssd", "virtual", "hdd", "usb")


def resolve_hosts(draft: Draft, vpn: Mapping[str, str]) -> dict[str, ResolvedHost]:
    """Every host of the lab by name."""
    return {name: _host(draft, name, draft.lab.hosts[name], vpn.get(name)) for name in sorted(draft.lab.hosts)}


def _host(draft: Draft, name: str, host: Host, vpn_address: str | None) -> ResolvedHost:
    board = BOARDS[host.board]
    cpu = host.cpu if host.cpu is not None else board.cpu or 0
    memory = host.memory if host.memory is not None else board.memory or 0
    services = host_services(draft, name, host, vpn_address)
    lab = draft.lab
    fixed = host.address if host.address and host.address != "dhcp" else None
    return ResolvedHost(
        name=name,
        board=host.board,
        arch=board.arch,
        os=host.os,
        role=host_role(host),
        site=host.site,
        address=fixed,
        address6=host.address6,
        mac=host.mac,
        dhcp=fixed is None or host.reserved,
        interfaces={n: plain(i.model_dump(exclude_none=True)) for n, i in host.interfaces.items()},
        wifi=_wifi(draft, host),
        k3s=host.k3s,
        cpu=cpu,
        memory=memory,
        allocatable_cpu=max(0, cpu - K3S_CPU[host.k3s]) if host.k3s else 0,
        allocatable_memory=_allocatable(host, memory, services),
        disks=resolve_disks(host),
        users=host_users(draft, name, host),
        services=services,
        exporters=host_exporters(host, services, configured_by(draft, host)),
        firewall=_firewall(draft, name, host, services),
        labels=dict(host.labels),
        taints=tuple(sorted(host.taints)),
        dns_names=tuple(f"{n}.{lab.domain}" for n in (name, *sorted(host.dns_names))),
        vpn_address=vpn_address,
        ssh_host_key=ssh_host_key(draft.loaded.texts, name),
        secrets=host_secrets(draft, name, host, vpn_address),
        needs=_needs(draft, name, host),
        settings=_settings(draft, host),
    )


def host_role(host: Host) -> str:
    """What the host is for, when it does not say so."""
    if host.role:
        return host.role
    if host.k3s:
        return "node"
    if host.board == "nas":
        return "nas"
    return "vm" if BOARDS[host.board].virtual else "support"


def configured_by(draft: Draft, host: Host) -> str:
    """Tool that configures the host."""
    usual = {"nixos": "nix", "external": "none"}
    return host.configured_by or usual.get(host.os, draft.lab.tooling.configuration)


def _wifi(draft: Draft, host: Host) -> dict[str, Any] | None:
    networks = {n: plain(draft.lab.network.wifi[n].model_dump()) for n in host.wifi if n in draft.lab.network.wifi}
    return {"networks": networks} if networks else None


def _allocatable(host: Host, memory: int, services: Mapping[str, Mapping[str, Any]]) -> int:
    if host.k3s is None:
        return 0
    used = sum(_service_memory(name, settings) for name, settings in services.items())
    return max(0, memory - OS_MEMORY - K3S_MEMORY[host.k3s] - used)


def _service_memory(name: str, settings: Mapping[str, Any]) -> int:
    if name == "zfs" and isinstance(settings.get("arc"), int):
        return int(settings["arc"])
    return HOST_SERVICES[name].memory if name in HOST_SERVICES else 0


def disk_kind(name: str, disk: Disk) -> str:
    """sd, ssd, nvme, hdd, usb or emmc, read from the disk's name when it is not said; virtual otherwise."""
    return disk.kind or next((kind for kind in _KINDS if name.startswith(kind)), "virtual")


def resolve_disks(host: Host) -> dict[str, ResolvedDisk]:
    """The disks with mount points: the one that boots at /, others below /mnt unless they belong to a pool."""
    if not host.disks:
        return {}
    kinds = {name: disk_kind(name, disk) for name, disk in sorted(host.disks.items())}
    rooted = any(disk.mount == "/" for disk in host.disks.values())
    free = [name for name in kinds if not host.disks[name].mount and not host.disks[name].pool]
    boot = None if rooted or not free else min(free, key=lambda name: (_BOOT.index(kinds[name]), name))
    found = {}
    for name, kind in kinds.items():
        disk = host.disks[name]
        mount = disk.mount or ("/" if name == boot else None if disk.pool else f"/mnt/{name}")
        filesystem = disk.filesystem or ("zfs" if disk.pool else "ext4")
        found[name] = ResolvedDisk(
            name=name, kind=kind, size=disk.size, mount=mount, filesystem=filesystem, device=disk.device
        )
    return found


def host_users(draft: Draft, name: str, host: Host) -> tuple[str, ...]:
    """Who has a login: those the host names, else admins, deployers, those who name the host, devs on test machines."""
    if host.os == "external":
        return ()
    people = draft.lab.people
    if host.users is not None:
        return tuple(sorted({user for user in host.users if user in people}))
    return tuple(sorted(user for user, person in people.items() if _may_log_in(person, name, host, draft)))


def _may_log_in(person: Person, name: str, host: Host, draft: Draft) -> bool:
    if person.hosts is not None:
        return name in person.hosts
    if person.kind == "build":
        return "remote-builder" in host.services or name in draft.lab.nix.builders
    rights = draft.lab.identity.roles.get(person.role)
    if rights is not None and rights.ssh is not None:
        return rights.ssh
    return person.kind == "deploy" or person.role == "admin" or (person.role == "dev" and host.dev)


def host_services(draft: Draft, name: str, host: Host, vpn_address: str | None) -> dict[str, dict[str, Any]]:
    """The services the host names, and those that follow from the rest of the lab, with their settings."""
    wanted: dict[str, dict[str, Any]] = {service: said or {} for service, said in host.services.items()}
    if host.os != "external":
        for service in _following(draft, name, host, vpn_address):
            wanted.setdefault(service, {})
    found = {}
    for service in sorted(wanted):
        known = HOST_SERVICES.get(service)
        specs = {**COMMON, **known.settings} if known else {}
        if service == "nfs-client" and service not in host.services:
            wanted[service] = {"mounts": _volumes_mount(draft)}
        found[service] = settings_of(specs, wanted[service])
    return found


def _volumes_mount(draft: Draft) -> dict[str, str]:
    """The NAS folder that all nodes mount for volumes: folder here → server:folder there."""
    nfs = draft.lab.storage.nfs
    if nfs is None:
        return {}
    host = draft.lab.hosts.get(nfs.server)
    address = host.address if host is not None and host.address not in (None, "dhcp") else nfs.server
    return {nfs.mount: f"{address}:{nfs.path}"}


def _following(draft: Draft, name: str, host: Host, vpn_address: str | None) -> list[str]:
    lab = draft.lab
    storage, vpn, dynamic = lab.storage, lab.network.vpn, lab.network.dns.dynamic
    mesh = vpn.tailscale is not None and (vpn.tailscale.hosts is None or name in vpn.tailscale.hosts)
    tool = configured_by(draft, host)
    puppet = lab.tooling.puppet
    longhorn = storage.longhorn
    mounts = storage.nfs is not None and storage.nfs.mode == "host-mount" and host.k3s is not None
    rows = {
        "wireguard": vpn_address is not None,
        "tailscale": mesh,
        "zfs": any(pool.host == name for pool in storage.zfs.values()),
        "open-iscsi": longhorn is not None and host.k3s is not None and name in (longhorn.hosts or (name,)),
        "nfs-client": mounts,
        "puppet-agent": tool == "puppet",
        "puppet-server": puppet is not None and puppet.server == name,
        "remote-builder": name in lab.nix.builders,
        "docker": lab.cluster is not None and lab.cluster.runtime == "docker" and host.k3s is not None,
        "dynamic-dns": dynamic is not None and dynamic.host == name,
    }
    return [service for service, follows in rows.items() if follows]


def host_exporters(host: Host, services: Mapping[str, Mapping[str, Any]], way: str) -> dict[str, ResolvedExporter]:
    """The node exporter on every host we install, those of its services that its way installs, and those it names."""
    served = served_by(way)
    if host.os == "external" and not host.exporters:
        return {}
    found = {} if host.os == "external" else {"node": ResolvedExporter(name="node", port=EXPORTERS["node"])}
    for service in services:
        for name, port in (HOST_SERVICES[service].exporters if service in HOST_SERVICES else {}).items():
            if served is None or name in served.exporters:
                found[name] = ResolvedExporter(name=name, port=port)
    if host.os == "nixos":  # what follows from a service is there only where nixpkgs has it
        found = {name: exporter for name, exporter in found.items() if name in served_nixos().exporters}
    for name, said in host.exporters.items():
        known = said.port or EXPORTERS.get(name)
        if known is not None:
            found[name] = ResolvedExporter(name=name, port=known, path=said.path)
    return dict(sorted(found.items()))


def _needs(draft: Draft, name: str, host: Host) -> tuple[str, ...]:
    """Hosts that must be up before: those it names, its hypervisor, the first k3s server."""
    hosts = draft.lab.hosts
    needs = {other for other in (*host.needs, *([host.runs_on] if host.runs_on else [])) if other in hosts}
    if host.k3s and draft.servers and name != draft.servers[0]:
        needs.add(draft.servers[0])
    return tuple(sorted(needs - {name}))


def _settings(draft: Draft, host: Host) -> dict[str, Any]:
    board = BOARDS[host.board]
    usual = "sd" if board.boot == "sd" else _IMAGES.get(host.board, "iso")
    facts: dict[str, Any] = {
        "configured_by": configured_by(draft, host),
        "image": "none" if host.os == "external" else host.image or usual,
        "page_size": board.page_size,
        "profiles": sorted(host.profiles),
        "dev": host.dev,
        "reserved": host.reserved,
        "description": host.description,
        "runs_on": host.runs_on,
        "vlan": host.vlan,
        **plain(host.settings),
    }
    if host.os == "nixos":
        facts["nix"] = plain(host.nix.model_dump())
        facts["nix"]["modules"] = {name: draft.loaded.texts.get(name, "") for name in sorted(host.nix.modules)}
        facts["nix"]["state_version"] = host.nix.state_version or draft.lab.nix.state_version
        facts["nix"]["unfree"] = sorted({*host.nix.unfree, *draft.lab.nix.unfree})
    return {key: value for key, value in facts.items() if value not in (None, [], {}, False)}


def _firewall(
    draft: Draft, name: str, host: Host, services: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """Ports that the host's parts need, then the lab's rules that reach it, then its own."""
    if host.os == "external":
        return ()
    inside = ["lan", "vpn"]
    rows = [_rule("ssh", ["tcp/22"], inside)]
    if host.k3s:
        rows += [_rule("k3s-flannel", ["udp/8472"], ["cluster"]), _rule("k3s-kubelet", ["tcp/10250"], ["cluster"])]
    if host.k3s == "server":
        rows.append(_rule("k3s-api", ["tcp/6443"], ["cluster", *inside]))
        if len(draft.servers) > 1:
            rows.append(_rule("k3s-etcd", ["tcp/2379-2380"], ["cluster"]))
    wireguard = draft.lab.network.vpn.wireguard
    if wireguard is not None and wireguard.hub == name:
        rows.append(_rule("wireguard", [f"udp/{wireguard.port}"], ["any"]))
    for service in services:
        known = HOST_SERVICES.get(service)
        if known and known.open and known.ports:
            rows.append(_rule(service, list(known.ports), inside))
    exporters = host_exporters(host, services, configured_by(draft, host))
    ports = [f"tcp/{e.port}" for e in exporters.values()]
    if ports:
        rows.append(_rule("exporters", sorted(set(ports)), ["cluster", "vpn"]))
    lab_wide = [
        firewall_facts(n, rule.model_dump(by_alias=True))
        for n, rule in sorted(draft.lab.network.firewall.items())
        if not set(rule.to).isdisjoint({"any", name, "hosts"})
    ]
    own = [firewall_facts(n, rule.model_dump(by_alias=True)) for n, rule in sorted(host.firewall.items())]
    # A rule of the lab says more than the one of the same name that follows from a part: `ssh` only from the VPN.
    replaced = {rule["name"] for rule in (*lab_wide, *own)}
    return (*(row for row in rows if row["name"] not in replaced), *lab_wide, *own)


def _rule(name: str, ports: list[str], sources: list[str]) -> dict[str, Any]:
    return {"name": name, "allow": ports, "from": sources, "to": ["any"]}

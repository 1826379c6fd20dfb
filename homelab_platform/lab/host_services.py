"""What a host can do without Kubernetes: its services, with their ports, exporters and settings.

Belongs here: the table of host services (NixOS modules, Ansible roles) and the check of their settings. Not here: how
a service is set up (nix/, ansible/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from homelab_platform.errors import Problem
from homelab_platform.lab import quantities as q
from homelab_platform.lab.model import Lab
from homelab_platform.lab.positions import Positions
from homelab_platform.lab.settings import SettingKind, SettingSpec, read_setting

MI = 1024**2


@dataclass(frozen=True)
class HostService:
    """A service of a host. `ports` are 'tcp/445'; `exporters` name → port; `memory` in bytes is not left for pods.

    `open` says whether other machines of the LAN need its ports; `state` is the folder whose loss hurts.
    """

    name: str
    title: str
    ports: tuple[str, ...] = ()
    exporters: dict[str, int] = field(default_factory=dict)
    settings: dict[str, SettingSpec] = field(default_factory=dict)
    memory: int = 0
    open: bool = True
    state: str | None = None
    systems: tuple[Literal["nixos", "raspios", "debian"], ...] = ("nixos", "raspios", "debian")


def _of(*words: str, **kinds: SettingKind | tuple[SettingKind, Any]) -> dict[str, SettingSpec]:
    """Settings from 'name: what it does' sentences and name=kind or name=(kind, default)."""
    said = dict(word.split(": ", 1) for word in words)
    specs = {}
    for name, kind in kinds.items():
        of, default = kind if isinstance(kind, tuple) else (kind, None)
        specs[name] = SettingSpec(of, said.get(name, ""), default=default)
    return specs


_PORT = SettingSpec("integer", "Port it listens on.")
_DATA = SettingSpec("path", "Folder of its data.")
_NIX: tuple[Literal["nixos"], ...] = ("nixos",)

_ALL = (
    # network
    HostService("wireguard", "WireGuard VPN", ("udp/51820",), {"wireguard": 9586}, open=False, memory=8 * MI),
    HostService("tailscale", "Tailscale mesh", ("udp/41641",), open=False, memory=64 * MI, state="/var/lib/tailscale"),
    HostService("pihole", "Pi-hole DNS", ("tcp/53", "udp/53", "tcp/80"), {"pihole": 9617}, _of(
        "upstream: Resolvers it asks.", "lists: Block lists.", "password: Reference to the password of its page.",
        upstream="list", lists="list", password="secret", dhcp=("boolean", False)), 128 * MI, state="/etc/pihole"),
    HostService("dnsmasq", "DNS and DHCP", ("tcp/53", "udp/53", "udp/67"), {"dnsmasq": 9153}, _of(
        "dhcp: Whether it gives out addresses.", dhcp=("boolean", True), upstream="list"), 16 * MI),
    HostService("unbound", "Recursive resolver", ("tcp/53", "udp/53"), {"unbound": 9167}, _of(forward="list"), 32 * MI),
    HostService("dynamic-dns", "Keeps a public DNS record at the line's address", settings=_of(
        "provider: cloudflare or gandi.", provider="text", names="list", token="secret", every="duration"), open=False),
    HostService("acme", "Certificates by DNS-01", settings=_of(
        provider="text", names="list", email="text", token="secret"), open=False, state="/var/lib/acme"),
    HostService("reverse-proxy", "nginx in front of host services", ("tcp/80", "tcp/443"), {"nginx": 9113}, _of(
        "sites: Names to addresses.", sites="mapping"), 32 * MI),
    HostService("avahi", "mDNS names", ("udp/5353",), memory=8 * MI),
    HostService("chrony", "Time server", ("udp/123",), {"chrony": 9123}, memory=8 * MI),
    HostService("fail2ban", "Bans addresses that guess passwords", open=False, memory=64 * MI),
    HostService("router", "Routes and NAT between interfaces", settings=_of(
        "wan: Interface to the internet.", wan="text", nat=("boolean", True), forward="list"), systems=_NIX),
    # storage
    HostService("samba", "Windows file shares", ("tcp/445", "tcp/139"), settings=_of(
        "shares: Names to folders.", shares="mapping", workgroup=("text", "WORKGROUP")), memory=64 * MI),
    HostService("zfs", "ZFS file system", exporters={"zfs": 9134}, settings=_of(
        "arc: Most memory its cache may take.", "host_id: Eight hex digits.", arc=("size", "1Gi"), host_id="text",
        scrub=("text", "monthly"), trim=("boolean", True), snapshots=("boolean", True)), memory=1024 * MI, open=False),
    HostService("nfs-server", "NFS exports", ("tcp/2049",), settings=_of(
        "exports: Folders to who may mount them.", exports="mapping"), memory=64 * MI),
    HostService("nfs-client", "Mounts NFS folders", settings=_of(mounts="mapping"), open=False),
    HostService("open-iscsi", "iSCSI initiator (Longhorn needs it)", open=False, memory=8 * MI),
    HostService("minio", "S3 object storage (MinIO)", ("tcp/9000", "tcp/9001"), {"minio": 9000}, _of(
        "data: Folder of its data.", data="path", region="text", user="secret", password="secret", buckets="list"),
        512 * MI, state="/var/lib/minio"),
    HostService("syncthing", "File synchronisation", ("tcp/22000", "udp/22000", "udp/21027", "tcp/8384"), settings=_of(
        "folders: Names to paths.", folders="mapping", devices="mapping", user="text"), memory=128 * MI,
        state="/var/lib/syncthing"),
    HostService("restic", "Backups by restic", settings=_of(
        "paths: Folders to save.", "to: Backup targets.", paths="list", to="list", exclude="list", at="time"),
        open=False, memory=256 * MI),
    HostService("rclone-target", "Synchronises folders to a remote, with snapshots and verification", settings=_of(
        "source: Folders.", "to: Remote.", source="list", to="text", at="time", every="text",
        snapshots=("boolean", True), verify=("boolean", True), config="secret"), open=False, memory=64 * MI),
    HostService("backup-agent", "Saves this host to the lab's targets", settings=_of(paths="list", exclude="list"),
        open=False, memory=64 * MI),
    HostService("hd-idle", "Spins idle disks down", settings=_of(after=("duration", "10m")), open=False),
    # applications
    HostService("nextcloud", "Nextcloud", ("tcp/80", "tcp/443"), {"nextcloud": 9205}, _of(
        "storage: local or s3.", "bucket: Bucket of S3 primary storage.", storage="text", bucket="text",
        endpoint="text", key="secret", secret="secret", hostname="text", admin_password="secret"), 1024 * MI,
        state="/var/lib/nextcloud"),
    HostService("hedgedoc", "Markdown editor", ("tcp/3000",), settings=_of(hostname="text", database="text"),
        memory=192 * MI, state="/var/lib/hedgedoc"),
    HostService("postgresql", "PostgreSQL", ("tcp/5432",), {"postgres": 9187}, _of(databases="list", version="text"),
        256 * MI, False, "/var/lib/postgresql"),
    HostService("ldap", "LDAP directory with LDAPS", ("tcp/389", "tcp/636"), settings=_of(
        base="text", tls=("boolean", True), password="secret"), memory=64 * MI, state="/var/lib/openldap"),
    HostService("mosquitto", "MQTT broker", ("tcp/1883",), {"mosquitto": 9234}, _of(users="mapping"), 16 * MI),
    HostService("home-assistant", "Home Assistant", ("tcp/8123",), settings=_of(components="list"), memory=512 * MI,
        state="/var/lib/hass"),
    HostService("klipper", "3D printer firmware host", settings=_of(
        "serial: Device of the printer.", "config: Printer configuration beside the lab file.", serial="path",
        config="path", settings="mapping"), open=False, memory=128 * MI, state="/var/lib/klipper"),
    HostService("moonraker", "API of Klipper", ("tcp/7125",), settings=_of(
        trusted="list", system_control=("boolean", False)), memory=96 * MI, state="/var/lib/moonraker"),
    HostService("fluidd", "Web page of Klipper", ("tcp/80",), settings=_of(hostname="text"), memory=16 * MI),
    HostService("kiosk", "Full-screen display of one page", settings=_of(
        "url: Page to show.", "rotate: Degrees.", "touch: Whether it has a touch screen.", url="text",
        rotate=("integer", 0), touch=("boolean", False), off="text"), open=False, memory=512 * MI),
    HostService("sunshine", "Game streaming host (Moonlight clients)", ("tcp/47984", "tcp/47989", "udp/47998"),
        memory=256 * MI, systems=_NIX),
    # building and running
    HostService("github-runner", "GitHub Actions runner", settings=_of(
        "repository: Address of the repository (a private one).", "token: Reference to its token.",
        repository="text", token="secret", labels="list", count=("integer", 1), ephemeral=("boolean", True)),
        open=False, memory=512 * MI),
    HostService("remote-builder", "Builds Nix derivations for other hosts", settings=_of(
        "systems: Platforms it builds for.", "jobs: Builds at once.", "user: Account that others use.",
        systems=("list", ["x86_64-linux"]), jobs=("integer", 2), features="list", user=("text", "build")),
        open=False, systems=_NIX),
    HostService("binfmt", "Runs programs of other architectures", settings=_of(systems=("list", ["aarch64-linux"])),
        open=False, systems=_NIX),
    HostService("nix-cache", "Binary cache for other hosts", ("tcp/5000",), settings=_of(key="secret"), systems=_NIX),
    HostService("libvirt", "Virtual machines by libvirt/KVM", exporters={"libvirt": 9177}, settings=_of(
        machines="mapping", networks="mapping"), open=False, memory=128 * MI, state="/var/lib/libvirt"),
    HostService("virtualbox", "Virtual machines by VirtualBox", open=False, memory=64 * MI, systems=_NIX),
    HostService("docker", "Docker", settings=_of(prune=("boolean", True)), open=False, memory=100 * MI,
        state="/var/lib/docker"),
    HostService("docker-registry", "Container registry", ("tcp/5000",), memory=64 * MI, state="/var/lib/docker-registry"),
    HostService("puppet-server", "Puppet (OpenVox) server", ("tcp/8140",), memory=1536 * MI,
        state="/etc/puppetlabs/puppetserver/ca", systems=("raspios", "debian")),
    HostService("puppet-agent", "Puppet (OpenVox) agent", open=False, memory=64 * MI, systems=("raspios", "debian")),
    # watching
    HostService("prometheus", "Prometheus", ("tcp/9090",), {"prometheus": 9090}, _of(keep=("duration", "15d")),
        1024 * MI, state="/var/lib/prometheus2"),
    HostService("grafana", "Grafana", ("tcp/3000",), {"grafana": 3000}, _of(
        hostname="text", admin_password="secret", dashboards="path"), 256 * MI, state="/var/lib/grafana"),
    HostService("alertmanager", "Alertmanager", ("tcp/9093",), {"alertmanager": 9093}, memory=32 * MI),
    HostService("loki", "Loki logs", ("tcp/3100",), {"loki": 3100}, _of(keep=("duration", "30d")), 256 * MI,
        state="/var/lib/loki"),
    HostService("smartd", "Watches disks", exporters={"smartctl": 9633}, open=False, memory=16 * MI),
    HostService("nvidia", "NVIDIA driver and CUDA", exporters={"nvidia-gpu": 9835}, settings=_of(
        cuda=("boolean", True)), open=False, systems=_NIX),
    HostService("ups", "Watches a UPS (NUT)", ("tcp/3493",), {"nut": 9199}, _of(driver="text", device="text"), 16 * MI),
    HostService("unattended-upgrades", "Security updates by itself", open=False, systems=("raspios", "debian")),
    HostService("zram", "Compressed swap in memory", settings=_of(percent=("integer", 50)), open=False),
)  # fmt: skip
HOST_SERVICES: dict[str, HostService] = {service.name: service for service in _ALL}

EXPORTERS: dict[str, int] = {
    "node": 9100, "blackbox": 9115, "process": 9256, "systemd": 9558, "snmp": 9116, "rpi": 9110, "domain": 9222,
    **{name: port for service in _ALL for name, port in service.exporters.items()},
}  # fmt: skip
COMMON = {"port": _PORT, "data": _DATA}


def service_problems(lab: Lab, positions: Positions) -> Iterator[Problem]:
    """Unknown host services, exporters and settings, and settings that cannot be read."""
    for host_name, host in lab.hosts.items():
        for name, said in host.services.items():
            path = ("hosts", host_name, "services", name)
            service = HOST_SERVICES.get(name)
            if service is None:
                remedy = q.did_you_mean(name, HOST_SERVICES, "Host services")
                yield Problem(
                    positions.key(*path), f"{host_name}: no host service is called {name}", remedy, "unknown-key"
                )
                continue
            yield from setting_problems({**COMMON, **service.settings}, said, path, positions)
        for name, exporter in host.exporters.items():
            if name not in EXPORTERS and (exporter is None or exporter.port is None):
                where = positions.key("hosts", host_name, "exporters", name)
                remedy = f"{q.did_you_mean(name, EXPORTERS, 'Exporters')} Of another one give the port: {name}: 9999."
                yield Problem(where, f"{host_name}: no exporter is called {name}", remedy, "unknown-key")


def setting_problems(
    specs: dict[str, SettingSpec], said: dict[str, Any] | None, path: tuple[str, ...], positions: Positions
) -> Iterator[Problem]:
    """What is wrong with the settings written at `path`: unknown, missing or unreadable ones."""
    owner = path[-1]
    for key, value in (said or {}).items():
        spec = specs.get(key)
        if spec is None:
            remedy = q.did_you_mean(key, specs, "Settings")
            yield Problem(positions.key(*path, key), f"{owner}: unknown key {key}", remedy, "unknown-key")
            continue
        try:
            read_setting(spec, value)
        except q.Bad as bad:
            yield Problem(positions.at(*path, key), f"{owner}: {key}: {bad.what}", bad.remedy, "value")
    for key, spec in specs.items():
        if spec.required and key not in (said or {}):
            yield Problem(positions.key(*path), f"{owner}: {key} is missing", spec.description, "missing")

"""The lab file's `hosts:` section: one machine each, from the board to its host services.

Belongs here: what a person writes about a machine. What host services there are is in lab/host_services/table.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from homelab_platform.lab import quantities as q
from homelab_platform.lab.boards import BOARDS
from homelab_platform.lab.model.fields import (
    Address,
    Cpu,
    Duration,
    Free,
    Mac,
    Many,
    Name,
    Named,
    NamedOrList,
    Node,
    PatchWindow,
    Port,
    Size,
)
from homelab_platform.lab.model.network import FirewallRule
from homelab_platform.lab.model.secret_files import SecretFile


def _board(value: object) -> str:
    if not isinstance(value, str) or value not in BOARDS:
        raise q.Bad(f"{q.shown(value)} is not a board", q.did_you_mean(str(value), BOARDS, "Boards"))
    return value


def _address(value: object) -> str:
    return "dhcp" if value == "dhcp" else q.address(value)


Board = Annotated[str, BeforeValidator(_board), Field(json_schema_extra={"enum": sorted(BOARDS)})]
AddressOrDhcp = Annotated[str, BeforeValidator(_address), Field(examples=["192.168.0.120", "dhcp"])]
DiskKind = Literal["sd", "ssd", "nvme", "hdd", "usb", "emmc", "virtual"]


class Disk(Node):
    """A disk, or in short its size: `ssd: 500Gi`. Its kind is the beginning of its name when not said."""

    short: ClassVar[str | None] = "size"
    size: Size = Field(description="How large it is.", examples=["500Gi"])
    kind: DiskKind | None = Field(None, description="What it is; read from its name when not said.")
    device: str | None = Field(None, description="Stable path, /dev/disk/by-id/….")
    mount: str | None = Field(None, description="Where it is mounted.")
    filesystem: Literal["ext4", "xfs", "btrfs", "zfs", "vfat"] | None = Field(None, description="What is on it.")
    pool: Name | None = Field(None, description="ZFS pool that it belongs to.")
    encrypted: bool = Field(False, description="Whether it is LUKS or ZFS encrypted.")


class Interface(Node):
    """A network interface, or in short its address."""

    short: ClassVar[str | None] = "address"
    address: AddressOrDhcp | None = Field(None, description="Its address, or dhcp.")
    address6: Address | None = Field(None, description="Its IPv6 address.")
    mac: Mac | None = Field(None, description="Its MAC address.")
    vlan: Name | None = Field(None, description="VLAN that it is in.")
    wifi: Name | None = Field(None, description="Wireless network that it joins.")
    bridge: Many[str] = Field((), description="Interfaces that it bridges.")
    zone: Literal["trusted", "lan", "wan", "vpn"] | None = Field(None, description="How far it is trusted.")


class Exporter(Node):
    """A Prometheus exporter, or in short its port."""

    short: ClassVar[str | None] = "port"
    port: Port | None = Field(None, description="Port; the exporter's usual one when not said.")
    path: str = Field("/metrics", description="Path.")


class HostNix(Node):
    """What only a NixOS host has."""

    state_version: Annotated[str, Field(pattern=r"^\d\d\.\d\d$")] | None = Field(
        None, description="NixOS release it was installed with; never changed later."
    )
    modules: Many[str] = Field((), description="Further Nix modules of your own, relative to the lab file.")
    packages: Many[str] = Field((), description="Packages to install.")
    unfree: Many[str] = Field((), description="Unfree packages that are allowed.")
    options: Free = Field({}, description="NixOS options set as they stand.")


class HostPatching(Node):
    """When and how this host is patched, where it differs from the lab."""

    window: PatchWindow | None = Field(None, description="Its own window.")
    skip: bool = Field(False, description="Whether it is never patched by the platform.")
    drain_timeout: Duration | None = Field(None, description="How long its pods may take to leave.")


HostRole = Literal[
    "node", "support", "server", "terminal", "display", "printer", "builder", "nas", "router", "vm-host", "vm"
]
Profile = Literal[
    "desktop", "i3", "hyprland", "kiosk", "gaming", "multimedia", "streaming", "development", "editors", "electronics",
    "cad", "3d-printing", "sdr", "cuda", "bluetooth", "graphics-tablet", "zram", "energy-saving", "virtualisation",
    "hardened", "headless", "laptop",
]  # fmt: skip


class Host(Node):
    """One machine. Its name is its hostname."""

    board: Board = Field(description="What it is: a Pi with its memory, x86, vm, nas …", examples=["pi5-8gb", "x86"])
    os: Literal["nixos", "raspios", "debian", "external"] = Field(
        description="Its system; external: not installed by the platform."
    )
    cpu: Cpu | None = Field(None, description="Cores, where the board does not say.", examples=[8])
    memory: Size | None = Field(None, description="Memory, where the board does not say.", examples=["32Gi"])
    role: HostRole | None = Field(None, description="What it is for; node when it is in the cluster.")
    description: str | None = Field(None, description="One line for people.")
    site: Name = Field("home", description="Where it stands.")
    address: AddressOrDhcp | None = Field(None, description="Its LAN address, or dhcp.", examples=["192.168.0.120"])
    address6: Address | None = Field(None, description="Its IPv6 address.")
    mac: Mac | None = Field(None, description="MAC address, for the DHCP reservation.")
    reserved: bool = Field(False, description="Whether the router reserves `address` by DHCP (needs `mac`).")
    wifi: Many[Name] = Field((), description="Wireless networks it may join.")
    vlan: Name | None = Field(None, description="VLAN of its main interface.")
    interfaces: Named[Interface] = Field({}, description="Further interfaces by name.")
    vpn: Annotated[int, Field(ge=1, le=65534)] | Literal["none"] | None = Field(
        None, description="Last part of its VPN address, or none; next free one when not said.", examples=[12]
    )
    k3s: Literal["server", "agent"] | None = Field(None, description="Its part in the cluster.")
    labels: dict[str, str] = Field({}, description="Kubernetes labels.")
    taints: Many[str] = Field((), description="Kubernetes taints, such as dedicated=db:NoSchedule.")
    disks: Named[Disk] = Field({}, description="Disks by name.", examples=[{"sd": "64Gi", "ssd": "500Gi"}])
    users: Many[Name] | None = Field(None, description="People with a login; all admins when not said.")
    services: NamedOrList[Free] = Field({}, description="Host services by name, each with its settings.")
    exporters: NamedOrList[Exporter] = Field({}, description="Further Prometheus exporters.")
    profiles: Many[Profile] = Field((), description="Ready-made sets of packages and settings.")
    firewall: Named[FirewallRule] = Field({}, description="Named rules of this host.")
    dns_names: Many[Name] = Field((), description="Further names in the lab's domain.")
    configured_by: Literal["nix", "ansible", "puppet", "none"] | None = Field(
        None, description="Tool that configures it: nix for nixos, ansible for others, none for external."
    )
    image: Literal["sd", "iso", "qcow2", "virtualbox", "hyperv", "none"] | None = Field(
        None, description="Image to make for it; sd for a Pi."
    )
    runs_on: Name | None = Field(None, description="Host whose hypervisor it runs on.")
    needs: Many[Name] = Field((), description="Hosts that must be up before it.")
    dev: bool = Field(False, description="Whether it is the lab's test machine: regressions go there first.")
    secrets: Named[SecretFile] = Field({}, description="Secrets that are laid down as files on it.")
    nix: HostNix = Field(HostNix.model_construct(), description="What only a NixOS host has.")
    patching: HostPatching = Field(HostPatching.model_construct(), description="Where its patching differs.")
    settings: Free = Field({}, description="Anything else your own modules or roles read.")

    @model_validator(mode="after")
    def _board_says_enough(self) -> Host:
        board = BOARDS[self.board]
        if board.cpu is None and self.os != "external":
            lacks = [word for word, value in (("cpu", self.cpu), ("memory", self.memory)) if value is None]
            if lacks:
                raise q.Bad(
                    f"board {self.board} does not say its {' and '.join(lacks)}",
                    "Write them: cpu: 8, memory: 32Gi.",
                )
        return self

"""Hosts that nix/ is evaluated for: those of the examples that it covers, and what the examples leave out.

Belongs here: which lab and which host, by a name that says what is special about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from homelab_platform import paths
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab


@cache
def resolved(example: str) -> ResolvedLab:
    return load_resolved(paths.project_path("examples", example, "lab.yaml"), load_catalogue())


def changed(example: str, host: str, settings: Mapping[str, Any] | None = None, **update: Any) -> ResolvedLab:
    """The lab of an example with one host changed: without services unless said, `settings` added to its settings."""
    lab = resolved(example)
    old = lab.hosts[host]
    node = {name: exporter for name, exporter in old.exporters.items() if name == "node"}
    plain = {"services": {}, "exporters": node, **update}
    new = old.model_copy(update={**plain, "settings": {**old.settings, **(settings or {})}})
    return lab.model_copy(update={"hosts": {**lab.hosts, host: new}})


def _of_pi_5() -> ResolvedLab:
    nix = {"modules": [], "options": {}, "packages": [], "unfree": [], "state_version": "25.11"}
    told: dict[str, Any] = {"os": "nixos", "labels": {"disk": "ssd"}, "taints": ("a=b:NoSchedule",)}
    return changed("hybrid", "pi5", {"image": "none", "nix": nix}, **told)


def _of_a_laptop() -> ResolvedLab:
    own = {
        "packages": ["htop"],
        "unfree": ["steam"],
        "options": {"services.fwupd.enable": True, "services": {"fstrim": {"enable": True}}},
        "state_version": "25.11",
    }
    return changed("nixos-fleet", "terminal-zero", {"profiles": ["zram"], "nix": own}, disks={})


def _of_a_server() -> ResolvedLab:
    disks = {
        name: disk.model_copy(update={"device": "/dev/disk/by-id/nvme-1"} if name == "nvme" else {"filesystem": "xfs"})
        for name, disk in resolved("single-nixos").hosts["server"].disks.items()
    }
    told: dict[str, Any] = {"mac": "02:00:00:00:00:01", "address6": "fd00::10", "system": {"ntp": ["ntp.lan"]}}
    return changed("single-nixos", "server", disks=disks, **told)


HOSTS: dict[str, tuple[str, ResolvedLab]] = {
    "single-pi": ("pi", resolved("single-pi")),
    "nixos-fleet, an image for Hyper-V": ("hyperv-image", resolved("nixos-fleet")),
    "nixos-fleet, an image for VirtualBox": ("vbox-image", resolved("nixos-fleet")),
    "a PC with a fixed address and two disks": ("server", _of_a_server()),
    "a machine with every service there is": (
        "server",
        changed(
            "hybrid", "server", services={name: {} for name in ("docker", "chrony", "avahi", "open-iscsi", "zram")}
        ),
    ),
    "a k3s agent on a Pi without SD image": ("pi5", _of_pi_5()),
    "a laptop with an open wireless network": ("terminal-zero", _of_a_laptop()),
    "a virtual machine of libvirt": ("local-worker", changed("nixos-fleet", "local-worker")),
    "a Pi 4 with an SD card": ("display-0", changed("nixos-fleet", "display-0")),
}

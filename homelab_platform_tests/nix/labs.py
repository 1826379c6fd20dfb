"""Hosts that nix/ is evaluated for: all of the examples, and what the examples leave out.

Belongs here: which lab and which host, by a name that says what is special about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from homelab_platform import paths
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.host_services.nixos import served_nixos
from homelab_platform.lab.resolved import ResolvedLab

EXAMPLES = ("single-pi", "single-nixos", "hybrid", "nixos-fleet")


@cache
def resolved(example: str) -> ResolvedLab:
    return load_resolved(paths.project_path("examples", example, "lab.yaml"), load_catalogue())


def changed(example: str, host: str, settings: Mapping[str, Any] | None = None, **update: Any) -> ResolvedLab:
    """The lab of an example with one host changed; `settings` are added to its settings."""
    lab = resolved(example)
    old = lab.hosts[host]
    new = old.model_copy(update={**update, "settings": {**old.settings, **(settings or {})}})
    return lab.model_copy(update={"hosts": {**lab.hosts, host: new}})


def of_examples() -> dict[str, tuple[str, ResolvedLab]]:
    """Every NixOS host of the examples."""
    labs = {example: resolved(example) for example in EXAMPLES}
    return {
        f"{example}/{name}": (name, lab)
        for example, lab in labs.items()
        for name, host in lab.hosts.items()
        if host.os == "nixos"
    }


def _of_pi_5() -> ResolvedLab:
    nix = {"modules": {}, "options": {}, "packages": [], "unfree": [], "state_version": "25.11"}
    told: dict[str, Any] = {"os": "nixos", "labels": {"disk": "ssd"}, "taints": ("a=b:NoSchedule",)}
    return changed("hybrid", "pi5", {"image": "none", "nix": nix}, **told)


def _of_a_laptop() -> ResolvedLab:
    own = {
        "packages": ["htop"],
        "unfree": ["steam"],
        "options": {
            "services.fwupd.enable": True,
            "services": {"fstrim": {"enable": True}},
            "boot.kernel.sysctl.net.ipv4.ip_forward": 1,
            "services.openssh.settings.MaxAuthTries": 2,
            'systemd.services."my.unit".enable': False,
        },
        "state_version": "25.11",
    }
    return changed("nixos-fleet", "terminal-zero", {"profiles": ["zram", "gaming"], "nix": own}, disks={})


def _of_a_server() -> ResolvedLab:
    disks = {
        name: disk.model_copy(update={"device": "/dev/disk/by-id/nvme-1"} if name == "nvme" else {"filesystem": "xfs"})
        for name, disk in resolved("single-nixos").hosts["server"].disks.items()
    }
    told: dict[str, Any] = {"mac": "02:00:00:00:00:01", "address6": "fd00::10", "system": {"ntp": ["ntp.lan"]}}
    return changed("single-nixos", "server", disks=disks, **told)


def with_every_service(*, leave: tuple[str, ...] = ()) -> ResolvedLab:
    """A PC of the fleet, which has every part of a network, with every service and exporter that NixOS serves."""
    served = served_nixos()
    services: dict[str, dict[str, Any]] = {name: {} for name in served.services if name not in leave}
    services |= {
        "acme": {"provider": "cloudflare", "token": "env:TOKEN"},
        "dynamic-dns": {"provider": "cloudflare", "names": ["home.example.org"], "token": "env:TOKEN"},
        "reverse-proxy": {"sites": {"films": "192.168.88.9:8096"}},
        "mosquitto": {"users": {"ada": "env:ADA", "ben": {"password": "env:BEN", "acl": ["read #"]}}},
        "nfs-server": {"exports": {"/srv/films": "192.168.88.0/24", "/srv/all": ["10.0.0.0/8(ro)", "nas"]}},
        "nfs-client": {"mounts": {"/mnt/nas": "cold-store:/volume1"}},
        "postgresql": {"databases": ["app"], "version": "16"},
        "router": {"wan": "eth1"},
        "samba": {"shares": {"films": "/srv/films"}, "users": ["darthpjb"]},
        "syncthing": {"folders": {"notes": "/srv/notes"}, "devices": {"phone": "AAAA"}},
        "unbound": {"forward": ["9.9.9.9"], "port": 5335},
        "docker-registry": {"port": 5001},
        "grafana": {"port": 3001},
        "github-runner": {"repository": "https://github.com/a/b", "token": "env:GITHUB", "count": 2},
        "klipper": {"serial": "/dev/ttyACM0", "settings": {"printer": {"kinematics": "cartesian"}}},
    }
    exporters = {
        name: {"name": name, "port": 9000 + place, "path": "/metrics"} for place, name in enumerate(served.exporters)
    }
    lab = resolved("nixos-fleet")
    dumped = lab.hosts["cortex-alpha"].model_dump() | {
        "services": {name: services[name] for name in services if name not in leave},
        "exporters": exporters,
        "interfaces": {"lan1": {"address": "192.168.89.1", "mac": "02:00:00:00:00:09"}, "br0": {"bridge": ["eth2"]}},
    }
    dumped["settings"]["nix"]["unfree"] = ["nvidia-x11", "cuda"]
    host = type(lab.hosts["cortex-alpha"]).model_validate(dumped)
    return lab.model_copy(update={"hosts": {**lab.hosts, "cortex-alpha": host}})


def _with_every_profile() -> ResolvedLab:
    own = {
        "modules": {},
        "options": {},
        "packages": [],
        "unfree": ["steam", "parsec", "cuda", "nvidia-x11"],
        "state_version": "25.11",
    }
    # i3 and Hyprland bring a login screen each.
    profiles = [name for name in served_nixos().profiles if name != "hyprland"]
    return changed("nixos-fleet", "linda", {"profiles": profiles, "nix": own})


OTHERS: dict[str, tuple[str, ResolvedLab]] = {
    "a PC with a fixed address and two disks": ("server", _of_a_server()),
    "a machine with every service there is": ("cortex-alpha", with_every_service()),
    "a machine with every profile there is": ("linda", _with_every_profile()),
    "a k3s agent on a Pi without SD image": ("pi5", _of_pi_5()),
    "a laptop with an open wireless network": ("terminal-zero", _of_a_laptop()),
    "a rented server": ("local-worker", changed("nixos-fleet", "local-worker", board="cloud")),
    "another ARM machine": ("alpha-one", changed("nixos-fleet", "alpha-one", board="arm64", arch="arm64", services={})),
    "a compute module": ("display-0", changed("nixos-fleet", "display-0", board="cm4-2gb")),
}
HOSTS: dict[str, tuple[str, ResolvedLab]] = {**of_examples(), **OTHERS}

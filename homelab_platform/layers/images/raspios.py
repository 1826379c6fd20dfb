"""What the boot partition of Raspberry Pi OS says for a host to come up as the lab means it.

Belongs here: the contents of its files, pure. Not here: getting them there (build.py).

Raspberry Pi OS of October 2025 (Debian 13, trixie) and later is set up by cloud-init, which reads `user-data`,
`network-config` and `meta-data` from the boot partition (RPi-Distro/pi-gen, stage2/04-cloud-init). What came before
takes `custom.toml`, which knows no host key, and is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import deployer

Reveal = Callable[[str], str]
"""Gives the secret behind a reference."""
USER_DATA, META_DATA, NETWORK, COMMAND_LINE = "user-data", "meta-data", "network-config", "cmdline.txt"
HOST_KEY, SSH_SWITCH = "homelab.key", "ssh"
"""The private host key until the first start; the empty file that switches SSH on."""
CGROUP_WORDS = ("cgroup_enable=memory", "cgroup_memory=1")
_FIRST_BOOT = Path(__file__).with_name("first-boot.sh")
_FIRST_BOOT_PATH = "/var/lib/homelab/first-boot.sh"
_RAW_KEY = re.compile(r"[0-9a-fA-F]{64}")


class _Network(BaseModel):
    """A wireless network as the lab resolves it."""

    model_config = ConfigDict(extra="ignore")
    ssid: str
    password: str | None = None
    country: str | None = None
    hidden: bool = False


class _Networks(BaseModel):
    model_config = ConfigDict(extra="ignore")
    networks: dict[str, _Network] = {}


def user_data(lab: ResolvedLab, host: ResolvedHost) -> bytes:
    """cloud-init's user-data: name, time zone, the one account that deploys, and what runs once. Nothing secret.

    Raises HomelabError if nobody of the lab may deploy to the host, or they have no SSH key.
    """
    name = deployer(lab, host)
    keys = [key.strip() for key in lab.people[name].ssh_keys]
    if not keys:
        raise HomelabError.of(f"people.{name}", "has no SSH key to log in with", f"Add people.{name}.ssh.")
    document = {
        "hostname": host.name,
        "timezone": lab.timezone,
        "ssh_pwauth": False,
        "users": [
            {
                "name": name,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": keys,
            }
        ],
        "write_files": [
            {"path": _FIRST_BOOT_PATH, "permissions": "0700", "content": _FIRST_BOOT.read_text()},
        ],
        "runcmd": [["sh", _FIRST_BOOT_PATH]],
    }
    return ("#cloud-config\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)).encode()


def network_config(lab: ResolvedLab, host: ResolvedHost, reveal: Reveal) -> bytes:
    """netplan's description of the host's network: a fixed address or DHCP, and its wireless networks.

    Passwords of wireless networks are in it as keys of IEEE 802.11i, which open that network and nothing else. A fixed
    address is the wireless interface's where the host has one. Raises HomelabError for a secret that cannot be had.
    """
    wifi = _Networks.model_validate(host.wifi or {}).networks
    address = _address(lab, host)
    wired = {"optional": True, **({"dhcp4": True} if wifi else address)}
    network: dict[str, object] = {"version": 2, "ethernets": {"eth0": wired}}
    if wifi:
        country = next((found.country for found in wifi.values() if found.country), None)
        network["wifis"] = {
            "wlan0": {
                "optional": True,
                **address,
                **({"regulatory-domain": country} if country else {}),
                "access-points": {found.ssid: _access_point(found, reveal) for found in wifi.values()},
            }
        }
    return yaml.safe_dump({"network": network}, sort_keys=False, allow_unicode=True).encode()


def _address(lab: ResolvedLab, host: ResolvedHost) -> dict[str, object]:
    """DHCP, also where the router reserves the address, or the host's own address, gateway and name servers."""
    lan = lab.network.lan
    if host.dhcp or host.address is None or lan is None or host.settings.get("reserved"):
        return {"dhcp4": True}
    own: dict[str, object] = {"dhcp4": False, "addresses": [f"{host.address}/{ip_network(lan).prefixlen}"]}
    if lab.network.gateway:
        own["routes"] = [{"to": "0.0.0.0/0", "via": lab.network.gateway}]  # cloud-init 22.4 takes no `default` here
    servers = lab.network.dns_servers or ((lab.network.gateway,) if lab.network.gateway else ())
    if servers:
        own["nameservers"] = {"addresses": [*servers]}
    return own


def _access_point(network: _Network, reveal: Reveal) -> dict[str, object]:
    point: dict[str, object] = {"hidden": True} if network.hidden else {}
    if network.password:
        point["password"] = wifi_key(network.ssid, reveal(network.password), network.password)
    return point


def wifi_key(ssid: str, password: str, reference: str) -> str:
    """The key that a WPA passphrase stands for (IEEE 802.11i, H.4: PBKDF2-SHA1, 4096 rounds), as 64 hex digits.

    Raises HomelabError, which names `reference`, for what is no passphrase.
    """
    if _RAW_KEY.fullmatch(password):
        return password.lower()
    if not 8 <= len(password.encode()) <= 63:
        raise HomelabError.of(
            reference, "a WiFi password has 8 to 63 characters", "homelab secrets edit gives another."
        )
    return hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32).hex()


def command_line(now: str, host: ResolvedHost) -> str:
    """The kernel's one line with what the host needs in it: the memory controller for pods, where it is a node.

    The firmware switches that controller off, and of two words the later one counts.
    """
    words = now.split()
    if host.k3s:
        words = [word for word in words if word not in (*CGROUP_WORDS, "cgroup_disable=memory")]
        words += CGROUP_WORDS
    return " ".join(words) + "\n"

"""Texts that lie beside the lab file and belong to it: Nix modules of one's own, public keys of hosts.

Belongs here: reading them, once, when the lab is read; so that resolving needs no folder and a changed file is a
changed lab. What is missing or wrong is left to the rules.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from homelab_platform.lab.model.lab import Lab

LARGEST = 1 << 20
WIREGUARD = "keys/wireguard/{}.pub"
"""Where the public half of a host's WireGuard key lies, by the host's name."""
SSH = "keys/hosts/{}.pub"
"""Where the public half of its SSH host key lies. Private halves are in SOPS, and resolving needs none."""


def texts_beside(lab: Lab, folder: Path) -> dict[str, str]:
    """Contents by path as the lab means it, relative to its folder; what cannot be read is left out."""
    names = {module for host in lab.hosts.values() for module in host.nix.modules}
    names |= {SSH.format(host) for host in lab.hosts}
    if lab.network.vpn.wireguard is not None:
        names |= {WIREGUARD.format(host) for host in lab.hosts}
    found = {}
    for name in sorted(names):
        if name.startswith("/") or ".." in name.split("/") or "\x00" in name:
            continue
        try:
            found[name] = (folder / name).read_bytes()[:LARGEST].decode("utf-8-sig")
        except (OSError, ValueError):
            continue
    return found


def wireguard_key(texts: dict[str, str], host: str) -> str | None:
    """The public key of `host`; None if it has none, or its file holds something else."""
    text = texts.get(WIREGUARD.format(host), "").strip()
    try:
        return text if len(base64.b64decode(text, validate=True)) == 32 else None
    except binascii.Error:
        return None


def ssh_host_key(texts: dict[str, str], host: str) -> str | None:
    """The public SSH key of `host` as `ssh-ed25519 AAAA…`; None if it has none, or its file holds something else."""
    fields = texts.get(SSH.format(host), "").split()
    return " ".join(fields[:2]) if len(fields) >= 2 and fields[0].startswith("ssh-") else None

"""Secrets that nobody has to invent: what a lab needs of them, and making them.

Belongs here: the list, which is pure, and the values. A secret that exists is never made anew here; rotation is the
reader's wish and says so (keeping.py).
"""

from __future__ import annotations

import base64
import secrets as random
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from homelab_platform.lab.beside import SSH
from homelab_platform.lab.beside import WIREGUARD as WIREGUARD_FILE
from homelab_platform.lab.resolve.secrets import WIREGUARD, host_reference
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.secrets.reference import Reference, parse

SSH_HOST_KEY = "ssh_host_ed25519_key"
GeneratedKind = Literal["wireguard", "ssh-host-key", "token", "password"]
_BY_PATH: tuple[tuple[str, GeneratedKind], ...] = (
    ("network.vpn.wireguard.key", "wireguard"),
    ("cluster.token", "token"),
    ("streams.*.from.http.token", "token"),
    ("backups.password", "password"),
    ("backups.to.*.password", "password"),
    ("identity.break_glass", "password"),
    ("hosts.*.services.*.admin_password", "password"),
)
"""References of the lab file whose value may be random: nobody outside the lab chose it."""


@dataclass(frozen=True, order=True)
class Generated:
    """A secret that can be made: where its private half goes, its kind, and the file of its public half if it has one.

    `host` is the host that it belongs to; empty for one of the whole lab.
    """

    reference: Reference
    kind: GeneratedKind
    public: str = ""
    host: str = ""


def generated_by(lab: ResolvedLab) -> tuple[Generated, ...]:
    """Every secret of `lab` that is made and not typed, by reference; only `sops:` references can be filled."""
    found = {made.reference: made for made in (*_of_references(lab), *_of_hosts(lab))}
    return tuple(found[reference] for reference in sorted(found))


def _of_references(lab: ResolvedLab) -> Iterator[Generated]:
    for path, text in lab.secrets.items():
        kind = next((kind for pattern, kind in _BY_PATH if fnmatchcase(path, pattern)), None)
        if kind is not None and text.startswith("sops:"):
            hub = str((lab.network.vpn.get("wireguard") or {}).get("hub", "")) if kind == "wireguard" else ""
            yield Generated(parse(text), kind, WIREGUARD_FILE.format(hub) if hub else "", host=hub)


def _of_hosts(lab: ResolvedLab) -> Iterator[Generated]:
    star = lab.network.vpn.get("wireguard") or {}
    own_key = not str(star.get("key") or "file:/").startswith("file:/")
    for name, host in lab.hosts.items():
        if host.os == "external":
            continue
        yield Generated(parse(host_reference(name, SSH_HOST_KEY)), "ssh-host-key", SSH.format(name), host=name)
        if host.vpn_address and not (own_key and star.get("hub") == name):
            yield Generated(parse(host_reference(name, WIREGUARD)), "wireguard", WIREGUARD_FILE.format(name), host=name)


def make(kind: GeneratedKind) -> tuple[str, str]:
    """A new secret and its public half (empty where it has none)."""
    if kind == "wireguard":
        return _wireguard()
    if kind == "ssh-host-key":
        return _ssh_host_key()
    return (random.token_hex(32) if kind == "token" else random.token_urlsafe(24)), ""


def public_half(kind: GeneratedKind, private: str) -> str:
    """The public half of a private key; empty for kinds without one. Raises ValueError for a damaged key."""
    if kind == "wireguard":
        key = X25519PrivateKey.from_private_bytes(base64.b64decode(private.strip(), validate=True))
        return base64.b64encode(key.public_key().public_bytes_raw()).decode()
    if kind == "ssh-host-key":
        ssh = serialization.load_ssh_private_key(private.encode(), password=None)
        return _openssh(ssh.public_key().public_bytes(*_OPENSSH))
    return ""


_OPENSSH = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def _wireguard() -> tuple[str, str]:
    private = base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode()
    return private, public_half("wireguard", private)


def _ssh_host_key() -> tuple[str, str]:
    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private.decode(), _openssh(made.public_key().public_bytes(*_OPENSSH))


def _openssh(line: bytes) -> str:
    return " ".join(line.decode().split()[:2])

"""Who may read which encrypted file: people and the recovery key all of them, a host its own one.

Belongs here: recipients from the lab, `.sops.yaml`, making a private age key. Not here: encrypting (sops.py).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyrage
import yaml

from homelab_platform.errors import HomelabError
from homelab_platform.files import EVERYONE_READS, write_whole
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.secrets import sops
from homelab_platform.wire import bech32

HOST_FOLDER = "secrets/hosts"
_HEADER = "# Written by `homelab secrets init` from lab.yaml: who may read which file. Change it there.\n"
_PRIME = 2**255 - 19


@dataclass(frozen=True)
class Audience:
    """Recipients of every file (`everyone`), and of each host's own file besides (`hosts`)."""

    everyone: tuple[str, ...]
    hosts: Mapping[str, tuple[str, ...]]

    def of(self, place: str) -> tuple[str, ...]:
        """Recipients of the file `place`, relative to the lab file's folder."""
        path = Path(place)
        own = self.hosts.get(path.stem, ()) if path.parent.as_posix() == HOST_FOLDER else ()
        return tuple(dict.fromkeys((*self.everyone, *own)))


def audience_of(lab: ResolvedLab) -> Audience:
    """Who may read the files of `lab`. Raises HomelabError if nobody may."""
    said = lab.settings.get("secrets") or {}
    everyone = tuple(dict.fromkeys([*(said.get("recipients") or ()), *filter(None, [said.get("recovery")])]))
    if not everyone:
        remedy = "Run homelab secrets init; it prints the lines to add."
        raise HomelabError.of(lab.source, "secrets.recipients names no age key", remedy, "age-recipient")
    hosts = {}
    if said.get("host_keys", True):
        for name, host in lab.hosts.items():
            if host.ssh_host_key:
                derived = (ssh_to_age(host.ssh_host_key),) if host.os == "nixos" else ()
                hosts[name] = (" ".join(host.ssh_host_key.split()[:2]), *derived)
    return Audience(everyone, hosts)


def write_rules(folder: Path, audience: Audience) -> bool:
    """Write `.sops.yaml`, by which plain `sops` encrypts for the same recipients; whether it changed.

    Raises HomelabError rather than replace one that somebody else wrote.
    """
    file = folder / sops.CONFIG
    if file.exists() and not file.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        remedy = "Move it away, or keep it and make its recipients those of lab.yaml yourself."
        raise HomelabError.of(str(file), "was not written by homelab", remedy)
    rules = [
        {"path_regex": f"{HOST_FOLDER}/{name}\\.yaml$", "age": ",".join(audience.of(f"{HOST_FOLDER}/{name}.yaml"))}
        for name in sorted(audience.hosts)
    ]
    rules.append({"path_regex": r"secrets/.*\.yaml$", "age": ",".join(audience.everyone)})
    text = _HEADER + yaml.safe_dump({"creation_rules": rules}, sort_keys=False, width=10_000)
    return write_whole(file, text, mode=EVERYONE_READS)


def make_key() -> tuple[str, str]:
    """A new age key: (private, public)."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def own_recipients() -> tuple[str, ...]:
    """Public halves of the private keys that sops finds for this account: age keys, and its SSH key; empty without any.

    Raises HomelabError for a damaged age key.
    """
    ssh = Path.home() / ".ssh" / "id_ed25519.pub"
    found = [" ".join(ssh.read_text().split()[:2])] if ssh.is_file() else []
    return (*_age_recipients(), *found)


def _age_recipients() -> tuple[str, ...]:
    file = sops.key_file()
    lines = [
        *os.environ.get("SOPS_AGE_KEY", "").splitlines(),
        *(file.read_text().splitlines() if file.is_file() else ()),
    ]
    keys = [line.strip() for line in lines if line.strip().upper().startswith("AGE-SECRET-KEY-1")]
    try:
        return tuple(str(pyrage.x25519.Identity.from_str(key).to_public()) for key in keys)
    except pyrage.IdentityError:
        raise HomelabError.of(str(file), "holds a damaged age key", "Restore the file.") from None


def ensure_own_key() -> tuple[str, bool]:
    """The public age key of this account and whether it was made now; the private one is in sops' own place, 0600."""
    present = _age_recipients()
    if present:
        return present[0], False
    private, public = make_key()
    file = sops.key_file()
    before = file.read_text() if file.exists() else ""
    write_whole(file, f"{before}# public key: {public}\n{private}\n")
    return public, True


def ssh_to_age(public: str) -> str:
    """The age recipient that sops-nix derives from an Ed25519 host key (RFC 7748, section 4.1: u = (1 + y) / (1 - y)).

    Raises HomelabError for a key of another kind.
    """
    fields = public.split()
    try:
        blob = base64.b64decode(fields[1], validate=True) if fields[0] == "ssh-ed25519" else b""
    except (IndexError, ValueError):
        blob = b""
    if len(blob) != 51:
        raise HomelabError.of("host key", "not an Ed25519 public key", "Make one: homelab secrets init.")
    y = int.from_bytes(blob[19:], "little") & ((1 << 255) - 1)
    u = (1 + y) * pow(1 - y, _PRIME - 2, _PRIME) % _PRIME
    return bech32.encode("age", u.to_bytes(32, "little"))

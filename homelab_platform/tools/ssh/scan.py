"""The host key that a machine shows, for a person to compare before it is trusted.

Belongs here: asking for the key and its fingerprint. Not here: trusting it (a lab's `known_hosts`).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.tools.ssh.target import Target

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
"""The best first."""
PATIENCE = 8


@dataclass(frozen=True)
class ShownKey:
    """A host key as `known_hosts` has it (`ssh-ed25519 AAAA…`), and its fingerprint as `ssh-keygen -l` writes it."""

    key: str
    fingerprint: str


def shown_key(target: Target) -> ShownKey:
    """The best key that the machine shows. Raises Unreachable when none comes, HomelabError without OpenSSH here."""
    said = _run(["ssh-keyscan", "-T", str(PATIENCE), "-p", str(target.port), "--", target.address])
    keys = [" ".join(line.split()[1:3]) for line in said.splitlines() if line and not line.startswith("#")]
    found = next((key for kind in KINDS for key in keys if key.startswith(f"{kind} ")), None)
    if found is None:
        raise Unreachable.of(target.where, "shows no host key", "Is it switched on, and does SSH listen there?")
    return ShownKey(found, _run(["ssh-keygen", "-l", "-f", "-"], f"{target.address} {found}\n").split()[1])


def _run(command: list[str], text: str = "") -> str:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise HomelabError.of(command[0], "is not installed here", "Install openssh-client.") from None

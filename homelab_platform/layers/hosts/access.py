"""How the platform reaches the hosts of a lab.

Belongs here: settings. Not here: SSH itself (tools/ssh/client.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.plan.broker_access import password_of
from homelab_platform.secrets.values import change_mark, reveal
from homelab_platform.tools.ssh.target import SshAccess, Target

CONFIRM_WITHIN = 90
"""Seconds within which a deploy must be confirmed over a new connection, else the host undoes it."""


@dataclass(frozen=True)
class HostAccess:
    """How hosts are reached. `user` logs in; None: the lab's deploy account, else its first admin.

    `addresses` overrides where a host is reached, as address or address:port. `confirm_within` in seconds. `state` is a
    folder for what is handed to the tools; `packages` may hold Debian packages for hosts that reach no mirror. The
    passwords of the lab's broker follow from `broker_secret`; None: hosts are given none. References to secrets start
    from `lab_folder`.
    """

    ssh: SshAccess
    state: Path
    user: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    confirm_within: int = CONFIRM_WITHIN
    packages: Path | None = None
    commit: str = ""
    broker_secret: str | None = field(default=None, repr=False)
    lab_folder: Path | None = None

    def secret_values(self, host: ResolvedHost) -> dict[str, str]:
        """The secrets that are laid down on `host`, by name, to be used at once and kept nowhere.

        Raises HomelabError naming the first reference that leads nowhere.
        """
        found = {}
        for name, secret in host.secrets.items():
            value = reveal(secret.reference, self._folder(host))
            found[name] = f"{value}\n" if "\n" in value else value  # keys in several lines end with a line's end
        return found

    def values_of(self, host: ResolvedHost, references: Mapping[str, str]) -> dict[str, str]:
        """What `references` lead to, by name. Raises HomelabError naming the first that leads nowhere."""
        return {name: reveal(reference, self._folder(host)) for name, reference in references.items()}

    def secret_marks(self, host: ResolvedHost, named: Mapping[str, str] | None = None) -> str:
        """What changes whenever one of `host`'s secrets does; empty if it has none. Tells nothing of them.

        `named` holds the references of the whole lab by where they stand in it: services of NixOS read some of them.
        """
        references = [secret.reference for _, secret in sorted(host.secrets.items())]
        if host.os == "nixos" and self.lab_folder is not None:  # there services are given those that the lab names
            parts = (f"hosts.{host.name}.", "network.wifi.", "network.vpn.", "network.dns.", "people.", "backups.")
            references += [reference for key, reference in sorted((named or {}).items()) if key.startswith(parts)]
        if not references:
            return ""
        salt, folder = (self.broker_secret or "").encode(), self._folder(host)
        marks = [change_mark(reference, folder, salt) for reference in references]
        return hashlib.sha256(" ".join(marks).encode()).hexdigest()[:12]

    def _folder(self, host: ResolvedHost) -> Path:
        if self.lab_folder is None:
            raise HomelabError.of(f"host/{host.name}", "its secrets are beside a lab file that is not known here")
        return self.lab_folder

    def broker_password(self, host: ResolvedHost) -> str:
        """The password by which `host` publishes its readings; empty if its broker asks for none, or we do not know."""
        user = host.telemetry.get("user")
        return password_of(self.broker_secret, str(user)) if user and self.broker_secret else ""

    def broker_mark(self, host: ResolvedHost) -> str:
        """What tells `host`'s password from another and says nothing of it; empty if it has none."""
        password = self.broker_password(host)
        return hashlib.sha256(f"mark {password}".encode()).hexdigest()[:12] if password else ""

    def target(self, lab: ResolvedLab, host: ResolvedHost) -> Target:
        """Where and as whom to log in to `host`. Raises HomelabError if the lab names nobody who may."""
        said = self.addresses.get(host.name) or host.address or host.vpn_address or host.address6
        if said is None:
            said = host.dns_names[0] if host.dns_names else host.name
        address, _, port = said.rpartition(":") if said.count(":") == 1 else (said, "", "")
        return Target(host.name, address, self.user or deployer(lab, host), int(port or 22))


def deployer(lab: ResolvedLab, host: ResolvedHost) -> str:
    """The account that deploys to `host`: one of kind deploy, else the first admin with a login there."""
    people = [lab.people[name] for name in host.users if name in lab.people]
    deployers = [person.name for person in people if person.settings.get("kind") == "deploy"]
    admins = [person.name for person in people if person.role == "admin"]
    if deployers or admins:
        return [*deployers, *admins][0]
    raise HomelabError.of(
        f"host/{host.name}", "nobody may deploy to it", "Add an admin, or a person of kind deploy, to the lab file."
    )


@dataclass(frozen=True)
class Task:
    """One change of one host: for whom, with which rights, under which deploy's token, and who hears of it."""

    lab: ResolvedLab
    host: ResolvedHost
    access: HostAccess
    token: str
    say: Callable[[str], None]

"""A host to log in to, and how hosts are reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A host to log in to: `name` is the one that the lab knows it by."""

    name: str
    address: str
    user: str = "root"
    port: int = 22

    @property
    def where(self) -> str:
        """The host as a message names it."""
        port = f" port {self.port}" if self.port != 22 else ""
        return f"host/{self.name} ({self.address}{port})"


@dataclass(frozen=True)
class SshAccess:
    """How hosts are reached. `known_hosts` is the lab's own file; `key` a private key file, else the agent's keys.

    `first_contact` says what happens with a host whose key is not known yet: `refuse`, or `accept` and remember it.
    Time limits in seconds.
    """

    known_hosts: Path
    key: Path | None = None
    first_contact: str = "refuse"
    connect_timeout: int = 8
    alive_every: int = 5
    keep_open: int = 60
    sockets: Path | None = None
    options: tuple[str, ...] = ()

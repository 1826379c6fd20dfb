"""Targets on other machines. Their records are mirrored here, so that a look at them asks the machine once.

Belongs here: identity, mirror and repositories of such a target. Not here: how its machine is reached (depots.py).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.layers.backups.depots import Depot
from homelab_platform.layers.backups.records import IDENTITY, KIT, PROOFS, SNAPSHOTS, Identity
from homelab_platform.layers.backups.targets import REPOSITORIES, NotMounted, judged, new_identity
from homelab_platform.tools.restic.repository import Repository

MIRRORED = (IDENTITY, KIT, SNAPSHOTS, PROOFS)
FRESH = 30.0
"""Seconds for which what was fetched counts as what lies there."""


@dataclass
class RemoteTarget:
    """A target behind a depot. `folder` is the mirror of its records; `key` opens its repositories."""

    name: str
    depot: Depot
    folder: Path
    lab: str
    key: str = field(repr=False)
    own: bool = False
    _fetched: float = field(default=-FRESH, init=False, repr=False)

    @property
    def place(self) -> str:
        """Its address."""
        return self.depot.place

    @property
    def note(self) -> str:
        """Nothing: it is another machine."""
        return ""

    def identity(self) -> Identity:
        """Which target lies there now, its key compared, its records fetched.

        Raises Unreachable when it does not answer, NotMounted when none lies there, WrongTargetKey, HomelabError.
        """
        self._fetch()
        if not (self.folder / IDENTITY).exists():
            raise NotMounted.of(
                f"target {self.name}",
                f"no target was made at {self.place}",
                f"Nothing was written. Make it: homelab backup target {self.name} --new",
            )
        return judged(self.name, self.place, self.folder / IDENTITY, lab=self.lab, key=self.key)

    def establish(self, protects: Path) -> Identity:
        """Make the place a target, unless it is this one already. Raises HomelabError if something else lies there."""
        names = self.depot.names()
        if IDENTITY in names:
            return self.identity()
        if names:
            raise HomelabError.of(
                f"target {self.name}",
                f"{self.place} is not empty and holds no {IDENTITY}",
                "Use an empty folder, or another prefix of the bucket.",
            )
        identity = new_identity(self.name, lab=self.lab, key=self.key)
        self.depot.put(IDENTITY, identity.model_dump_json(indent=1).encode())
        self._fetched = -FRESH
        return self.identity()

    def refuse_place(self, protects: Path) -> None:
        """Nothing to refuse: it is another machine."""

    def repository(self, item: str, program: Path, cache: Path) -> Repository:
        """The repository of one item there; it may not exist yet."""
        location = self.depot.location(f"{REPOSITORIES}/{item.replace('/', '_')}")
        host = f"{self.lab}/{item}"
        return Repository(program, location, host, cache, self.key, self.depot.environment, self.depot.options)

    def room(self) -> int | None:
        """Bytes that are free; None where the place does not say."""
        return self.depot.room()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file there, then into the mirror."""
        self.depot.put(name, data)
        write_whole(self.folder / name, data)

    def remove(self, name: str) -> None:
        """Take a small file away, there and in the mirror."""
        self.depot.remove(name)
        (self.folder / name).unlink(missing_ok=True)

    def _fetch(self) -> None:
        if time.monotonic() - self._fetched < FRESH:
            return
        new = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True, mode=0o700)
        self.depot.fetch(MIRRORED, new)
        shutil.rmtree(self.folder, ignore_errors=True)
        new.rename(self.folder)
        self._fetched = time.monotonic()

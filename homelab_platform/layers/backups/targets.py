"""Places that backups go to: folders of this machine, whether a disk, a mounted share or the site's own.

Belongs here: which target a folder is, refusing one that is not there, and its repositories. Before a byte is written
the target's identity file must be found: a share that is not mounted is never filled. Not here: what is saved.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.files import write_whole
from homelab_platform.layers.backups.records import IDENTITY, Identity
from homelab_platform.tools.restic.repository import Repository

REPOSITORIES = "repositories"
PATIENCE = 10.0
"""Seconds for a folder to answer: a look at a share whose server is gone may hang for ever."""
SAME_DISK = "same disk: protects from mistakes, not from a dead disk"


class NotMounted(Unreachable):
    """The target is known, and its identity file is not at its place."""


class WrongTargetKey(HomelabError):
    """The target was made with another key."""


@dataclass(frozen=True)
class FolderTarget:
    """A folder. `own` is the site's own target, on the disk of what it protects; `key` opens its repositories."""

    name: str
    folder: Path
    lab: str
    key: str = field(repr=False)
    own: bool = False

    @property
    def note(self) -> str:
        """What a reader must know of this target's worth."""
        return SAME_DISK if self.own else ""

    def identity(self) -> Identity:
        """Which target lies here now, its key compared. Changes nothing.

        Raises NotMounted if none does, WrongTargetKey that names both keys, HomelabError for another lab's target.
        """
        file = self.folder / IDENTITY
        if not answers(file):
            raise NotMounted.of(
                f"target {self.name}",
                f"{self.folder} holds no {IDENTITY}: it is not mounted, or no target was made there",
                "Nothing was written. Mount it; for a new target: homelab backup target "
                f"{self.name} --new (never into an unmounted folder).",
            )
        try:
            found = Identity.model_validate_json(file.read_bytes())
        except (ValidationError, OSError) as error:
            raise HomelabError.of(str(file), f"cannot be read: {str(error).splitlines()[0]}", "") from None
        if found.lab != self.lab:
            raise HomelabError.of(
                f"target {self.name}", f"{self.folder} belongs to the lab {found.lab}", "Use another folder."
            )
        mine = key_id(self.key, found.id)
        if found.key != mine:
            raise WrongTargetKey.of(
                f"target {self.name}",
                f"was made with key {found.key}; the key here is {mine}",
                "Nothing was written. Put the recovery key of that id in its place.",
            )
        return found

    def establish(self, protects: Path) -> Identity:
        """Make this folder a target, unless it is this one already. `protects` is the folder of what it will hold.

        Raises HomelabError for a folder inside that one, on its disk (unless it is the site's own), or not empty.
        """
        self.refuse_place(protects)
        if answers(self.folder / IDENTITY):
            return self.identity()
        if self.own:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.folder.is_dir():
            raise NotMounted.of(
                f"target {self.name}", f"there is no folder {self.folder}", "Mount the disk, or make the folder."
            )
        if any(self.folder.iterdir()):
            raise HomelabError.of(
                f"target {self.name}", f"{self.folder} is not empty and holds no {IDENTITY}", "Use an empty folder."
            )
        made = uuid.uuid4().hex
        identity = Identity(id=made, lab=self.lab, name=self.name, key=key_id(self.key, made), made=datetime.now(UTC))
        write_whole(self.folder / IDENTITY, identity.model_dump_json(indent=1))
        return identity

    def refuse_place(self, protects: Path) -> None:
        """Raise HomelabError if this folder would be lost together with what it protects."""
        folder, inside = self.folder.resolve(), protects.resolve()
        if folder.is_relative_to(inside) or inside.is_relative_to(folder):
            raise HomelabError.of(
                f"target {self.name}",
                f"{folder} and what it protects ({inside}) lie inside each other",
                "Use a folder on another disk.",
            )
        if not self.own and folder.exists() and folder.stat().st_dev == inside.stat().st_dev:
            raise HomelabError.of(
                f"target {self.name}",
                f"{folder} lies on the disk of what it protects ({inside}), or the disk for it is not mounted",
                "Mount another disk there. The site's own target already protects from mistakes.",
            )

    def repository(self, item: str, program: Path, cache: Path) -> Repository:
        """The repository of one item here; it may not exist yet."""
        place = self.folder / REPOSITORIES / item.replace("/", "_")
        return Repository(program, str(place), f"{self.lab}/{item}", cache, self.key)

    def room(self) -> int:
        """Bytes that are free for this user."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@cache
def key_id(key: str, target: str) -> str:
    """A name for a key at one target: 8 hexadecimal digits that cost as much to guess from as the repository itself."""
    made = hashlib.scrypt(key.encode(), salt=f"homelab {target}".encode(), n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=4)
    return made.hex()


def answers(file: Path, seconds: float = PATIENCE) -> bool:
    """Whether a file is there. Raises Unreachable if its file system does not answer within `seconds`."""
    asked = subprocess.Popen(["test", "-f", str(file)], stdin=subprocess.DEVNULL)  # a child may hang in our stead
    deadline = time.monotonic() + seconds
    while asked.poll() is None:
        if time.monotonic() > deadline:
            asked.kill()
            raise Unreachable.of(
                str(file.parent), f"does not answer within {seconds:g} s", "See whether the share's server is up."
            )
        time.sleep(0.002)
    return asked.returncode == 0

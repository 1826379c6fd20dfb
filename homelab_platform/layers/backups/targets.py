"""Places that backups go to, and those that are folders: a disk, a mounted share, the site's own.

Belongs here: what every target can do, which target lies at a place, refusing one that is not there. Before a byte is
written the target's identity file must be found: a share that is not mounted is never filled. Not here: what is saved,
or targets on other machines (remote.py).
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
from typing import Protocol

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


class Target(Protocol):
    """A place that backups go to."""

    @property
    def name(self) -> str:
        """Its name in the lab."""

    @property
    def folder(self) -> Path:
        """Where its records can be read on this machine, once `identity` has answered."""
        ...

    @property
    def own(self) -> bool:
        """Whether it is the site's own, on the disk of what it protects."""
        ...

    @property
    def key(self) -> str:
        """What opens its repositories."""

    @property
    def place(self) -> str:
        """Its address, as a message names it."""

    @property
    def note(self) -> str:
        """What a reader must know of its worth."""

    def identity(self) -> Identity:
        """Which target lies there now, its key compared. Changes nothing there.

        Raises Unreachable when it does not answer, NotMounted if there is none, WrongTargetKey that names both keys,
        HomelabError for another lab's target.
        """
        ...

    def establish(self, protects: Path) -> Identity:
        """Make the place a target, unless it is this one already. `protects` is the folder of what it will hold.

        Raises HomelabError for a place that would be lost with that folder, or that holds something else.
        """
        ...

    def refuse_place(self, protects: Path) -> None:
        """Raise HomelabError if it would be lost together with the folder that it protects."""

    def repository(self, item: str, program: Path, cache: Path) -> Repository:
        """The repository of one item there; it may not exist yet."""
        ...

    def room(self) -> int | None:
        """Bytes that are free for this user; None where the place does not say."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file there, whole or not at all."""

    def remove(self, name: str) -> None:
        """Take a small file away; no error if there is none."""


@dataclass(frozen=True)
class FolderTarget:
    """A folder. `own` is the site's own target, on the disk of what it protects; `key` opens its repositories."""

    name: str
    folder: Path
    lab: str
    key: str = field(repr=False)
    own: bool = False

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

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
        return judged(self.name, self.place, file, lab=self.lab, key=self.key)

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
        identity = new_identity(self.name, lab=self.lab, key=self.key)
        self.write(IDENTITY, identity.model_dump_json(indent=1).encode())
        return identity

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        write_whole(self.folder / name, data)

    def remove(self, name: str) -> None:
        """Take a small file away; no error if there is none."""
        (self.folder / name).unlink(missing_ok=True)

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


def judged(name: str, place: str, file: Path, *, lab: str, key: str) -> Identity:
    """The identity in `file` of the target `name` at `place`, if it is this one and was made with this key.

    Raises HomelabError for another target, another lab's or a file that cannot be read, WrongTargetKey that names both
    keys.
    """
    try:
        found = Identity.model_validate_json(file.read_bytes())
    except (ValidationError, OSError) as error:
        raise HomelabError.of(f"{place}/{IDENTITY}", f"cannot be read: {str(error).splitlines()[0]}", "") from None
    if found.lab != lab:
        raise HomelabError.of(f"target {name}", f"{place} belongs to the lab {found.lab}", "Use another place.")
    if found.name != name:
        raise HomelabError.of(
            f"target {name}",
            f"{place} is the target {found.name} of this lab",
            f"Nothing was written. Mount the right one. If the lab renamed it, write the new name into {IDENTITY}.",
        )
    mine = key_id(key, found.id)
    if found.key != mine:
        raise WrongTargetKey.of(
            f"target {name}",
            f"was made with key {found.key}; the key here is {mine}",
            "Nothing was written. Put the recovery key of that id in its place.",
        )
    return found


def new_identity(name: str, *, lab: str, key: str) -> Identity:
    """The identity of a target that is made now."""
    made = uuid.uuid4().hex
    return Identity(id=made, lab=lab, name=name, key=key_id(key, made), made=datetime.now(UTC))


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

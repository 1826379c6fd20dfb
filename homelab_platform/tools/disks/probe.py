"""What a disk of this machine is, what it holds, and who uses it.

Belongs here: reading `lsblk`, `wipefs` and the disk's first bytes. Not here: whether that may be overwritten
(layers/images/flash.py).
"""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from homelab_platform.errors import HomelabError

UNFINISHED = b"homelab flash: not finished\n"
"""What the first sector of a disk begins with from the first write of an image until everything else was compared."""
_COLUMNS = "NAME,TYPE,SIZE,MODEL,TRAN,RM,RO,FSTYPE,LABEL,MOUNTPOINTS"
_SYSTEM_MOUNTS = frozenset({"/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/nix", "/nix/store", "/var"})
_HEAD = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A disk, or a file in its place.

    `size` in bytes. `holds` lists partition tables, file systems and whatever else is known on it; `mounts` where any
    part of it is mounted; `users` what the kernel keeps on top of it (LVM, RAID, encryption). `unfinished` is true
    where a write of ours was cut off, `blank` where its first MiB is zero and no signature is known.
    """

    path: str
    kind: str
    size: int
    model: str = ""
    transport: str = ""
    read_only: bool = False
    holds: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    parent: str = ""
    unfinished: bool = False
    blank: bool = False

    @property
    def runs_this_machine(self) -> bool:
        """Whether the system of this machine lies on it."""
        return bool(_SYSTEM_MOUNTS & {*self.mounts})


class _Node(BaseModel):
    """One row of `lsblk --json`, with the rows below it."""

    model_config = ConfigDict(extra="ignore")
    name: str
    type: str
    size: int
    model: str | None = None
    tran: str | None = None
    ro: bool = False
    fstype: str | None = None
    label: str | None = None
    mountpoints: list[str | None] = []
    children: list[_Node] = Field(default=[])

    def below(self) -> Iterator[_Node]:
        """Everything on it, at any depth."""
        for child in self.children:
            yield child
            yield from child.below()


class _Signature(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str
    label: str | None = None


class _Signatures(BaseModel):
    signatures: list[_Signature] = []


class _Tree(BaseModel):
    blockdevices: list[_Node] = []


def look(path: str) -> Disk:
    """What the disk at `path` is; what is on a mounted one is not read.

    Raises HomelabError if there is none, or it cannot be read by this account.
    """
    place = Path(path)
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise HomelabError.of(
            path, f"cannot be found: {error.strerror}", "lsblk lists the disks of this machine."
        ) from None
    if stat.S_ISREG(mode):
        return _with_content(Disk(path, "file", place.stat().st_size))
    if not stat.S_ISBLK(mode):
        raise HomelabError.of(path, "is neither a disk nor a file", "lsblk lists the disks of this machine.")
    disk = disk_of(_ask(["lsblk", "--json", "--bytes", "--paths", "--output", _COLUMNS, path]), path)
    return disk if disk.mounts or not disk.size else _with_content(disk)


def disk_of(text: str, path: str) -> Disk:
    """The disk that `lsblk --json` describes, without what only its bytes say."""
    (node, *_others) = _Tree.model_validate_json(text).blockdevices
    parts = [node, *node.below()]
    return Disk(
        path=path,
        kind=node.type,
        size=node.size,
        model=(node.model or "").strip(),
        transport=node.tran or "",
        read_only=node.ro,
        holds=tuple(_named(part.fstype, part.label) for part in parts if part.fstype),
        mounts=tuple(mount for part in parts for mount in part.mountpoints if mount),
        users=tuple(part.name for part in node.below() if part.type != "part"),
        parent=_parent(path) if node.type == "part" else "",
    )


def _parent(path: str) -> str:
    """The whole disk of a partition."""
    done = subprocess.run(
        ["lsblk", "--noheadings", "--nodeps", "--paths", "--output", "PKNAME", path],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _with_content(disk: Disk) -> Disk:
    """The disk with what its own bytes say."""
    try:
        with Path(disk.path).open("rb", buffering=0) as stream:
            head = stream.read(_HEAD) or b""
    except OSError as error:
        remedy = f"sudo chown $USER {disk.path}, until it is pulled out."
        raise HomelabError.of(disk.path, f"cannot be read: {error.strerror}", remedy) from None
    signatures = _Signatures.model_validate_json(_ask(["wipefs", "--no-act", "--json", disk.path]) or "{}").signatures
    known = [_named(found.type, found.label) for found in signatures]
    holds = tuple(dict.fromkeys((*known, *disk.holds)))
    blank = not holds and not any(head)
    return replace(disk, holds=holds, unfinished=head.startswith(UNFINISHED), blank=blank)


def _named(kind: str | None, label: str | None) -> str:
    return f"{kind} {json.dumps(label, ensure_ascii=False)}" if label else str(kind)


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HomelabError.of(
            command[0], "is not installed here", "Install util-linux. Cards are written on Linux only."
        ) from None
    if done.returncode:
        raise HomelabError.of(command[-1], f"{command[0]} failed: {done.stderr.strip()}", "Is it still plugged in?")
    return done.stdout

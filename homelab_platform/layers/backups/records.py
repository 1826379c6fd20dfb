"""What lies at a target, as the target itself says: its identity, its snapshots with their verdicts, their proofs.

Belongs here: the typed records and their files. They hold no secret and are readable without the key, so that losing
the platform's database loses nothing. Not here: making snapshots (operations/) or reading them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from homelab_platform.errors import HomelabError

IDENTITY = ".homelab-target"
KIT = "emergency-kit.html"
SNAPSHOTS, PROOFS = "snapshots", "proofs"
GOOD_TAG = "good"
"""Restic's tag of snapshots whose verdict is good: restic alone then tells them from suspect ones."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Identity(_Record):
    """Which target this is. `key` is the id of the key that its repositories were made with."""

    format: int = 1
    id: str
    lab: str
    name: str
    key: str
    made: datetime


class SnapshotRecord(_Record):
    """A snapshot. `root` is the manifest's hash over all files, `manifest` the SHA-256 of the manifest itself;
    `verdict` is `suspect` for the `reasons` given: such a snapshot counts for nothing and blocks pruning.
    `label` is a name that a person gave it.
    """

    run: str
    item: str
    method: str
    snapshot: str
    made: datetime
    ended: datetime
    files: int
    bytes: int
    added: int
    rows: int | None
    root: str
    manifest: str
    key: str
    verdict: Literal["good", "suspect"] = "good"
    reasons: tuple[str, ...] = ()
    label: str = ""


class ProofRecord(_Record):
    """A drill of one snapshot: restored into a scratch place and compared. `seconds` by step; `findings` is what was
    not as it should be, none for a proof that passed.
    """

    run: str
    item: str
    of: str  # the run that made the snapshot
    at: datetime
    passed: bool
    files: int
    bytes: int
    rows: int | None
    seconds: dict[str, float]
    findings: tuple[str, ...] = ()
    repository: int = 0  # bytes of the item's repository as stored

    @property
    def duration(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


_R = TypeVar("_R", SnapshotRecord, ProofRecord)


class Writable(Protocol):
    """A target, as far as records are written to it."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file there, whole or not at all."""

    def remove(self, name: str) -> None:
        """Take a small file away; no error if there is none."""


def save_record(target: Writable, record: SnapshotRecord | ProofRecord) -> None:
    """Write a record at the target, whole or not at all."""
    target.write(_name(record), record.model_dump_json(indent=1).encode())


def _name(record: SnapshotRecord | ProofRecord) -> str:
    kind = SNAPSHOTS if isinstance(record, SnapshotRecord) else PROOFS
    return f"{kind}/{record.item.replace('/', '_')}/{record.run}.json"


def snapshots_of(folder: Path, item: str) -> list[SnapshotRecord]:
    """The snapshots of an item at a target, oldest first. Raises HomelabError for a record that cannot be read."""
    return sorted(_load(folder, SNAPSHOTS, item, SnapshotRecord), key=lambda record: record.made)


def proofs_of(folder: Path, item: str) -> list[ProofRecord]:
    """The drills of an item from a target, oldest first. Raises HomelabError for a record that cannot be read."""
    return sorted(_load(folder, PROOFS, item, ProofRecord), key=lambda record: record.at)


def forget_record(target: Writable, record: SnapshotRecord) -> None:
    """Take away the record of a snapshot that was given up."""
    target.remove(_name(record))


def _load(folder: Path, kind: str, item: str, of: type[_R]) -> Iterator[_R]:
    for file in sorted((folder / kind / item.replace("/", "_")).glob("*.json")):
        try:
            yield of.model_validate_json(file.read_bytes())
        except (ValidationError, OSError) as error:
            raise HomelabError.of(
                str(file), f"cannot be read: {str(error).splitlines()[0]}", "Move it away; the snapshot itself stays."
            ) from None

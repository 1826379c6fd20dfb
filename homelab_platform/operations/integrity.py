"""Verify integrity: every byte of a target's repositories read back, and only then what nothing needs deleted.

Belongs here: the full read, the damage by item, pruning after a clean read. Not here: whether a snapshot can be brought
to life (drill.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.targets import Target
from homelab_platform.names import Say, silent
from homelab_platform.operations.journal import Outcome
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out
from homelab_platform.operations.site import Protection

KIND = "verify-integrity"


@dataclass(frozen=True)
class Integrity:
    """The repository of one item at one target: what is damaged, and whether it was pruned."""

    item: str
    target: str
    damage: tuple[str, ...]
    pruned: bool
    bytes: int

    def to_dict(self) -> dict[str, object]:
        """The row as JSON-ready data."""
        return {
            "item": self.item,
            "target": self.target,
            "damage": "; ".join(self.damage),
            "pruned": self.pruned,
            "bytes": self.bytes,
        }


def verify_targets(site: Protection, target: str, say: Say, *, read: str = "all") -> list[Integrity]:
    """Read back the target of this name, or all that are there if it is empty; see verify_integrity.

    Raises HomelabError if the named target, or every target, is out of reach.
    """
    if target:
        return verify_integrity(site, site.target(target), say, read=read)
    found: list[Integrity] = []
    away: list[HomelabError] = []
    for one in site.targets:
        try:
            found += verify_integrity(site, one, say, read=read)
        except Unreachable as error:
            say(str(error.problems[0]))
            away.append(error)
    if len(away) == len(site.targets):
        raise away[0]
    return found


def verify_integrity(site: Protection, target: Target, say: Say, *, read: str = "all") -> list[Integrity]:
    """Read the repositories of all items at a target, and prune those that are whole and whose newest snapshot is good.

    `read` is `all`, or a part of the data such as `3/7`, after which nothing is pruned. Raises HomelabError if the
    target is not there or its key is wrong. Damage is returned, and no error.
    """
    target.identity()
    return [_verify(site, target, name, read, say) for name in site.items if records.snapshots_of(target.folder, name)]


def _verify(site: Protection, target: Target, item: str, read: str, say: Say) -> Integrity:
    repository = site.repository(target, item)

    def check(_done: Outcomes) -> Outcome:
        repository.unlock()  # nobody else works on this item: we hold its lock
        found = repository.check(read)
        missing = _missing(target, item, {snapshot.id for snapshot in repository.snapshots()})
        return {"damage": [*found, *missing]}

    def prune(done: Outcomes) -> Outcome:
        newest = records.snapshots_of(target.folder, item)[-1]
        wanted = read == "all" and not done["read"]["damage"] and newest.verdict == "good"
        if wanted:
            repository.prune()
        return {"pruned": wanted, "bytes": repository.size()}

    say(f"reads {item} at {target.name}")
    procedure = Procedure(KIND, item, lambda _run: [Step("read", check), Step("prune", prune)])
    record = carry_out(site.journal, procedure, silent, patience=site.patience)
    damage = record.outcomes["read"]["damage"]
    return Integrity(
        item,
        target.name,
        tuple(str(line) for line in damage) if isinstance(damage, list) else (),
        record.outcomes["prune"]["pruned"] is True,
        int(str(record.outcomes["prune"]["bytes"])),
    )


def _missing(target: Target, item: str, there: set[str]) -> list[str]:
    recorded = records.snapshots_of(target.folder, item)
    return [f"snapshot of {r.run} is on record and not in the repository" for r in recorded if r.snapshot not in there]

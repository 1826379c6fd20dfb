"""Restore: a plan first, then each item fetched beside the live one, verified, and put in its place.

Belongs here: choosing snapshots, the plan, the steps, restoring into a folder. Not here: how an item is put back
(layers/backups/put_back.py). The live item is untouched until what was fetched is verified.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.manifest import FILE, Manifest, compare_files, load_manifest
from homelab_platform.layers.backups.records import ProofRecord, SnapshotRecord
from homelab_platform.layers.backups.targets import Target
from homelab_platform.names import Say
from homelab_platform.operations.journal import Outcome
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out
from homelab_platform.operations.site import Item, Protection

KIND = "restore"
FETCH, VERIFY, PUT_BACK, CLEAR = "fetch the snapshot", "verify it", "put it back", "clear the staging place"


@dataclass(frozen=True)
class Choice:
    """One item of a restore: which snapshot, from which target, the proof of it if a drill has made one, and the newest
    proof of any of its snapshots.
    """

    item: Item
    target: Target
    snapshot: SnapshotRecord
    proof: ProofRecord | None
    newest_proof: ProofRecord | None = None

    @property
    def forecast(self) -> float | None:
        """Seconds that it will take on a machine like this one, by its last drill."""
        known = self.proof or self.newest_proof
        return known.duration if known else None


def moment(text: str, zone: str) -> datetime:
    """A time as people write it, ISO 8601; without an offset it is in the lab's `zone`.

    Raises HomelabError for anything else.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise HomelabError.of(
            "--at", f"{text!r} is not a time", "Write 2026-11-30T02:30, or 2026-11-30T02:30+01:00."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))


def plan_restore(
    site: Protection, names: Sequence[str], *, at: datetime | None = None, target: str | None = None
) -> list[Choice]:
    """What a restore of these items (none: of all) would use: for each the newest good snapshot made at `at` or before.

    Changes nothing. Raises HomelabError that names every item without such a snapshot.
    """
    items = [site.item(name) for name in names] or list(site.items.values())
    targets = [site.target(target)] if target else list(site.targets)
    found = [_choice(item, targets, at) for item in sorted(items, key=lambda item: (item.after, item.name))]
    missing = [error for error in found if isinstance(error, HomelabError)]
    if missing:
        raise HomelabError(problem for error in missing for problem in error.problems)
    return [choice for choice in found if isinstance(choice, Choice)]


def _choice(item: Item, targets: Sequence[Target], at: datetime | None) -> Choice | HomelabError:
    best: Choice | None = None
    away: list[str] = []
    for target in targets:
        try:
            target.identity()
        except Unreachable as error:
            away.append(error.problems[0].what)
            continue
        passed = [proof for proof in records.proofs_of(target.folder, item.name) if proof.passed]
        proofs, newest = {proof.of: proof for proof in passed}, passed[-1] if passed else None
        for record in records.snapshots_of(target.folder, item.name):
            fits = record.verdict == "good" and (at is None or record.made <= at)
            if fits and (best is None or record.made > best.snapshot.made):
                best = Choice(item, target, record, proofs.get(record.run), newest)
    if best is not None:
        return best
    when = f" made at {at:%Y-%m-%d %H:%M} or before" if at else ""
    reason = f" ({'; '.join(away)})" if away else ""
    return HomelabError.of(f"restore of {item.name}", f"no target holds a good snapshot{when}{reason}", "")


def restore(site: Protection, choice: Choice, say: Say) -> list[str]:
    """Put one item back as a plan chose it; returns what was done, a line each.

    Raises HomelabError, with the live item as it was, if what was fetched is not what was saved, or if another process
    restores the same item.
    """
    work = _Restore(site, choice, say)
    record = carry_out(site.journal, work.procedure(), say, patience=site.patience)
    lines = record.outcomes[PUT_BACK]["done"]
    return [str(line) for line in lines] if isinstance(lines, list) else []


def restore_into(site: Protection, choice: Choice, place: Path, say: Say) -> Manifest:
    """Write a snapshot's files into the folder `place`, which must be empty or missing, and verify every byte.

    Raises HomelabError that names the files which are not as they were saved.
    """
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise HomelabError.of(str(place), "is not an empty folder", "Nothing was written. Name another place.")
    say(f"fetching {choice.snapshot.bytes} bytes from {choice.target.name}")
    site.repository(choice.target, choice.item.name).restore(choice.snapshot.snapshot, place)
    return verified(choice.snapshot, place)


def verified(snapshot: SnapshotRecord, folder: Path) -> Manifest:
    """The manifest of a restored folder, every byte of which was compared with it and it with the record.

    Raises HomelabError that names what differs.
    """
    manifest = load_manifest(folder)
    findings = compare_files(manifest, folder)
    if hashlib.sha256((folder / FILE).read_bytes()).hexdigest() != snapshot.manifest:
        findings.append(f"{FILE} is not the one that was saved")
    if findings:
        raise HomelabError.of(
            f"restore of {snapshot.item}",
            f"what was fetched is not what was saved: {'; '.join(findings[:3])}",
            "The live item is as it was. Use an older snapshot (--at TIME) or another target (--from NAME).",
        )
    return manifest


class _Restore:
    """The steps of putting one item back."""

    def __init__(self, site: Protection, choice: Choice, say: Say) -> None:
        self.site = site
        self.choice = choice
        self.say = say

    def procedure(self) -> Procedure:
        """The procedure as a whole. Its first step names the snapshot: with another one it is another procedure."""
        return Procedure(KIND, self.choice.item.name, self._steps, undo=self._clear)

    def _steps(self, run: str) -> Sequence[Step]:
        place = self.site.scratch(run)

        def fetch(_done: Outcomes) -> Outcome:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True, mode=0o700)
            repository = self.site.repository(self.choice.target, self.choice.item.name)
            repository.restore(self.choice.snapshot.snapshot, place)
            return {"snapshot": self.choice.snapshot.run}

        def verify(_done: Outcomes) -> Outcome:
            manifest = verified(self.choice.snapshot, place)
            return {"files": len(manifest.files), "bytes": manifest.bytes}

        def put_back(_done: Outcomes) -> Outcome:
            done = self.choice.item.put_back(place, load_manifest(place), run, self.say)
            return {"done": list[JsonValue](done)}

        def clear(_done: Outcomes) -> Outcome:
            self._clear(run)
            return {}

        chosen = f"{FETCH} {self.choice.snapshot.run}"
        return [Step(chosen, fetch), Step(VERIFY, verify), Step(PUT_BACK, put_back), Step(CLEAR, clear)]

    def _clear(self, run: str) -> None:
        shutil.rmtree(self.site.scratch(run), ignore_errors=True)

"""Drill: the newest snapshot restored into a scratch place and compared with its manifest; a proof with an age.

Belongs here: the steps, and the proof that they leave at the target. Not here: how an item is brought to life
(layers/drills).
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pydantic import JsonValue

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.manifest import FILE, Manifest, compare_files, load_manifest
from homelab_platform.layers.backups.records import ProofRecord, SnapshotRecord
from homelab_platform.layers.backups.targets import Target
from homelab_platform.names import Say
from homelab_platform.operations.journal import Outcome, ProcedureRecord, write_copy
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out
from homelab_platform.operations.site import Item, Protection

KIND = "drill"
CHOOSE, RESTORE, BYTES, LIFE, CLEAR, PROVE = (
    "choose a snapshot",
    "restore it into a scratch place",
    "compare bytes",
    "bring it to life",
    "clear the scratch place",
    "write the proof",
)
SHOWN = 20


def drill(site: Protection, name: str, target: str, say: Say) -> ProofRecord:
    """Prove the newest good snapshot of an item at a target.

    Raises HomelabError if there is none, or if what was restored is not what was saved; the failed proof is then on
    record at the target too.
    """
    work = _Drill(site, site.item(name), site.target(target), say)
    record = carry_out(site.journal, work.procedure(), say, patience=site.patience)
    return work.proof(record.run)


def subject_of(item: str, target: str) -> str:
    """What a drill locks: the item as it lies at one target."""
    return f"{item} from {target}"


class _Drill:
    """The steps of a drill of one item from one target."""

    def __init__(self, site: Protection, item: Item, target: Target, say: Say) -> None:
        self.site = site
        self.item = item
        self.target = target
        self.say = say

    def procedure(self) -> Procedure:
        """The procedure as a whole."""
        subject = subject_of(self.item.name, self.target.name)
        return Procedure(KIND, subject, self._steps, undo=self._clear, copy=self._write_record)

    def _steps(self, run: str) -> Sequence[Step]:
        def timed(name: str, work: Callable[[Outcomes], list[str]]) -> Step:
            def step(done: Outcomes) -> Outcome:
                began = time.monotonic()
                findings = work(done)
                return {"seconds": round(time.monotonic() - began, 3), "findings": list[JsonValue](findings[:SHOWN])}

            return Step(name, step)

        def clear(_done: Outcomes) -> Outcome:
            self._clear(run)
            return {}

        return [
            Step(CHOOSE, lambda _done: {"run": self._chosen().run}),
            timed(RESTORE, lambda done: self._restore(run, done)),
            timed(BYTES, lambda done: self._compare(run, done)),
            timed(LIFE, lambda done: self._rehearse(run, done)),
            Step(CLEAR, clear),
            Step(PROVE, lambda done: self._prove(run, done)),
        ]

    def _chosen(self) -> SnapshotRecord:
        self.target.identity()
        good = [r for r in records.snapshots_of(self.target.folder, self.item.name) if r.verdict == "good"]
        if not good:
            raise HomelabError.of(
                f"drill of {self.item.name}",
                f"target {self.target.name} holds no good snapshot of it",
                f"Make one: homelab backup run {self.item.name}",
            )
        return good[-1]

    def _record(self, done: Outcomes) -> SnapshotRecord:
        chosen = done[CHOOSE]["run"]
        for record in records.snapshots_of(self.target.folder, self.item.name):
            if record.run == chosen:
                return record
        raise HomelabError.of(f"drill of {self.item.name}", f"the snapshot of {chosen} was given up", "Run it again.")

    def _restore(self, run: str, done: Outcomes) -> list[str]:
        self._clear(run)
        place = self.site.scratch(run)
        place.mkdir(parents=True, mode=0o700)
        self.site.repository(self.target, self.item.name).restore(self._record(done).snapshot, place / "restored")
        return []

    def _compare(self, run: str, done: Outcomes) -> list[str]:
        restored, record = self.site.scratch(run) / "restored", self._record(done)
        text = (restored / FILE).read_bytes() if (restored / FILE).exists() else b""
        if hashlib.sha256(text).hexdigest() != record.manifest:
            return [f"{FILE} is not the one that was saved"]
        manifest = load_manifest(restored)
        findings = compare_files(manifest, restored)
        return findings if manifest.root == record.root else [*findings, "the hash over all files is another"]

    def _rehearse(self, run: str, done: Outcomes) -> list[str]:
        if done[BYTES]["findings"]:
            return []  # what does not hold its bytes is not brought to life
        place = self.site.scratch(run)
        return self.item.rehearse(place / "restored", self._manifest(run), place / "life", self.say)

    def _manifest(self, run: str) -> Manifest:
        return load_manifest(self.site.scratch(run) / "restored")

    def _clear(self, run: str) -> None:
        shutil.rmtree(self.site.scratch(run), ignore_errors=True)

    def _prove(self, run: str, done: Outcomes) -> Outcome:
        record = self._record(done)
        steps = {name: done[name] for name in (RESTORE, BYTES, LIFE)}
        findings = [
            str(f) for outcome in steps.values() if isinstance(f_list := outcome["findings"], list) for f in f_list
        ]
        proof = ProofRecord(
            run=run,
            item=self.item.name,
            of=record.run,
            at=datetime.now(UTC),
            passed=not findings,
            files=record.files,
            bytes=record.bytes,
            rows=record.rows,
            seconds={name: float(str(outcome["seconds"])) for name, outcome in steps.items()},
            findings=tuple(findings),
            repository=self.site.repository(self.target, self.item.name).size(),
        )
        records.save_record(self.target, proof)
        if findings:
            raise HomelabError.of(
                f"drill of {self.item.name}",
                f"what was restored from {self.target.name} is not what was saved: {'; '.join(findings[:3])}",
                "The backup is not proven. Look at the target's disk, and make a new backup.",
            )
        return {"passed": True}

    def proof(self, run: str) -> ProofRecord:
        """The proof that a run has left."""
        return next(p for p in records.proofs_of(self.target.folder, self.item.name) if p.run == run)

    def _write_record(self, record: ProcedureRecord) -> None:
        if CHOOSE in record.outcomes:
            write_copy(record, self.target)

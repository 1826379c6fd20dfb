"""Backup: one copy of an item at one point in time, saved to every target in reach, and compared before it counts.

Belongs here: the steps of the procedure and what makes a snapshot suspect. Not here: how an item is copied
(layers/backups), which snapshots are given up (retention.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from homelab_platform.errors import HomelabError, Problem, Unreachable
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.manifest import FILE, Manifest, load_manifest
from homelab_platform.layers.backups.records import SnapshotRecord
from homelab_platform.layers.backups.targets import NotMounted, Target
from homelab_platform.names import Say
from homelab_platform.operations.journal import Outcome, ProcedureRecord, write_copy
from homelab_platform.operations.kit import leave
from homelab_platform.operations.procedure import Outcomes, Procedure, Step, carry_out
from homelab_platform.operations.retention import given_up
from homelab_platform.operations.site import Item, Protection
from homelab_platform.tools.restic.repository import Entry, NoRepository, Repository, ResticError, Snapshot

KIND = "backup"
LEAST_ROOM = 64 << 20
"""Bytes that must be free at a target before anything is written there."""
HALF = 0.5
FAULTS = "faults"
"""In a step's outcome: what kept the copy from a target, as problems."""
LOOK, COPY, RELEASE, JUDGE = "look at the targets", "copy the item", "let go of the item", "judge the snapshots"


@dataclass(frozen=True)
class BackupRequest:
    """What one backup is asked to do. `label` names its snapshot; `shrunk` says that a person knows what data went."""

    item: str
    label: str = ""
    shrunk: bool = False


@dataclass(frozen=True)
class BackupReport:
    """What a backup did: the snapshot at each target, and the targets that it did not reach with the reason."""

    run: str
    item: str
    snapshots: dict[str, SnapshotRecord]
    missed: dict[str, str]
    seconds: float


def backup(site: Protection, request: BackupRequest, say: Say) -> BackupReport:
    """Save one item to every target in reach.

    Raises HomelabError if no target is in reach, if another process works on the item, if a target is not as it should
    be (the others have their copy then, and nothing is given up), or if a snapshot is suspect: it then stays, counts
    for nothing, and blocks pruning.
    """
    work = _Backup(site, site.item(request.item), request, say)
    record = carry_out(site.journal, work.procedure(), say, patience=site.patience)
    return work.report(record)


class _Backup:
    """The steps of a backup of one item."""

    def __init__(self, site: Protection, item: Item, request: BackupRequest, say: Say) -> None:
        self.site = site
        self.item = item
        self.plan = site.plan_of(item.name)
        self.request = request
        self.say = say
        self.stage = site.stage(item.name)
        self.targets = [target for target in site.targets if self.plan.goes_to(target)]

    def procedure(self) -> Procedure:
        """The procedure as a whole."""

        def undo(_run: str) -> None:
            self._release()

        return Procedure(KIND, self.item.name, self._steps, undo, self._write_record)

    def _steps(self, run: str) -> Sequence[Step]:
        return [
            Step(LOOK, lambda _done: self._look()),
            Step(COPY, lambda _done: self._copy(run)),
            *(step for target in self.targets for step in self._steps_at(target, run)),
            Step(RELEASE, lambda _done: self._release()),
            Step(JUDGE, self._judge),
            *(self._retaining(target) for target in self.targets),
        ]

    def _retaining(self, target: Target) -> Step:
        return Step(f"retain at {target.name}", lambda done: self._retain(target, done))

    def _steps_at(self, target: Target, run: str) -> list[Step]:
        """The steps at one target. One that fails keeps no other target from its copy: `_judge` is red for it."""

        def at_target(work: Callable[[Outcomes], Outcome]) -> Callable[[Outcomes], Outcome]:
            def run_step(done: Outcomes) -> Outcome:
                if not _reached(done, target):
                    return {}
                try:
                    return work(done)
                except HomelabError as error:
                    return {FAULTS: _faults(error)}

            return run_step

        save = at_target(lambda _done: self._save(target, run))
        compare = at_target(lambda done: self._compare(target, run, done[_saving(target)]))
        return [Step(_saving(target), save), Step(_comparing(target), compare)]

    def _look(self) -> Outcome:
        """Which targets are there, with their right key and room; what dead runs held in the item is let go.

        Raises NotMounted if none is in reach, and what the refused targets raised if none is left.
        """
        missed: dict[str, JsonValue] = {}
        refused: dict[str, HomelabError] = {}
        for target in self.targets:
            try:
                target.identity()
                target.refuse_place(self.site.protects)
                _require_room(target, self.item.name)
            except Unreachable as error:
                missed[target.name] = error.problems[0].what
            except HomelabError as error:
                refused[target.name] = error
                self.say(str(error.problems[0]))
        if refused and len(missed) + len(refused) == len(self.targets):
            raise next(iter(refused.values()))
        if len(missed) == len(self.targets):
            target = self.targets[0]
            raise NotMounted.of(
                f"backup of {self.item.name}",
                "no target is in reach: " + "; ".join(f"{name}: {why}" for name, why in missed.items()),
                "Nothing was written.",
            )
        self._release()
        faults: list[JsonValue] = [fault for error in refused.values() for fault in _faults(error)]
        return {"missed": missed, "refused": list[JsonValue](refused), FAULTS: faults}

    def _copy(self, run: str) -> Outcome:
        for folder in (self.site.work, self.stage.parent):  # copies are as secret as what they are copies of
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            made = self.item.copier.capture(self.stage, run, self.say, shrunk=self.request.shrunk)
        except OSError as error:
            place, reason = str(error.filename or self.stage), error.strerror or str(error)
            raise HomelabError.of(place, f"cannot be copied: {reason}", "Nothing was saved.") from error
        return {"files": len(made.files), "bytes": made.bytes, "root": made.root}

    def _save(self, target: Target, run: str) -> Outcome:
        manifest = load_manifest(self.stage)
        if manifest.run != run:
            raise HomelabError.of(str(self.stage), f"holds the copy of {manifest.run}, not of {run}", "Run it again.")
        identity, repository = target.identity(), self.site.repository(target, self.item.name)
        try:
            there = repository.snapshots()
        except NoRepository:
            self._initialise(target, repository)
            there = []
        strays: list[JsonValue] = list(stray_snapshots(self.site, target, self.item.name, there))
        found = [snapshot for snapshot in there if f"run-{run}" in snapshot.tags]
        if found:  # by a process that died before it could say so
            return {"snapshot": found[-1].id, "added": 0, "strays": strays}
        repository.unlock()  # nobody else works on this item: we hold its lock
        tags = [f"run-{run}", f"item-{self.item.name}", f"key-{identity.key}", f"root-{manifest.root[:16]}"]
        made = repository.backup(self.stage, tags)
        self.say(
            f"saved {made.total_files_processed} files to {target.name}, which grew by {made.data_added_packed} bytes"
        )
        return {"snapshot": made.snapshot_id, "added": made.data_added_packed, "strays": strays}

    def _initialise(self, target: Target, repository: Repository) -> None:
        if records.snapshots_of(target.folder, self.item.name):
            raise HomelabError.of(
                f"target {target.name}",
                f"the repository of {self.item.name} is gone, although snapshots of it are on record",
                "Nothing was written. Look at the disk. To begin anew: move its folder below snapshots/ away.",
            )
        repository.initialise()

    def _compare(self, target: Target, run: str, saved: Outcome) -> Outcome:
        """Write down the snapshot with its verdict: good, with a tag that says so, or suspect with reasons."""
        manifest, repository = load_manifest(self.stage), self.site.repository(target, self.item.name)
        snapshot, entries = _snapshot_of(repository, run, str(saved["snapshot"]))
        before = [
            r for r in records.snapshots_of(target.folder, self.item.name) if r.verdict == "good" and r.run != run
        ]
        reasons = suspicions(self.item, manifest, entries)
        if not self.request.shrunk:
            reasons += shrinkage(manifest, before[-1] if before else None)
        tags = {"remove" if reasons else "add": [records.GOOD_TAG]}
        snapshot = repository.tag(snapshot, **tags)
        text = (self.stage / FILE).read_bytes()
        record = SnapshotRecord(
            run=run,
            item=self.item.name,
            method=self.item.copier.method,
            snapshot=snapshot,
            made=manifest.made,
            ended=datetime.now(UTC),
            files=len(manifest.files),
            bytes=manifest.bytes,
            added=int(str(saved.get("added", 0))),
            rows=rows_of(manifest),
            root=manifest.root,
            manifest=hashlib.sha256(text).hexdigest(),
            key=target.identity().key,
            verdict="suspect" if reasons else "good",
            reasons=tuple(reasons),
            label=self.request.label,
        )
        records.save_record(target, record)
        return {"verdict": record.verdict, "reasons": list(reasons)}

    def _release(self) -> Outcome:
        gone = self.item.copier.release()
        return {"released": list[JsonValue](gone)}

    def _judge(self, done: Outcomes) -> Outcome:
        """Raise HomelabError for each target that could not be written to, and for a snapshot that is suspect."""
        problems = [problem for outcome in done.values() for problem in _problems(outcome)]
        found = {name: outcome for name, outcome in done.items() if outcome.get("verdict") == "suspect"}
        if found:
            reasons = sorted({str(reason) for outcome in found.values() for reason in _list(outcome["reasons"])})
            suspect = Problem(
                f"backup of {self.item.name}",
                f"the snapshot is suspect: {'; '.join(reasons)}",
                "It is kept, counts for nothing, and nothing is pruned. If data went on purpose: "
                f"homelab backup run {self.item.name} --shrunk.",
            )
            problems.append(suspect)
        if problems:
            raise HomelabError(problems)
        return {}

    def _retain(self, target: Target, done: Outcomes) -> Outcome:
        if not _reached(done, target):
            return {}
        name, now = self.item.name, datetime.now(UTC)
        proven = {proof.of for proof in records.proofs_of(target.folder, name) if proof.passed}
        gone = given_up(records.snapshots_of(target.folder, name), self.plan.keep, proven, now)
        repository = self.site.repository(target, name)
        strays = [str(snapshot) for snapshot in _list(done[_saving(target)].get("strays", []))]
        there = {snapshot.id for snapshot in repository.snapshots()} if gone or strays else set()
        repository.forget(there & {*strays, *(record.snapshot for record in gone)})
        for record in gone:
            records.forget_record(target, record)
        leave(self.site, target)
        return {"forgotten": [record.run for record in gone], "strays": list[JsonValue](strays)}

    def _write_record(self, record: ProcedureRecord) -> None:
        for target in self.targets:
            if LOOK in record.outcomes and _reached(record.outcomes, target):
                write_copy(record, target)

    def report(self, record: ProcedureRecord) -> BackupReport:
        """What the finished procedure did."""
        missed = record.outcomes[LOOK].get("missed")
        reasons = {name: str(why) for name, why in missed.items()} if isinstance(missed, dict) else {}
        snapshots = {
            target.name: found
            for target in self.targets
            if target.name not in reasons
            for found in records.snapshots_of(target.folder, self.item.name)
            if found.run == record.run
        }
        ended = record.ended or datetime.now(UTC)
        return BackupReport(record.run, self.item.name, snapshots, reasons, (ended - record.began).total_seconds())


def stray_snapshots(site: Protection, target: Target, item: str, there: Sequence[Snapshot]) -> list[str]:
    """Ids of snapshots among `there` that runs of this site left without a record: second ones of the same run, and
    those of runs that ended before they judged one. Whatever another site or a person made there is none of them.
    """
    recorded = {record.run: record.snapshot for record in records.snapshots_of(target.folder, item)}
    host, ids, found = site.repository(target, item).host, {snapshot.id for snapshot in there}, []
    for snapshot in there:
        runs = [tag.removeprefix("run-") for tag in snapshot.tags if tag.startswith("run-")]
        ours = snapshot.hostname == host and f"item-{item}" in snapshot.tags and len(runs) == 1
        if not ours or snapshot.id in recorded.values():
            continue
        second = recorded.get(runs[0]) in ids
        if second or (records.GOOD_TAG not in snapshot.tags and site.journal.has_ended(runs[0])):
            found.append(snapshot.id)
    return found


def _snapshot_of(repository: Repository, run: str, saved: str) -> tuple[str, list[Entry]]:
    """The snapshot that a run made, and what it holds. It is not `saved` if a process marked it and then died."""
    try:
        return saved, repository.entries(saved)
    except ResticError:
        renamed = [snapshot.id for snapshot in repository.snapshots([f"run-{run}"]) if snapshot.id != saved]
        if not renamed:
            raise
        return renamed[-1], repository.entries(renamed[-1])


def suspicions(item: Item, manifest: Manifest, entries: Sequence[Entry]) -> list[str]:
    """Why a snapshot with these entries cannot be trusted. They are the repository's, not those of restic's summary."""
    sizes = {entry.path.lstrip("/"): entry.size for entry in entries if entry.type == "file"}
    found = [f"{path} is not in the snapshot" for path in item.copier.must_have if path not in sizes]
    wrong = [entry.path for entry in manifest.files if sizes.get(entry.path) != entry.size]
    if wrong:
        found.append(f"{len(wrong)} files of the manifest are missing or have another size, such as {wrong[0]}")
    if not manifest.files and not item.copier.may_be_empty:
        found.append("it is empty")
    return found


def shrinkage(manifest: Manifest, before: SnapshotRecord | None) -> list[str]:
    """In what a copy is less than half of the last good one."""
    if before is None:
        return []
    rows = rows_of(manifest)
    counts = {
        "files": (len(manifest.files), before.files),
        "bytes": (manifest.bytes, before.bytes),
        "rows": (rows if rows is not None else 0, before.rows or 0),
    }
    return [f"{now} {word}, {last} in the backup before" for word, (now, last) in counts.items() if now < last * HALF]


def rows_of(manifest: Manifest) -> int | None:
    """Rows that a copy holds in its tables; None for one without tables."""
    tables = [*manifest.tables.values(), *(table.rows for table in manifest.lake.values())]
    return sum(rows.count for rows in tables) if tables else None


def _require_room(target: Target, item: str) -> None:
    made = records.snapshots_of(target.folder, item)
    need = max(LEAST_ROOM, *(record.added for record in made[-3:]), 0)
    room = target.room()
    if room is not None and room < need:
        raise HomelabError.of(
            f"target {target.name}",
            f"{room >> 20} MiB are free, {need >> 20} MiB are needed",
            "Nothing was written. Make room there, or keep fewer snapshots.",
        )


def _saving(target: Target) -> str:
    return f"save to {target.name}"


def _comparing(target: Target) -> str:
    return f"compare at {target.name}"


def _reached(done: Outcomes, target: Target) -> bool:
    """Whether a target was there and let us in, and has failed in no step since."""
    left_out = {*_list(done[LOOK].get("missed")), *_list(done[LOOK].get("refused"))}
    failed = any(FAULTS in done.get(step, {}) for step in (_saving(target), _comparing(target)))
    return target.name not in left_out and not failed


def _faults(error: HomelabError) -> list[JsonValue]:
    return [
        {"where": str(problem.where), "what": problem.what, "remedy": problem.remedy, "rule": problem.rule}
        for problem in error.problems
    ]


def _problems(outcome: Outcome) -> list[Problem]:
    found = [fault for fault in _list(outcome.get(FAULTS)) if isinstance(fault, dict)]
    texts = [[str(fault[name]) for name in ("where", "what", "remedy", "rule")] for fault in found]
    return [Problem(where, what, remedy, rule) for where, what, remedy, rule in texts]


def _list(value: JsonValue | None) -> list[JsonValue]:
    return list(value) if isinstance(value, (list, dict)) else []

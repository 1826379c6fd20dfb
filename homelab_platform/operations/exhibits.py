"""What the page of a backup or a drill shows of its last run.

Belongs here: reports as exhibits. Not here: the reports (backup.py, drill.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.records import ProofRecord
from homelab_platform.layers.backups.targets import Target
from homelab_platform.operations.backup import BackupReport
from homelab_platform.operations.site import Protection

SHOWN = 14


def of_backup(site: Protection, report: BackupReport) -> Iterable[Exhibit]:
    """What a backup saved where, and the snapshots before it."""
    targets = [target for target in site.targets if target.name in report.snapshots]
    first = report.snapshots[targets[0].name]
    yield Exhibit("bytes", "number", first.bytes)
    yield Exhibit("files", "number", first.files)
    if first.rows is not None:
        yield Exhibit("rows", "number", first.rows)
    yield Exhibit("bytes added", "number", first.added)
    yield Exhibit("seconds", "number", round(report.seconds, 1))
    yield Exhibit("run", "text", report.run)
    notes = [f"{target.name}: {target.note or target.place}" for target in targets]
    notes += [f"{name} was not reached: {why}" for name, why in report.missed.items()]
    yield Exhibit("targets", "text", "\n".join(notes))
    yield Exhibit("snapshots", "table", _snapshots(targets[0], report.item))


def of_proof(target: Target, proof: ProofRecord) -> Iterable[Exhibit]:
    """What a drill compared, how long it took, and the drills before it."""
    yield Exhibit("proven snapshot", "text", proof.of)
    yield Exhibit("bytes compared", "number", proof.bytes)
    if proof.rows is not None:
        yield Exhibit("rows compared", "number", proof.rows)
    yield Exhibit("seconds", "number", round(proof.duration, 1))
    yield Exhibit("forecast", "text", forecast(proof))
    yield Exhibit("repository bytes", "number", proof.repository)
    yield Exhibit("steps", "table", [{"step": name, "seconds": spent} for name, spent in proof.seconds.items()])
    yield Exhibit("drills", "table", _drills(target, proof.item))


def forecast(proof: ProofRecord) -> str:
    """How long a restore takes on a machine like this one."""
    minutes = proof.duration / 60
    span = f"{proof.duration:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    return f"a restore on new hardware like this takes {span}"


def _snapshots(target: Target, item: str) -> list[dict[str, object]]:
    made = records.snapshots_of(target.folder, item)[-SHOWN:]
    return [
        {"made": f"{r.made:%Y-%m-%d %H:%M}", "bytes": r.bytes, "rows": r.rows, "added": r.added, "verdict": r.verdict}
        for r in reversed(made)
    ]


def _drills(target: Target, item: str) -> list[dict[str, object]]:
    proofs = records.proofs_of(target.folder, item)[-SHOWN:]
    return [
        {"at": f"{p.at:%Y-%m-%d %H:%M}", "of": p.of, "passed": p.passed, "seconds": round(p.duration, 1)}
        for p in reversed(proofs)
    ]

"""What holds state, whether it is saved, and how old its proof is: the list that people look at.

Belongs here: the state of each item at each target, as of a moment. Not here: making it better (backup.py, drill.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.calendar import cron_interval
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.records import ProofRecord, SnapshotRecord
from homelab_platform.layers.backups.targets import Target
from homelab_platform.operations import backup, drill
from homelab_platform.operations.site import Plan, Protection

State = Literal["proven", "unproven", "overdue", "failed", "out-of-reach"]
GRACE = timedelta(hours=2)
"""How much later than its plan says a backup may end, or a drill, before it is overdue."""


@dataclass(frozen=True)
class Row:
    """One item at one target. `snapshot` is when its newest good copy was made, `proof` when a drill last proved one;
    `why` says in a line what is not as it should be.
    """

    item: str
    method: str
    bytes: int | None
    target: str
    snapshot: datetime | None
    proof: datetime | None
    state: State
    why: str = ""

    def to_dict(self) -> dict[str, object]:
        """The row as JSON-ready data; times are ISO 8601 in UTC."""
        return {
            "item": self.item,
            "method": self.method,
            "bytes": self.bytes,
            "target": self.target,
            "snapshot": _iso(self.snapshot),
            "proof": _iso(self.proof),
            "state": self.state,
            "why": self.why,
        }


def coverage(site: Protection, now: datetime | None = None) -> list[Row]:
    """Every item at every target of its plan. Changes nothing; a target that is not there is a row, and no error."""
    moment = now or datetime.now(UTC)
    rows: list[Row] = []
    for item in site.items.values():
        plan = site.plan_of(item.name)
        rows += [_row(site, plan, target, moment) for target in site.targets if plan.goes_to(target)]
        rows += [
            Row(item.name, plan.method, None, name, None, None, "out-of-reach", site.out_of_reach[name])
            for name in plan.targets
            if name in site.out_of_reach
        ]
    return rows


def too_few_copies(site: Protection, rows: Sequence[Row]) -> list[str]:
    """Which items have, as `rows` say, fewer than two good copies besides the one on the site's own disk; a line each
    for none and for one.
    """
    own = {target.name for target in site.targets if target.own}
    none: list[str] = []
    one: list[str] = []
    for item in site.items:
        held = [row.target for row in rows if row.item == item and row.snapshot and row.target not in own]
        if not held:
            none.append(item)
        elif len(held) == 1:
            one.append(f"{item} (at {held[0]})")
    lines = {"No copy away from this disk": none, "One copy away from this disk only": one}
    return [f"{words}: {', '.join(names)}." for words, names in lines.items() if names]


def _row(site: Protection, plan: Plan, target: Target, now: datetime) -> Row:
    try:
        target.identity()
        made = records.snapshots_of(target.folder, plan.item)
        proofs = records.proofs_of(target.folder, plan.item)
    except Unreachable as error:
        return Row(plan.item, plan.method, None, target.name, None, None, "out-of-reach", error.problems[0].what)
    except HomelabError as error:  # another key, another lab's, a host that shows another key, a record cut short
        return Row(plan.item, plan.method, None, target.name, None, None, "failed", error.problems[0].what)
    good = [record for record in made if record.verdict == "good"]
    passed = [proof for proof in proofs if proof.passed]
    newest = good[-1] if good else None
    state, why = judge(plan, made, proofs, now)
    if state != "failed" and (reason := _last_failure(site, plan.item, target, newest, proofs)):
        state, why = "failed", reason
    return Row(
        plan.item,
        plan.method,
        newest.bytes if newest else None,
        target.name,
        newest.made if newest else None,
        passed[-1].at if passed else None,
        state,
        why,
    )


def judge(
    plan: Plan, made: Sequence[SnapshotRecord], proofs: Sequence[ProofRecord], now: datetime
) -> tuple[State, str]:
    """The state of an item by what lies at one target, and why it is so; `made` and `proofs` oldest first."""
    if made and made[-1].verdict == "suspect":
        return "failed", f"the newest snapshot is suspect: {'; '.join(made[-1].reasons)}"
    if proofs and not proofs[-1].passed:
        return "failed", f"the last drill failed: {'; '.join(proofs[-1].findings[:2])}"
    if not made:
        return "unproven", "there is no backup yet"
    late = _late("backup", made[-1].made, plan.schedule, now)
    if not late and not proofs:
        return "unproven", "no drill has restored it yet"
    if not late and plan.drill is not None:
        late = _late("proof", proofs[-1].at, plan.drill, now)
    return ("overdue", late) if late else ("proven", "")


def _late(what: str, newest: datetime, cron: str, now: datetime) -> str:
    """Why the newest of a series is too old for its plan; empty if it is not."""
    age, every = now - newest, cron_interval(cron)
    return (
        f"the newest {what} is {_span(age)} old; the plan asks for one every {_span(every)}"
        if age > every + GRACE
        else ""
    )


def _last_failure(
    site: Protection, item: str, target: Target, newest: SnapshotRecord | None, proofs: Sequence[ProofRecord]
) -> str:
    """Why the last backup or drill failed, if nothing succeeded since; empty where the journal does not answer."""
    try:
        last = site.journal.newest(backup.KIND, item)
        tried = site.journal.newest(drill.KIND, drill.subject_of(item, target.name))
    except HomelabError:
        return ""
    if last is not None and last.state == "failed" and (newest is None or newest.ended < last.began):
        return f"the last backup failed: {last.problem.splitlines()[0]}"
    if tried is not None and tried.state == "failed" and (not proofs or proofs[-1].at < tried.began):
        return f"the last drill failed: {tried.problem.splitlines()[0]}"
    return ""


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.0f} h"


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None

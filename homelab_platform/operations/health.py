"""What needs a person: runs that fail or hang, checks that are red or overdue, assets that wait, silent streams.

Belongs here: the judgement as pure functions of what was read, and reading it once (`Lookout`). The command line and
the page of `lab/<name>` show the same. Not here: how anything is measured or drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY
from homelab_platform.plan.documents import TABLE_CHECKS
from homelab_platform.plan.health import Finding, Health
from homelab_platform.plan.layers import Capabilities, layer_of, name_of
from homelab_platform.plan.reconcile import decide
from homelab_platform.tools.dagster import UNDER_WAY, DagsterStorage, Run, Tick, Verdict

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.plan.state import AppliedState
    from homelab_platform.tools.endpoints import Lakehouse

LOOK_BACK = timedelta(hours=48)
STARTS_WITHIN = timedelta(minutes=10)
"""How long a run may be queued or starting on a machine that is not busy."""
RUNS_WITHIN = timedelta(hours=2)
ALIVE_WITHIN = timedelta(minutes=5)
"""Of a loop of Dagster's daemon, on a machine that is not busy."""
EVERY = {
    **dict.fromkeys((*TABLE_CHECKS, *FOUNDATIONS, "flows_on"), timedelta(minutes=15)),
    **dict.fromkeys(INTEGRITY, timedelta(hours=1)),
}
"""How often each check of a table or flow runs (graph/schedules.py); `answers` of a host is a sensor's."""
MISSED = 4
"""Times in a row that a check may not have run before it is overdue."""
SILENT_INTERVALS, SILENT_LEAST = 5, timedelta(minutes=15)
BY_HAND = "__ASSET_JOB"
LOGS_OF_DAEMON = "See `homelab logs daemon`."


def judge_runs(runs: Iterable[Run], now: datetime, reason: Callable[[str], str], slack: float = 1.0) -> list[Finding]:
    """Jobs whose last run failed, with how often in a row; runs that do not start or do not end.

    `reason` says why a run failed. `slack` is how much longer everything may take here than on an idle machine.
    """
    jobs: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda one: one.created, reverse=True):
        jobs.setdefault(run.job, []).append(run)
    found = [finding for job, of_job in jobs.items() if (finding := _failing(job, of_job, reason))]
    for run in (run for of_job in jobs.values() for run in of_job if run.status in UNDER_WAY):
        began = run.started or run.created
        took = now - began
        name = f"run {run.run_id[:8]} of {_job(run.job)}"
        logs = f"See `homelab logs {run.run_id[:8]}`."
        if run.started is None and took > STARTS_WITHIN * slack:
            words = "waits in the queue" if run.status == "QUEUED" else "has not started"
            found.append(Finding("waits", name, f"{words} for {_span(took)}", logs))
        elif run.started is not None and took > RUNS_WITHIN * slack:
            found.append(Finding("waits", name, f"has been running for {_span(took)}", logs))
    return found


def _failing(job: str, newest_first: list[Run], reason: Callable[[str], str]) -> Finding | None:
    row: list[Run] = []
    for run in newest_first:
        if run.status == "SUCCESS":
            break
        if run.status == "FAILURE":
            row.append(run)
    if not row:
        return None
    first, last = row[-1], row[0]
    times = f"failed {len(row)} times in a row since {first.created:%Y-%m-%d %H:%M} UTC" if len(row) > 1 else (
        f"failed at {last.created:%Y-%m-%d %H:%M} UTC"
    )  # fmt: skip
    why = (reason(last.run_id).strip().splitlines() or ["no reason is recorded"])[0][:300]
    return Finding("error", f"job {_job(job)}", f"{times}: {why}", f"See `homelab logs {last.run_id[:8]}`.")


def _job(name: str) -> str:
    return "assets started by hand" if name.startswith(BY_HAND) else name


def judge_checks(
    verdicts: Iterable[Verdict], now: datetime, assets: Mapping[str, object], up_for: timedelta
) -> tuple[dict[str, int], list[Finding]]:
    """How many checks passed, warned, failed or came to no verdict, and what to say of those that need a look.

    Only checks of `assets` count. A check is overdue if it did not run for MISSED of its intervals while the site was
    `up_for` longer than that. One whose run failed before it came to a verdict did not fail: it is not known.
    """
    counts = dict.fromkeys(("passed", "warned", "failed", "unjudged"), 0)
    found: list[Finding] = []
    unjudged: dict[tuple[str, str], list[str]] = {}
    for one in verdicts:
        if one.asset not in assets and layer_of(one.asset) != "lab":
            continue
        place = f"{one.asset}: {one.check}"
        logs = f"See `homelab logs {one.run_id[:8]}`." if one.run_id else "Its page in the UI has the details."
        every = EVERY.get(one.check)
        if one.passed is None:
            counts["unjudged"] += 1
            if one.run_failed:
                unjudged.setdefault((one.asset, logs), []).append(one.check)
        elif one.passed:
            counts["passed"] += 1
        else:
            warns = one.severity == "warn"
            counts["warned" if warns else "failed"] += 1
            found.append(Finding("waits" if warns else "error", place, one.description or "failed", logs))
        if every is not None and now - one.at > MISSED * every and up_for > MISSED * every:
            what = f"overdue: it last ran {_span(now - one.at)} ago, and should every {_span(every)}"
            found.append(Finding("error", place, what, "`homelab doctor` looks for the cause."))
    for (asset, logs), names in unjudged.items():
        found.append(Finding("error", asset, f"its run failed before a verdict on {', '.join(sorted(names))}", logs))
    return counts, found


def judge_assets(
    desired: Mapping[str, DesiredState], states: Mapping[str, AppliedState], now: datetime, site: Capabilities
) -> tuple[int, int, list[Finding]]:
    """How many assets within reach are as they should be, of how many, and what is said of the others."""
    decision = decide(desired, states, now, frozenset(), site)
    found: list[Finding] = []
    total = 0
    off = {*decision.request, *decision.waiting}
    for key, state in desired.items():
        if not site.can(key, state.kinds):
            continue
        total += 1
        known = states.get(key)
        if known is not None and known.status == "unreachable":
            found.append(Finding("error", key, f"does not answer: {known.reason}", "See `homelab doctor`."))
        elif known is not None and known.status == "failed":
            again = f" Tried {known.failures} times." if known.failures > 1 else ""
            found.append(Finding("error", key, f"{_first(known.reason)}{again}", f"See `homelab logs {key}`."))
        elif key in decision.waiting:
            found.append(Finding("waits", key, decision.waiting[key], "See `homelab plan`."))
    unreachable = sum(f.what.startswith("does not answer") for f in found)
    behind = [key for key in decision.request if states.get(key) is None or states[key].status != "failed"]
    if behind:
        shown = ", ".join(behind[:4]) + (f" and {len(behind) - 4} more" if len(behind) > 4 else "")
        found.append(Finding("waits", "plan", f"changes pending for {shown}", "See `homelab plan`."))
    return total - len(off) - unreachable, total, found


def _first(text: str) -> str:
    return (text.strip().splitlines() or ["failed without an error message"])[0][:300]


def judge_daemon(
    heartbeats: Mapping[str, datetime], ticks: Iterable[Tick], now: datetime, slack: float = 1.0
) -> list[Finding]:
    """Loops of Dagster's daemon that stopped, and sensors and schedules whose last tick failed."""
    found = [
        Finding(
            "error", f"daemon, {name.lower()}", f"was last alive {_span(now - at)} ago", "See `homelab logs daemon`."
        )
        for name, at in sorted(heartbeats.items())
        if now - at > ALIVE_WITHIN * slack
    ]
    for tick in ticks:
        what = f"its last tick failed: {tick.error.splitlines()[-1][:300]}"
        found.append(Finding("error", f"{tick.name}", what, "See `homelab logs code`."))
    return found


def judge_streams(
    lab: ResolvedLab, last: Mapping[str, datetime], flows: Iterable[str], now: datetime
) -> Iterator[Finding]:
    """Streams that went silent: nothing came in for five intervals of their slowest sensor, and 15 minutes.

    `last` is when an object of each stream last came in; `flows` are the streams that the site serves.
    """
    for name in sorted(flows):
        stream = lab.streams.get(name)
        if stream is None:
            continue
        at = last.get(stream.prefix.strip("/").partition("/")[0] or name)
        paces = [sensor.every for sensor in stream.sensors.values() if sensor.every]
        if at is None:
            yield Finding("note", f"stream {name}", "no reading came in during the last 30 days")
        elif paces and now - at > max(SILENT_LEAST, timedelta(seconds=SILENT_INTERVALS * max(paces))):
            what = f"silent: the last object came in {_span(now - at)} ago"
            yield Finding("error", f"stream {name}", what, "Look at its devices; `homelab doctor` looks at the way.")


@dataclass(frozen=True)
class Lookout:
    """Where the health of a lab is read from: Dagster's storage and the lake, on a site of these capabilities."""

    storage: DagsterStorage
    lakehouse: Lakehouse
    lab: ResolvedLab
    site: Capabilities

    def look(
        self, desired: Mapping[str, DesiredState], states: Mapping[str, AppliedState], up_for: timedelta
    ) -> Health:
        """How the lab is now, on a site that runs for `up_for`. Raises HomelabError if the database does not answer."""
        now, slack = datetime.now(UTC), slack_here()
        runs = self.storage.runs(now - LOOK_BACK)
        in_sync, total, assets = judge_assets(desired, states, now, self.site)
        counts, checks = judge_checks(self.storage.verdicts(), now, desired, up_for)
        findings = [
            *judge_runs(runs, now, self.storage.reason, slack),
            *assets,
            *checks,
            *self._streams(desired, now),
            *(self._daemon(now, slack) if up_for > ALIVE_WITHIN else ()),
        ]
        return Health(
            in_sync=in_sync,
            total=total,
            external=len(desired) - total,
            running=sum(run.status in UNDER_WAY and run.status != "QUEUED" for run in runs),
            queued=sum(run.status == "QUEUED" for run in runs),
            **counts,
            findings=tuple(findings),
        )

    def _daemon(self, now: datetime, slack: float) -> list[Finding]:
        return judge_daemon(self.storage.heartbeats(), self.storage.failed_ticks(), now, slack)

    def _streams(self, desired: Mapping[str, DesiredState], now: datetime) -> Iterator[Finding]:
        from homelab_platform.readings.arrivals import last_arrivals

        served = (key for key, state in desired.items() if state.layer == "flow" and self.site.can(key, state.kinds))
        return judge_streams(self.lab, last_arrivals(self.lakehouse), map(name_of, served), now)


def slack_here() -> float:
    """How much longer everything may take here now than on an idle machine: the load by the CPUs, 1 at least."""
    import psutil

    return max(1.0, max(psutil.getloadavg()) / (psutil.cpu_count() or 1))


def _span(value: timedelta) -> str:
    """A time for people: `4 min`, `3 h`, `2 days`."""
    seconds = value.total_seconds()
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

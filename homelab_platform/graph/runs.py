"""Which runs are under way, and which only look so.

Belongs here: reading Dagster's run storage for the sensors and for `homelab apply`. A run whose process was killed
stays "started" in Dagster for ever, as the default launcher cannot ask after it; each run therefore leaves the identity
of its process in a tag, and whoever looks reports the dead ones as failed.
"""

import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from homelab_platform.graph.tags import PROCESS_TAG, purpose_of

UNDER_WAY = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
PATIENCE = timedelta(minutes=5)
"""How long a run on an idle machine may be about to start before it counts as dead; longer on a busy one."""


def process_identity() -> str:
    """Host, process id and start time of this process: no later process has the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def process_alive(identity: str) -> bool | None:
    """Whether that process still runs; None if it is on another machine, or if the identity cannot be read."""
    host, _, rest = identity.partition(":")
    pid, _, started = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return None
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False


def patience(load: float, cpus: int) -> timedelta:
    """How long a run may be about to start on a machine of this load (processes that want a CPU): a worker that has a
    tenth of a CPU starts ten times later, and is not dead.
    """
    return PATIENCE * max(1.0, load / max(1, cpus))


def mark_process(instance: DagsterInstance, run: dg.DagsterRun) -> None:
    """Leave the identity of this process on its run; called by each step, written once."""
    identity = process_identity()
    if run.tags.get(PROCESS_TAG) != identity:
        instance.add_run_tags(run.run_id, {PROCESS_TAG: identity})


def is_dead(record: RunRecord, now: datetime) -> bool:
    """Whether a run that Dagster believes to be under way cannot be."""
    run = record.dagster_run
    if run.status == DagsterRunStatus.QUEUED:
        return False
    alive = process_alive(run.tags[PROCESS_TAG]) if PROCESS_TAG in run.tags else None
    if alive is not None:
        return not alive
    return now - _aware(record.update_timestamp) > _patience_here() and PROCESS_TAG not in run.tags


def _patience_here() -> timedelta:
    return patience(max(psutil.getloadavg()), psutil.cpu_count() or 1)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def runs_under_way(instance: DagsterInstance, *, jobs: Iterable[str] | None = None) -> list[dg.DagsterRun]:
    """The runs that are queued or at work, of these jobs (all if None); dead ones are reported as failed."""
    now = datetime.now(UTC)
    wanted = None if jobs is None else set(jobs)
    alive: list[dg.DagsterRun] = []
    for record in instance.get_run_records(RunsFilter(statuses=UNDER_WAY)):
        run = record.dagster_run
        if is_dead(record, now):
            instance.report_run_failed(run, "The process of this run is gone; what it left undone is asked for again.")
        elif wanted is None or purpose_of(run) in wanted:
            alive.append(run)
    return alive


def assets_under_way(instance: DagsterInstance, everything: Iterable[str]) -> set[str]:
    """The assets that runs are applying now, as `layer/name`; runs that only ingest or compute do not count.

    `everything` is what a run without a selection of its own applies.
    """
    keys: set[str] = set()
    for run in runs_under_way(instance, jobs=("apply",)):
        chosen = run.asset_selection
        keys |= set(everything) if chosen is None else {"/".join(key.path) for key in chosen}
    return keys

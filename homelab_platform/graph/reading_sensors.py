"""The sensors of readings: new objects are ingested within seconds, marts follow the dates that changed.

Belongs here: looking, asking cursors.py what follows, requesting it. The daemon looks at sensors every five seconds;
the one on new objects therefore keeps looking within its tick, so that an object waits about half a second.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from homelab_platform.errors import HomelabError
from homelab_platform.graph.cursors import InboxCursor, ask, dates_text, load_cursor, recent_from, sweep_due, swept
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.graph.runs import runs_under_way
from homelab_platform.graph.tags import PURPOSE_TAG, REQUEST_TAG, UP_TO_TAG
from homelab_platform.operations.adapters.base import ReadingsWorld, with_readings
from homelab_platform.plan.reconcile import back_off

LOOK_EVERY = 0.5
"""Seconds between two looks within a tick."""
TICK_TAKES = 4.3
"""Seconds that a tick keeps looking: it ends before the daemon's next round."""
MARTS_EVERY = 120
"""Seconds between looks for dates that changed: marts are for reading, and a Pi has other work."""


def reading_sensors(jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """The sensors for those of `jobs` that there are."""
    found = []
    if "ingest" in jobs:
        found.append(_new_objects(jobs["ingest"]))
    if "marts" in jobs:
        found.append(_changed_dates(jobs["marts"]))
    return found


def _new_objects(job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_objects",
        job=job,
        minimum_interval_seconds=2,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SITE},
        description="Looks for objects that no ingest has taken yet, and asks for one run that takes them all.",
    )
    def new_objects(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = load_cursor(context.cursor)
        site: SiteResource = getattr(context.resources, SITE)
        try:
            wanted, count, cursor = look(with_readings(site.world), cursor, TICK_TAKES)
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=cursor.dump())
        if not wanted:
            reason = f"{count:,} objects are pending and were asked for" if count else "No new object."
            return dg.SensorResult(skip_reason=reason, cursor=cursor.dump())
        if is_queued(context.instance, "ingest"):
            return dg.SensorResult(skip_reason="An ingest is queued already.", cursor=cursor.dump())
        request = dg.RunRequest(tags={PURPOSE_TAG: "ingest"})
        return dg.SensorResult(run_requests=[request], cursor=cursor.dump())

    return new_objects


def look(world: ReadingsWorld, cursor: InboxCursor, seconds: float) -> tuple[bool, int, InboxCursor]:
    """Look for pending objects until there is something to ask for or the time is over.

    Returns whether to ask, how many objects are pending, and the cursor after that.
    """
    deadline = time.monotonic() + seconds
    with world.inbox() as inbox:
        while True:
            now = datetime.now(UTC)
            if sweep_due(cursor, now):
                pending, took = inbox.everything()
                cursor = swept(cursor, now, took)
            else:
                pending = inbox.recent(partial(recent_from, now=now))
            wanted, cursor = ask(cursor, pending, now)
            if wanted or time.monotonic() + LOOK_EVERY > deadline:
                return wanted, len(pending), cursor
            time.sleep(LOOK_EVERY)


def is_queued(instance: DagsterInstance, purpose: str) -> bool:
    """Whether a run of this purpose waits for its start; one that is at work may miss what came since."""
    waiting = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)
    return any(run.status in waiting for run in runs_under_way(instance, purposes=(purpose,)))


def _changed_dates(job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name="changed_dates",
        job=job,
        minimum_interval_seconds=MARTS_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SITE},
        description="Computes the marts of the days whose readings changed since the last time that succeeded.",
    )
    def changed_dates(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        site: SiteResource = getattr(context.resources, SITE)
        if runs_under_way(context.instance, purposes=("refresh",)):
            return dg.SensorResult(skip_reason="Marts are being computed.")
        done, failures, last = progress_of_marts(context.instance)
        try:
            dates, newest = with_readings(site.world).changed_dates(done)
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        if not dates:
            return dg.SensorResult(skip_reason="No day changed since the marts were computed.")
        if failures and last is not None and datetime.now(UTC) < last + back_off("marts", failures):
            return dg.SensorResult(skip_reason=f"Failed {failures} times in a row; waiting.")
        tags = {PURPOSE_TAG: "refresh", f"{REQUEST_TAG}dates": dates_text(dates), UP_TO_TAG: str(newest)}
        return dg.SensorResult(run_requests=[dg.RunRequest(tags=tags)])

    return changed_dates


def progress_of_marts(instance: DagsterInstance) -> tuple[int, int, datetime | None]:
    """The commit number up to which marts were computed, how often in a row that failed since, and when last.

    Read from the runs themselves: a run that failed or was lost leaves its days changed, and the next one takes them.
    """
    failures, last = 0, None
    filters = RunsFilter(job_name="marts", tags={PURPOSE_TAG: "refresh"})
    for record in instance.get_run_records(filters, limit=50):
        run = record.dagster_run
        if run.status == DagsterRunStatus.SUCCESS and run.tags.get(UP_TO_TAG, "").isdigit():
            return int(run.tags[UP_TO_TAG]), failures, last
        if run.status == DagsterRunStatus.FAILURE:
            failures += 1
            last = last or record.update_timestamp
    return 0, failures, last if last is None or last.tzinfo else last.replace(tzinfo=UTC)

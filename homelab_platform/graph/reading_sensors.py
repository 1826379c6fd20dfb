"""The sensors of readings: new objects are ingested within seconds, marts follow the dates that changed.

Belongs here: looking, asking cursors.py what follows, doing or requesting it. The daemon comes by every five seconds;
the sensor on new objects therefore keeps looking within its tick, so that an object waits about a second, and
takes in small arrivals itself: the ingest is exactly-once whoever runs it, and a run of its own costs three seconds of
CPU before its first row, every minute, on a Pi.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from homelab_platform.apply.adapter import ReadingsWorld, with_readings
from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.cursors import InboxCursor, ask, dates_text, load_cursor, recent_from, sweep_due, swept
from homelab_platform.graph.marts import nominal_for, remember_first_day
from homelab_platform.graph.metadata import exhibit_metadata
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.graph.runs import runs_under_way
from homelab_platform.graph.tags import PURPOSE_TAG, REQUEST_TAG, UP_TO_TAG
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.reconcile import back_off

LOOK_EVERY = 1.0
"""Seconds between two looks within a tick."""
TICK_TAKES = 4.3
"""Seconds that a tick keeps looking: it ends before the daemon's next round."""
MOST_IN_TICK = 200
BYTES_IN_TICK = 8 << 20
"""Up to so many objects and bytes a tick takes in itself: a second or two of work."""
READINGS_TABLE = "table/sensor_data"
MARTS_EVERY = 180
"""Seconds between looks for dates that changed: marts are for reading, and a Pi has other work."""


@dataclass(frozen=True)
class Found:
    """What the looks of a tick came to: whether to act, the pending objects and their bytes, the cursor after that."""

    act: bool
    keys: tuple[str, ...]
    size: int
    cursor: InboxCursor

    @property
    def small(self) -> bool:
        """Whether the tick itself takes them in. What was tried in vain goes to a run, where the failure shows."""
        return len(self.keys) <= MOST_IN_TICK and self.size <= BYTES_IN_TICK and self.cursor.tries == 1


def reading_sensors(
    jobs: Mapping[str, Any], here: Mapping[str, DesiredState], lab: ResolvedLab
) -> list[dg.SensorDefinition]:
    """The sensors for those of `jobs` that there are, on a site that reaches the assets `here` of the lab."""
    found = []
    if "ingest" in jobs and READINGS_TABLE in here:
        found.append(_new_objects(jobs["ingest"], here[READINGS_TABLE]))
    if "marts" in jobs:
        found.append(_changed_dates(jobs["marts"], lab, tuple(here)))
    return found


def _new_objects(job: Any, table: DesiredState) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_objects",
        job=job,
        minimum_interval_seconds=2,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SITE},
        description="Takes in new objects within a second; many at once, or what failed, goes to a run of its own.",
    )
    def new_objects(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        site: SiteResource = getattr(context.resources, SITE)
        cursor = load_cursor(context.cursor)
        try:
            world = with_readings(site.world)
            found = look(world, cursor, TICK_TAKES)
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=cursor.dump())
        if found.act and found.small:
            try:
                return _taken_in(world, table, found)
            except HomelabError as error:
                context.log.warning("not taken in by the tick, so a run tries it: %s", error)
        return _handed_on(context.instance, found)

    return new_objects


def _taken_in(world: ReadingsWorld, table: DesiredState, found: Found) -> dg.SensorResult:
    """Ingest in this tick: this process is warm, a run of its own would cost seconds of CPU for a few rows.

    It is logged as an observation: a materialization would have the UI call every check of the table "not evaluated"
    from one arrival to the next, red ones too.
    """
    metadata = exhibit_metadata(world.take_in(found.keys))
    event = dg.AssetObservation(
        asset_key(table.key), metadata=metadata, tags={"dagster/data_version": table.fingerprint}
    )
    return dg.SensorResult(
        skip_reason=f"{len(found.keys):,} objects taken in.", asset_events=[event], cursor=found.cursor.dump()
    )


def _handed_on(instance: DagsterInstance, found: Found) -> dg.SensorResult:
    cursor = found.cursor.dump()
    if not found.act:
        count = len(found.keys)
        reason = f"{count:,} objects are pending and were asked for." if count else "No new object."
        return dg.SensorResult(skip_reason=reason, cursor=cursor)
    if is_queued(instance, "ingest"):
        return dg.SensorResult(skip_reason="An ingest is queued already.", cursor=cursor)
    return dg.SensorResult(run_requests=[dg.RunRequest(tags={PURPOSE_TAG: "ingest"})], cursor=cursor)


def look(world: ReadingsWorld, cursor: InboxCursor, seconds: float) -> Found:
    """Look for pending objects until there is something to do or the time is over."""
    deadline = time.monotonic() + seconds
    with world.inbox() as inbox:
        while True:
            now = datetime.now(UTC)
            if sweep_due(cursor, now):
                pending, took = inbox.everything()
                cursor = swept(cursor, now, took)
            else:
                pending = inbox.recent(partial(recent_from, now=now))
            act, cursor = ask(cursor, pending, now)
            if act or time.monotonic() + LOOK_EVERY > deadline:
                return Found(act, tuple(pending), inbox.bytes_of(pending), cursor)
            time.sleep(LOOK_EVERY)


def is_queued(instance: DagsterInstance, purpose: str) -> bool:
    """Whether a run of this purpose waits for its start; one that is at work may miss what came since."""
    waiting = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)
    return any(run.status in waiting for run in runs_under_way(instance, purposes=(purpose,)))


def _changed_dates(job: Any, lab: ResolvedLab, here: tuple[str, ...]) -> dg.SensorDefinition:
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
            world = with_readings(site.world)
            dates, newest = world.changed_dates(done)
            begins = world.first_day()
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        if begins is not None and remember_first_day(lab.name, begins):
            site.reload()  # the partitions of marts begin with another day now
        if not dates:
            return dg.SensorResult(skip_reason="No day changed since the marts were computed.")
        if failures and last is not None and datetime.now(UTC) < last + back_off("marts", failures):
            return dg.SensorResult(skip_reason=f"Failed {failures} times in a row; waiting.")
        tags = {PURPOSE_TAG: "refresh", f"{REQUEST_TAG}dates": dates_text(dates), UP_TO_TAG: str(newest)}
        tags |= nominal_for(lab, here, tags[f"{REQUEST_TAG}dates"].split(","))
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

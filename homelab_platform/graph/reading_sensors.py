"""The sensors of readings: new objects are ingested within seconds, marts follow the dates that changed.

Belongs here: looking, asking cursors.py what follows, doing or requesting it. The daemon comes by every five seconds;
the sensor on new objects therefore keeps looking within its tick, so that an object waits about a second, and
takes in small arrivals itself: the ingest is exactly-once whoever runs it, and a run of its own costs three seconds of
CPU before its first row, every minute, on a Pi.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY
from homelab_platform.apply.readings_world import ReadingsWorld, with_readings
from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.checks import check_keys
from homelab_platform.graph.cursors import InboxCursor, ask, days_to_name, load_cursor, recent_from, sweep_due, swept
from homelab_platform.graph.marts import remember_first_day
from homelab_platform.graph.metadata import exhibit_metadata
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import runs_under_way
from homelab_platform.graph.work import DAILY, Work, asked_of, up_to_of
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.documents import TABLE_CHECKS
from homelab_platform.plan.layers import layer_of
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
    jobs: Mapping[str, object], here: Mapping[str, DesiredState], lab: ResolvedLab, steps: Mapping[str, str]
) -> list[dg.SensorDefinition]:
    """The sensors for those of `jobs` that there are, on a site that reaches the assets `here` of the lab; `steps`
    names the step of each.
    """
    found = []
    if "ingest" in jobs and READINGS_TABLE in here:
        table = here[READINGS_TABLE]
        checks = check_keys({table.key: table}, *TABLE_CHECKS, *INTEGRITY, *FOUNDATIONS)
        tables = [steps[key] for key in here if layer_of(key) == "table"]
        found.append(_new_objects(jobs["ingest"], table, checks, _ingest(tables)))
    if "marts" in jobs:
        marts = [steps[key] for key in here if layer_of(key) == "mart"]
        found.append(_changed_dates(jobs["marts"], lab, marts))
    return found


def _ingest(steps: Iterable[str]) -> dg.RunRequest:
    return dg.RunRequest(run_config=asked_of(steps, DAILY))


def _new_objects(
    job: Any, table: DesiredState, checks: Sequence[dg.AssetCheckKey], ingest: dg.RunRequest
) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_objects",
        job=job,
        minimum_interval_seconds=2,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in new objects within a second; many at once, or what failed, goes to a run of its own.",
    )
    def new_objects(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        cursor = load_cursor(context.cursor)
        try:
            world = with_readings(site.world)
            found = look(world, cursor, TICK_TAKES)
            took = found.act and found.small and _take_in(context, world, found.keys)
            reported, events = news_of(world, context.instance, table, checks, found.cursor.reported)
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=cursor.dump())
        after = replace(found, cursor=replace(found.cursor, reported=reported))
        if took:
            reason = f"{len(found.keys):,} objects taken in."
            return dg.SensorResult(skip_reason=reason, asset_events=events, cursor=after.cursor.dump())
        return _handed_on(context.instance, after, ingest, events)

    return new_objects


def _take_in(context: dg.SensorEvaluationContext, world: ReadingsWorld, keys: Sequence[str]) -> bool:
    """Ingest in this tick: this process is warm, a run of its own would cost seconds of CPU for a few rows."""
    try:
        world.take_in(keys)
    except HomelabError as error:
        context.log.warning("not taken in by the tick, so a run tries it: %s", error)
        return False
    return True


def news_of(
    world: ReadingsWorld,
    instance: DagsterInstance,
    table: DesiredState,
    checks: Sequence[dg.AssetCheckKey],
    reported: int,
) -> tuple[int, list[dg.AssetMaterialization | dg.AssetCheckEvaluation]]:
    """What the table took in after the commit `reported`, as its materialization, whoever ingested it: a tick, a run,
    `homelab ingest`. Returns the number of the last commit, too.

    To the UI a check is "not evaluated" when its asset was materialized after it, unless both belong to the same run.
    What ticks report belongs to no run. So the last verdicts are reported once more without their run: from then on
    they stay what they are, red ones too, until the checks run again.
    """
    newest, exhibits = world.arrivals(reported)
    if not exhibits:
        return newest, []
    event = dg.AssetMaterialization(
        asset_key(table.key),
        metadata=exhibit_metadata(exhibits),
        tags={"dagster/data_version": table.fingerprint, "dagster/code_version": table.fingerprint},
    )
    return newest, [event, *_verdicts_of_runs(instance, checks)]


def _verdicts_of_runs(instance: DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> list[dg.AssetCheckEvaluation]:
    """The last verdict of each check that a run made, without its run; none of a check that never came to a verdict."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    found = []
    for record in records.values():
        verdict = record.evaluation
        if verdict is None or not record.run_id:
            continue
        found.append(
            dg.AssetCheckEvaluation(
                asset_key=verdict.asset_key,
                check_name=verdict.check_name,
                passed=verdict.passed,
                metadata=verdict.metadata,
                severity=verdict.severity,
                description=verdict.description,
            )
        )
    return found


def _handed_on(
    instance: DagsterInstance,
    found: Found,
    ingest: dg.RunRequest,
    events: list[dg.AssetMaterialization | dg.AssetCheckEvaluation],
) -> dg.SensorResult:
    cursor = found.cursor.dump()
    if not found.act:
        count = len(found.keys)
        reason = f"{count:,} objects are pending and were asked for." if count else "No new object."
        return dg.SensorResult(skip_reason=reason, asset_events=events, cursor=cursor)
    if is_queued(instance, "ingest"):
        return dg.SensorResult(skip_reason="An ingest is queued already.", asset_events=events, cursor=cursor)
    return dg.SensorResult(run_requests=[ingest], asset_events=events, cursor=cursor)


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


def is_queued(instance: DagsterInstance, job: str) -> bool:
    """Whether a run of this job waits for its start; one that is at work may miss what came since."""
    waiting = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)
    return any(run.status in waiting for run in runs_under_way(instance, jobs=(job,)))


def _changed_dates(job: Any, lab: ResolvedLab, steps: list[str]) -> dg.SensorDefinition:
    @dg.sensor(
        name="changed_dates",
        job=job,
        minimum_interval_seconds=MARTS_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes the marts of the days whose readings changed since the last time that succeeded.",
    )
    def changed_dates(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        if runs_under_way(context.instance, jobs=("marts",)):
            return dg.SensorResult(skip_reason="Marts are being computed.")
        done, failures, last = progress_of_marts(context.instance)
        try:
            world = with_readings(site.world)
            applying = world.applying()
            if applying:  # it computes marts itself
                return dg.SensorResult(skip_reason=f"Rests while the lab is applied: {applying}.")
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
        work = Work(apply=False, pictures=False, dates=days_to_name(dates), up_to=newest)
        return dg.SensorResult(run_requests=[dg.RunRequest(run_config=asked_of(steps, work))])

    return changed_dates


def progress_of_marts(instance: DagsterInstance) -> tuple[int, int, datetime | None]:
    """The commit number up to which marts were computed, how often in a row that failed since, and when last.

    Read from the runs themselves: a run that failed or was lost leaves its days changed, and the next one takes them.
    """
    failures, last = 0, None
    filters = RunsFilter(job_name="marts")
    for record in instance.get_run_records(filters, limit=50):
        run = record.dagster_run
        covered = up_to_of(run)
        if run.status == DagsterRunStatus.SUCCESS and covered is not None:
            return covered, failures, last
        if run.status == DagsterRunStatus.FAILURE:
            failures += 1
            last = last or record.update_timestamp
    return 0, failures, last if last is None or last.tzinfo else last.replace(tzinfo=UTC)

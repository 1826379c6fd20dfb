"""Keeping Dagster's own storage small: its event log otherwise grows for ever.

Belongs here: which runs may go, and deleting them with their events and compute logs. The newest run of each asset
stays, whatever its age, so that no asset's page loses what it last looked like.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable

from homelab_platform.graph.tags import purpose_of

KEEP: Mapping[str, timedelta] = {
    "apply": timedelta(days=180),
    "ingest": timedelta(days=2),
    "marts": timedelta(days=2),
    "quality": timedelta(days=7),
    "integrity": timedelta(days=7),
    "audit": timedelta(days=60),
    "maintenance": timedelta(days=14),
    "sweep": timedelta(days=14),
    "prune": timedelta(days=14),
    "observe": timedelta(days=1),
}
"""How long a successful run of each job is kept; others as long as `apply`."""
KEEP_RUNLESS = timedelta(days=3)
KEEP_FAILED = timedelta(days=30)
FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
MOST_AT_ONCE = 5000


def may_go(job: str, succeeded: bool, age: timedelta) -> bool:
    """Whether a finished run of this job and age may be deleted."""
    keep = KEEP.get(job, KEEP["apply"])
    return age > (keep if succeeded else max(keep, KEEP_FAILED))


def prune(instance: DagsterInstance, now: datetime) -> dict[str, int]:
    """Delete the runs that may go, at most 5,000; returns how many were looked at and how many deleted."""
    newest = {record.asset_entry.last_run_id for record in instance.get_asset_records()}
    looked = deleted = 0
    shortest = min(KEEP.values())
    old = RunsFilter(statuses=FINISHED, created_before=now - shortest)
    for record in instance.get_run_records(old, limit=MOST_AT_ONCE, ascending=True):
        looked += 1
        run = record.dagster_run
        if run.run_id in newest or not _old_enough(record, now):
            continue
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
        deleted += 1
    return {"looked at": looked, "deleted": deleted, "events without a run": prune_runless(instance, now)}


def prune_runless(instance: DagsterInstance, now: datetime) -> int:
    """Delete old events that belong to no run (what ticks and the command line reported); returns how many.

    Dagster deletes events by their run only. What an asset's page shows as its latest lies in a table of its own and
    stays.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    oldest = (now - KEEP_RUNLESS).astimezone(UTC).replace(tzinfo=None)
    events = SqlEventLogStorageTable
    old = events.delete().where(events.c.run_id == RUNLESS_RUN_ID).where(events.c.timestamp < oldest)
    with storage.index_connection() as connection:
        return int(connection.execute(old).rowcount)


def _old_enough(record: RunRecord, now: datetime) -> bool:
    run = record.dagster_run
    succeeded = run.status == DagsterRunStatus.SUCCESS
    return may_go(purpose_of(run), succeeded, now - record.create_timestamp)

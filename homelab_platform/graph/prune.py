"""Keeping Dagster's own storage small: its event log otherwise grows for ever.

Belongs here: which runs may go, and deleting them with their events and compute logs. The newest run of each asset
stays, whatever its age, so that no asset's page loses what it last looked like.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from homelab_platform.graph.tags import PURPOSE_TAG

KEEP: Mapping[str, timedelta] = {
    "apply": timedelta(days=180),
    "ingest": timedelta(days=2),
    "refresh": timedelta(days=2),
    "quality": timedelta(days=7),
    "maintenance": timedelta(days=14),
    "observe": timedelta(days=1),
}
"""How long a successful run of each purpose is kept; others as long as `apply`."""
KEEP_FAILED = timedelta(days=30)
FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
MOST_AT_ONCE = 5000


def may_go(purpose: str, succeeded: bool, age: timedelta) -> bool:
    """Whether a finished run of this purpose and age may be deleted."""
    keep = KEEP.get(purpose, KEEP["apply"])
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
    return {"looked at": looked, "deleted": deleted}


def _old_enough(record: RunRecord, now: datetime) -> bool:
    run = record.dagster_run
    succeeded = run.status == DagsterRunStatus.SUCCESS
    return may_go(run.tags.get(PURPOSE_TAG, "apply"), succeeded, now - record.create_timestamp)

"""The schedules: upkeep by the clock, in the lab's own time zone.

Belongs here: when each job of upkeep runs. Whatever must not be missed is level-triggered and has a sensor instead.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

CRONS = {
    "observe": "*/10 * * * *",
    "quality": "*/15 * * * *",
    "integrity": "52 * * * *",
    "maintenance": "17 * * * *",
    "sweep": "40 3 * * *",
    "audit": "25 4 * * 0",
    "prune": "10 4 * * *",
}
"""The job's name and its cron; minutes are apart so that a Pi never starts two at once."""


def build_schedules(timezone: str, jobs: Mapping[str, Any]) -> list[dg.ScheduleDefinition]:
    """A running schedule for each of `jobs` that has a cron, with the job's own configuration."""
    return [
        dg.ScheduleDefinition(
            name=f"{name}_by_the_clock",
            job=jobs[name],
            cron_schedule=cron,
            run_config=getattr(jobs[name], "config", None),
            execution_timezone=timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for name, cron in CRONS.items()
        if name in jobs
    ]

"""What a run is asked to do, as typed configuration that the launchpad shows.

Belongs here: the config of assets and checks, and giving the same one to several of them. Not here: what a run is
labelled with (tags.py). A run without any configuration is what a person gets who presses "Materialize".
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg
from pydantic import Field

from homelab_platform.apply.adapter import ALL_DATES


class Work(dg.Config):
    """What to do with one asset."""

    apply: bool = Field(
        default=True, description="Bring the asset to its desired state first. False: only its daily work."
    )
    dates: list[str] = Field(
        default=[],
        description="Days (yyyy-mm-dd) for which marts are computed. Empty: the run's partitions, else whatever "
        "applying them needs, or with apply: false every day.",
    )
    up_to: int = Field(default=0, description="Number of the last ingest whose days `dates` covers; 0 for none.")
    pictures: bool = Field(default=True, description="Draw the last day of each sensor on the table's page.")

    def request(self, days: list[str], *, partitioned: bool) -> dict[str, str]:
        """The same as adapters take it; `days` are those of the run's partitions, for an asset that has some."""
        asked: dict[str, str] = {}
        if not partitioned:
            return {"dates": ALL_DATES} if self.pictures else asked
        if self.dates:
            asked["dates"] = ",".join(self.dates)
        elif days:
            asked |= {"dates": ",".join(days), "exactly": "yes"}
        elif not self.apply:
            asked["dates"] = ALL_DATES
        return asked


class Recount(dg.Config):
    """How much a check of the tables' integrity looks at."""

    everything: bool = Field(default=False, description="Recount all of it, not only what changed since the last look.")


QUIETLY = Work(pictures=False)
"""Applying by a sensor or a command: nobody looks at the page meanwhile."""
DAILY = Work(apply=False, pictures=False)
"""Daily work alone: ingest what is pending, compute every day."""


def asked_of(steps: Iterable[str], config: dg.Config) -> dict[str, Any]:
    """The configuration of a run that asks the same of each step."""
    return {"ops": {step: {"config": config.model_dump()} for step in steps}}


def _configs(run: dg.DagsterRun) -> list[dict[str, Any]]:
    steps: Any = run.run_config.get("ops") or {}
    return [step.get("config") or {} for step in steps.values()]


def up_to_of(run: dg.DagsterRun) -> int | None:
    """The `up_to` that a run was given; None if it was given none."""
    return max((int(config.get("up_to", 0)) for config in _configs(run)), default=0) or None


def days_of_run(run: dg.DagsterRun) -> set[str]:
    """The days that a run's configuration names."""
    return {str(day) for config in _configs(run) for day in config.get("dates") or ()}

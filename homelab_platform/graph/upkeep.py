"""Upkeep as jobs of operations: looking at every asset, tending tables, pruning Dagster's own storage.

Belongs here: the operations and what they log. Not here: when they run (schedules.py).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import exhibit_metadata
from homelab_platform.graph.prune import prune
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.graph.tags import PURPOSE_TAG
from homelab_platform.operations.adapters.base import Exhibit, observe_one
from homelab_platform.plan.desired import DesiredState


def upkeep_jobs(here: Mapping[str, DesiredState]) -> dict[str, dg.JobDefinition]:
    """The jobs made of operations, by name: `observe`, `maintenance`, `sweep`, `prune`."""
    return {
        "observe": _observe_job(here),
        "maintenance": _tend_job("maintenance", ("compact",), here, "Rewrite small files of tables."),
        "sweep": _tend_job("sweep", ("expire", "clean"), here, "Drop old snapshots, and files that nobody knows."),
        "prune": _prune_job(),
    }


def _observe_job(here: Mapping[str, DesiredState]) -> dg.JobDefinition:
    @dg.op(name="look_at_everything", required_resource_keys={SITE}, description="Look at every asset within reach.")
    def observe(context: dg.OpExecutionContext) -> None:
        mark_process(context.instance, context.run)
        look(context, here.values())

    @dg.job(name="observe", tags={PURPOSE_TAG: "observe"}, description="Look at every asset within reach.")
    def job() -> None:
        observe()

    return job


def look(context: dg.OpExecutionContext, states: Iterable[DesiredState]) -> None:
    """Observe assets; those that are not as they were applied get an observation on their page.

    Raises dagster.Failure if the site cannot be looked at.
    """
    site: SiteResource = getattr(context.resources, SITE)
    try:
        known = site.world.store.load()
        for state in states:
            status, found = observe_one(site.world, state, known.get(state.key))
            context.log.info("%s: %s", state.key, status)
            if status != "ok":
                facts = {"status": status, "differences": "\n".join(found.differences) or "–"}
                context.log_event(dg.AssetObservation(asset_key(state.key), metadata=facts))
    except HomelabError as error:
        raise failure(error) from None


def _tend_job(name: str, tasks: tuple[str, ...], here: Mapping[str, DesiredState], text: str) -> dg.JobDefinition:
    @dg.op(name=f"{name}_of_tables", required_resource_keys={SITE}, description=text)
    def tend(context: dg.OpExecutionContext) -> dg.Output[None]:
        mark_process(context.instance, context.run)
        site: SiteResource = getattr(context.resources, SITE)
        exhibits: list[Exhibit] = []
        try:
            for task in tasks:
                exhibits += site.world.upkeep(task, here, context.log.info)
        except HomelabError as error:
            raise failure(error) from None
        return dg.Output(None, metadata=exhibit_metadata(exhibits))

    @dg.job(name=name, tags={PURPOSE_TAG: "maintenance"}, description=text)
    def job() -> None:
        tend()

    return job


def _prune_job() -> dg.JobDefinition:
    text = "Delete old runs with their events and logs, so that Dagster's storage stays small."

    @dg.op(name="prune_runs", description=text)
    def prune_runs(context: dg.OpExecutionContext) -> dg.Output[None]:
        mark_process(context.instance, context.run)
        deleted: dict[str, Any] = dict(prune(context.instance, datetime.now(UTC)))
        return dg.Output(None, metadata=deleted)

    @dg.job(name="prune", tags={PURPOSE_TAG: "maintenance"}, description=text)
    def job() -> None:
        prune_runs()

    return job

"""Upkeep as jobs of operations: looking at every asset, tending tables, pruning Dagster's own storage.

Belongs here: the operations and what they log. Not here: when they run (schedules.py).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from homelab_platform.apply.adapter import observe_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import exhibit_metadata
from homelab_platform.graph.prune import prune
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of


def upkeep_jobs(here: Mapping[str, DesiredState]) -> dict[str, Any]:
    """The jobs made of operations, by name: `observe`, `maintenance`, `sweep`, `prune`."""
    return {
        "observe": _observe_job(here),
        **(_tend_jobs() if any(layer_of(key) == "table" for key in here) else {}),
        "prune": _prune_job(),
    }


def _observe_job(here: Mapping[str, DesiredState]) -> dg.JobDefinition:
    @dg.op(name="look_at_everything", description="Look at every asset within reach.")
    def observe(context: dg.OpExecutionContext, site: SiteResource) -> None:
        mark_process(context.instance, context.run)
        look(context, site, here.values())

    @dg.job(name="observe", description="Look at every asset within reach.")
    def job() -> None:
        observe()

    return job


def look(context: dg.OpExecutionContext, site: SiteResource, states: Iterable[DesiredState]) -> None:
    """Observe assets; those that are not as they were applied get an observation on their page.

    Raises dagster.Failure if the site cannot be looked at.
    """
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


MAINTENANCE = {
    "compaction": ("compact", "Small files of a day become at most two; every cell is compared before the commit."),
    "snapshots": (
        "expire",
        "Days beyond retention and old snapshots are given up; their files go when no query can need them.",
    ),
    "orphans": ("clean", "Files that no kept snapshot names are deleted, once nobody can be about to commit them."),
    "statistics": ("analyze", "Numbers of distinct values for the query planner, by Trino where the site has it."),
}
"""The assets of upkeep by name: their task, and what they do."""
JOBS = {"maintenance": ("compaction",), "sweep": ("snapshots", "orphans", "statistics")}


def maintenance_key(name: str) -> dg.AssetKey:
    """The key of an asset of upkeep."""
    return dg.AssetKey(["maintenance", name])


def maintenance_assets(here: Mapping[str, DesiredState]) -> list[dg.AssetsDefinition]:
    """Upkeep of the tables as assets, so that each shows what it saved and how that went over time. They come one after
    the other, after the tables.
    """
    tables = [asset_key(key) for key in here if layer_of(key) == "table"]
    return [_tended(name, task, text, tables, here) for name, (task, text) in MAINTENANCE.items()] if tables else []


def _tended(
    name: str, task: str, text: str, tables: list[dg.AssetKey], here: Mapping[str, DesiredState]
) -> dg.AssetsDefinition:
    spec = dg.AssetSpec(
        maintenance_key(name), deps=tables, description=text, group_name="maintenance", kinds={"iceberg"}
    )

    @dg.multi_asset(name=f"maintenance__{name}", specs=[spec], description=text, pool="heavy")
    def tend(context: dg.AssetExecutionContext, site: SiteResource) -> dg.MaterializeResult[None]:
        mark_process(context.instance, context.run)
        try:
            exhibits = list(site.world.upkeep(task, here, context.log.info))
        except HomelabError as error:
            raise failure(error) from None
        return dg.MaterializeResult(asset_key=maintenance_key(name), metadata=exhibit_metadata(exhibits))

    return tend


def _tend_jobs() -> dict[str, Any]:
    texts = {"maintenance": "Rewrite small files of tables.", "sweep": "Old snapshots, unknown files, statistics."}
    return {
        name: dg.define_asset_job(
            name,
            dg.AssetSelection.assets(*map(maintenance_key, assets)).without_checks(),
            description=texts[name],
        )
        for name, assets in JOBS.items()
    }


def _prune_job() -> dg.JobDefinition:
    text = "Delete old runs with their events and logs, so that Dagster's storage stays small."

    @dg.op(name="prune_runs", description=text)
    def prune_runs(context: dg.OpExecutionContext) -> dg.Output[None]:
        mark_process(context.instance, context.run)
        deleted: dict[str, Any] = dict(prune(context.instance, datetime.now(UTC)))
        return dg.Output(None, metadata=deleted)

    @dg.job(name="prune", description=text)
    def job() -> None:
        prune_runs()

    return job

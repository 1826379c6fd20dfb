"""The jobs: named sets of work that sensors, schedules and people start.

Belongs here: selections and configuration of asset jobs. Not here: jobs made of operations (upkeep.py), or when they
run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.checks import check_keys, flow_check_keys, op_name_of
from homelab_platform.graph.tags import PRIORITY_TAG
from homelab_platform.graph.work import DAILY, Recount, asked_of
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.documents import TABLE_CHECKS
from homelab_platform.plan.layers import layer_of


def _selection(keys: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(asset_key(key) for key in keys)).without_checks()


def _checks(keys: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.checks_for_assets(*(asset_key(key) for key in keys))


def _sound(here: Mapping[str, DesiredState], *more: str) -> dg.AssetSelection:
    """The checks that cost a look at the last days; with `more`, those of these names and the flows' too."""
    flows = flow_check_keys(here) if more else []
    return dg.AssetSelection.checks(*check_keys(here, *TABLE_CHECKS, *more), *flows)


def asset_jobs(here: Mapping[str, DesiredState], steps: Mapping[str, str]) -> Mapping[str, Any]:
    """The asset jobs of a site on which the assets `here` can be run, by name; `steps` names the step of each.

    `apply` brings assets to their desired state; `ingest` takes pending objects into the tables of readings; `marts`
    computes marts; `quality` runs the checks, `integrity` and `audit` those that recount. A job without an asset to
    work on is left out.
    """
    keys = sorted(here)
    tables = [key for key in keys if layer_of(key) == "table"]
    marts = [key for key in keys if layer_of(key) == "mart"]
    found: dict[str, object] = {}
    if keys:
        found["apply"] = dg.define_asset_job(
            "apply",
            _selection(keys) | _sound(here) | _checks(marts),
            description="Bring assets to their desired state.",
        )
    if tables:
        found |= _table_jobs(here, [steps[key] for key in tables], tables)
    if marts:
        found["marts"] = dg.define_asset_job(
            "marts",
            _selection(marts) | _checks(marts),
            description="Compute marts: the days of its configuration or partitions, else every day.",
            config=asked_of([steps[key] for key in marts], DAILY),
        )
    return found


def _table_jobs(here: Mapping[str, DesiredState], steps: list[str], tables: list[str]) -> dict[str, Any]:
    found: dict[str, object] = {
        # The checks are in the same run: a large ingest is judged at once, and no verdict is older than what it judges.
        "ingest": dg.define_asset_job(
            "ingest",
            _selection(tables) | _sound(here),
            description="New objects into tables.",
            config=asked_of(steps, DAILY),
            tags={PRIORITY_TAG: "1"},  # before marts and upkeep, which can wait
        ),
        "quality": dg.define_asset_job(
            "quality",
            _sound(here, *FOUNDATIONS),
            description="Freshness, ranges, gaps, rejected share, clocks, bursts; servers, columns, flows.",
        ),
    }
    recounts = [key for key in tables if here[key].checks]
    for name, everything, text in (
        ("integrity", False, "Recount what changed since the last look: rows, duplicates, files."),
        ("audit", True, "Recount everything: rows, duplicates, files."),
    ):
        config = asked_of((op_name_of("integrity", asset_key(key)) for key in recounts), Recount(everything=everything))
        checks = dg.AssetSelection.checks(*check_keys(here, *INTEGRITY))
        found[name] = dg.define_asset_job(name, checks, description=text, config=config)
    return found

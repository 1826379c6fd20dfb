"""The jobs: named sets of work that sensors, schedules and people start.

Belongs here: selections and tags of asset jobs. Not here: jobs made of operations (upkeep.py) or when they run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.tags import PURPOSE_TAG
from homelab_platform.plan.layers import layer_of


def _selection(keys: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(asset_key(key) for key in keys)).without_checks()


def _checks(keys: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.checks_for_assets(*(asset_key(key) for key in keys))


def asset_jobs(here: Iterable[str]) -> Mapping[str, Any]:
    """The asset jobs of a site on which the assets `here` can be run, by name.

    `apply` brings assets to their desired state; `ingest` takes pending objects into the tables of readings; `marts`
    computes marts; `quality` runs the checks. A job without an asset to work on is left out.
    """
    keys = sorted(here)
    tables = [key for key in keys if layer_of(key) == "table"]
    marts = [key for key in keys if layer_of(key) == "mart"]
    found: dict[str, Any] = {}
    if keys:
        found["apply"] = dg.define_asset_job(
            "apply",
            _selection(keys) | _checks([*tables, *marts]),
            description="Bring assets to their desired state.",
            tags={PURPOSE_TAG: "apply"},
        )
    if tables:
        found["ingest"] = dg.define_asset_job(
            "ingest", _selection(tables), description="New objects into tables.", tags={PURPOSE_TAG: "ingest"}
        )
        found["quality"] = dg.define_asset_job(
            "quality",
            _checks(tables),
            description="Freshness, ranges, gaps, rejected share, conservation.",
            tags={PURPOSE_TAG: "quality"},
        )
    if marts:
        found["marts"] = dg.define_asset_job(
            "marts",
            _selection(marts) | _checks(marts),
            description="Marts of the dates that changed.",
            tags={PURPOSE_TAG: "refresh"},
        )
    return found

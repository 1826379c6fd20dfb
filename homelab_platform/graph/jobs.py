"""The jobs: named sets of work that sensors, schedules and people start.

Belongs here: selections and tags of asset jobs. Not here: jobs made of operations (upkeep.py) or when they run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.checks import EVERYTHING, check_keys, flow_check_keys
from homelab_platform.graph.tags import PRIORITY_TAG, PURPOSE_TAG, REQUEST_TAG
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


_RECOUNTS: tuple[tuple[str, dict[str, str], str], ...] = (
    ("integrity", {}, "Recount what changed since the last look: rows, duplicates, files."),
    ("audit", {f"{REQUEST_TAG}{EVERYTHING}": "yes"}, "Recount everything: rows, duplicates, files."),
)


def asset_jobs(here: Mapping[str, DesiredState]) -> Mapping[str, Any]:
    """The asset jobs of a site on which the assets `here` can be run, by name.

    `apply` brings assets to their desired state; `ingest` takes pending objects into the tables of readings; `marts`
    computes marts; `quality` runs the checks, `integrity` and `audit` those that recount. A job without an asset to
    work on is left out.
    """
    keys = sorted(here)
    tables = [key for key in keys if layer_of(key) == "table"]
    marts = [key for key in keys if layer_of(key) == "mart"]
    found: dict[str, Any] = {}
    if keys:
        found["apply"] = dg.define_asset_job(
            "apply",
            _selection(keys) | _sound(here) | _checks(marts),
            description="Bring assets to their desired state.",
            tags={PURPOSE_TAG: "apply"},
        )
    if tables:
        found["ingest"] = dg.define_asset_job(
            "ingest",
            _selection(tables),
            description="New objects into tables.",
            tags={PURPOSE_TAG: "ingest", PRIORITY_TAG: "1"},  # before marts and upkeep, which can wait
        )
        found["quality"] = dg.define_asset_job(
            "quality",
            _sound(here, *FOUNDATIONS),
            description="Freshness, ranges, gaps, rejected share, clocks, bursts; servers, columns, flows.",
            tags={PURPOSE_TAG: "quality"},
        )
        for name, tags, text in _RECOUNTS:
            recount = dg.AssetSelection.checks(*check_keys(here, *INTEGRITY))
            found[name] = dg.define_asset_job(name, recount, description=text, tags={PURPOSE_TAG: "quality", **tags})
    if marts:
        found["marts"] = dg.define_asset_job(
            "marts",
            _selection(marts) | _checks(marts),
            description="Marts of the dates that changed.",
            tags={PURPOSE_TAG: "refresh"},
        )
    return found

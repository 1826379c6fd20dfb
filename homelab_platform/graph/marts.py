"""What marts have beyond other assets: days as partitions, documented columns, their own tests as checks.

Belongs here: Dagster's side of them. Not here: computing a day or judging a test (readings/marts, layers/marts).

The partitions begin with the first day of readings. Loading definitions touches no network, so that day is kept in a
file of the site's folder; the sensor that follows changed dates brings it up to date.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import dagster as dg

from homelab_platform.errors import HomelabError
from homelab_platform.graph.freshness import freshness_policies
from homelab_platform.graph.metadata import columns_value, verdict_result
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.tags import NOMINAL_TAG, RANGE_END, RANGE_START
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.paths import site_path
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of, make_key, name_of
from homelab_platform.readings.marts.checks import test_names
from homelab_platform.readings.marts.tables import Mart, marts_of
from homelab_platform.readings.quality.verdicts import CheckResult

FIRST_DAY = "first_day"
MOST_DAYS = 1_830
"""Partitions that are shown at most, back from today: one reading with a clock of 1999 must not make nine thousand.
Older days are computed all the same."""


@dataclass(frozen=True)
class Extras:
    """What the asset of a table or mart has beyond other assets."""

    about: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partitions: dg.PartitionsDefinition[str] | None = None
    freshness: dg.FreshnessPolicy | None = None


def extras_of(lab: ResolvedLab) -> dict[str, Extras]:
    """The extras of the tables and marts of the lab, by asset key."""
    days, policies = days_of(lab.name), freshness_policies(lab)
    found = {key: Extras(freshness=policy) for key, policy in policies.items()}
    for name, mart in marts_of(lab).items():
        key, schema = make_key("mart", name), {"dagster/column_schema": columns_value(_rows(mart))}
        found[key] = Extras(mart.about, schema, days, policies.get(key))
    return found


def _rows(mart: Mart) -> list[dict[str, str]]:
    return [{"name": c.name, "type": c.kind, "description": c.doc} for c in mart.columns]


def days_of(lab: str) -> dg.DailyPartitionsDefinition:
    """One partition for each day since the first reading, in UTC; today is the last.

    The dialogue of "Materialize" chooses the last one by itself, and shows none that lies ahead.
    """
    return dg.DailyPartitionsDefinition(start_date=first_day(lab).isoformat(), timezone="UTC", end_offset=1)


def first_day(lab: str) -> date:
    """The first day of readings of a lab, as its site on this machine remembers it; yesterday where none does."""
    today = datetime.now(UTC).date()
    try:
        kept = date.fromisoformat((site_path(lab) / FIRST_DAY).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        kept = today - timedelta(days=1)
    return max(min(kept, today - timedelta(days=1)), today - timedelta(days=MOST_DAYS))


def remember_first_day(lab: str, day: date) -> bool:
    """Keep the first day of readings; returns whether the partitions begin elsewhere because of it."""
    root = site_path(lab)
    if not root.is_dir():
        return False
    before = first_day(lab)
    scratch = root / f".{FIRST_DAY}.{os.getpid()}"
    scratch.write_text(day.isoformat(), encoding="ascii")
    scratch.replace(Path(root / FIRST_DAY))
    return first_day(lab) != before


def nominal(lab: str, days: Iterable[str] = ()) -> dict[str, str]:
    """Tags that give a run of marts a partition: the newest of `days` that there is one for, else today.

    Dagster cannot run a partitioned asset after another one in a run without partitions. What such a run computes is in
    its configuration; the other days are told by the asset itself.
    """
    known = days_of(lab).get_partition_keys()
    day = max(set(known) & set(days), default=known[-1])
    return {RANGE_START: day, RANGE_END: day, NOMINAL_TAG: day}


def nominal_for(lab: ResolvedLab, keys: Iterable[str]) -> dict[str, str]:
    """The tags of `nominal` for a run of the assets `keys`: none if no mart with days is among them."""
    known = marts_of(lab)
    return nominal(lab.name) if any(layer_of(key) == "mart" and name_of(key) in known for key in keys) else {}


def days_asked(context: dg.AssetExecutionContext) -> list[str]:
    """The days that a run was started for; none if it was started without, whatever nominal day it has."""
    if NOMINAL_TAG in context.run.tags or not (context.has_partition_key or context.has_partition_key_range):
        return []
    return list(context.partition_keys)


class TestedAdapter(Protocol):
    """The adapter of marts, which can judge their tests."""

    def check(self, desired: DesiredState) -> list[CheckResult]:
        """Run a mart's own tests on its table as it is."""


def mart_checks(lab: ResolvedLab, here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The tests of each mart that the site holds, as checks of its asset."""
    marts = marts_of(lab)
    named = {key: marts[name_of(key)] for key in here if layer_of(key) == "mart" and name_of(key) in marts}
    return [_tests(here[key], test_names(mart)) for key, mart in named.items() if mart.tests]


def _tests(state: DesiredState, names: Mapping[str, str]) -> dg.AssetChecksDefinition:
    key = dg.AssetKey(state.key.split("/"))
    specs = [dg.AssetCheckSpec(name, asset=key, description=demand) for name, demand in names.items()]

    @dg.multi_asset_check(name=f"tests_of_{key.to_python_identifier()}", specs=specs)
    def tests(site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        try:
            adapter = cast("TestedAdapter", site.world.adapter("mart"))
            verdicts = adapter.check(state)
        except HomelabError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        for verdict in verdicts:
            yield verdict_result(key, verdict)

    return tests

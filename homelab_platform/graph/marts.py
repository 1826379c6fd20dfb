"""What marts have beyond other assets: days as partitions, documented columns, their own tests as checks.

Belongs here: Dagster's side of them. Not here: computing a day or judging a test (readings/marts, operations/adapters).

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
from homelab_platform.graph.metadata import columns_value, verdict_result
from homelab_platform.graph.resources import SITE, SiteResource
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
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
AHEAD = 2
"""Days after today that may have readings, as clocks may run ahead by one."""


@dataclass(frozen=True)
class Extras:
    """What the asset of a mart has beyond other assets."""

    about: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partitions: dg.PartitionsDefinition[str] | None = None


def extras_of(lab: ResolvedLab) -> dict[str, Extras]:
    """The extras of each mart of the lab, by asset key."""
    days = days_of(lab.name)
    return {
        make_key("mart", name): Extras(mart.about, {"dagster/column_schema": columns_value(_rows(mart))}, days)
        for name, mart in marts_of(lab).items()
    }


def _rows(mart: Mart) -> list[dict[str, str]]:
    return [{"name": c.name, "type": c.kind, "description": c.doc} for c in mart.columns]


def days_of(lab: str) -> dg.DailyPartitionsDefinition:
    """One partition for each day since the first reading, in UTC."""
    return dg.DailyPartitionsDefinition(start_date=first_day(lab).isoformat(), timezone="UTC", end_offset=AHEAD)


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

    Dagster cannot run a partitioned asset after another partitioned one in a run without partitions. What such a run
    computes is in its request, and the days beyond this one are told by the asset itself.
    """
    today = datetime.now(UTC).date()
    known = {str(first_day(lab) + timedelta(days=n)) for n in range((today - first_day(lab)).days + AHEAD)}
    day = max(known & set(days), default=today.isoformat())
    return {RANGE_START: day, RANGE_END: day}


def nominal_for(lab: ResolvedLab, keys: Iterable[str], days: Iterable[str] = ()) -> dict[str, str]:
    """The tags of `nominal` for a run of the assets `keys`: none if no mart with days is among them, as a run without
    such an asset must not have a partition.
    """
    known = marts_of(lab)
    return nominal(lab.name, days) if any(layer_of(key) == "mart" and name_of(key) in known for key in keys) else {}


def days_asked(context: dg.AssetExecutionContext) -> list[str]:
    """The days of a run's partitions; none for a run without."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return []


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

    @dg.multi_asset_check(name=f"tests_of_{key.to_python_identifier()}", specs=specs, required_resource_keys={SITE})
    def tests(context: dg.AssetCheckExecutionContext) -> Iterable[dg.AssetCheckResult]:
        site: SiteResource = getattr(context.op_execution_context.resources, SITE)
        try:
            adapter = cast("TestedAdapter", site.world.adapter("mart"))
            verdicts = adapter.check(state)
        except HomelabError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        for verdict in verdicts:
            yield verdict_result(key, verdict)

    return tests

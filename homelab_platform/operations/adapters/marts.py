"""Marts: tables computed from readings, probed by their properties, computed day by day.

Belongs here: when a mart counts as current and what its page shows. Not here: what it holds (readings/marts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.operations.adapters.base import ALL_DATES, Exhibit, Observation, Say
from homelab_platform.operations.adapters.tables import (
    FINGERPRINT_PROPERTY,
    exhibits,
    load,
    set_properties,
)
from homelab_platform.plan.desired import DesiredState
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from homelab_platform.readings.marts.tables import Mart

RECIPE_PROPERTY = "homelab.recipe"
SHOWN_ROWS = 15


def dates_of(request: Mapping[str, str]) -> list[date] | None:
    """The days that a run's request names; None for all of them."""
    text = request.get("dates", ALL_DATES)
    return None if text == ALL_DATES else [date.fromisoformat(day) for day in text.split(",") if day]


def mart_of(lab: ResolvedLab, name: str) -> Mart:
    """The mart of this name, as its SQL says it. Raises HomelabError that lists the names there are."""
    from homelab_platform.readings.marts.tables import known_mart, marts_of

    return known_mart(name, marts_of(lab))


class MartAdapter:
    """The marts by name."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse) -> None:
        self._lab = lab
        self._lakehouse = lakehouse

    def probe(self, desired: DesiredState) -> Observation:
        """Existence, fingerprint, and the recipe that it was computed by."""
        name = str(desired.document["name"])
        recipe = mart_of(self._lab, name).recipe
        metadata = load(self._lakehouse, f"marts.{name}")
        if metadata is None:
            return Observation(exists=False)
        properties = metadata.get("properties") or {}
        differences = () if properties.get(RECIPE_PROPERTY) == recipe else ("it was computed by another recipe",)
        facts = {"table": f"hive.marts.{name}", "recipe": properties.get(RECIPE_PROPERTY, "none")}
        return Observation(True, properties.get(FINGERPRINT_PROPERTY, ""), differences, facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the table, compute every day, and only then leave fingerprint and recipe."""
        from homelab_platform.readings.marts import ensure_mart_tables, marts_of

        name = str(desired.document["name"])
        recipe = mart_of(self._lab, name).recipe
        ensure_mart_tables(self._lakehouse, [name], marts=marts_of(self._lab))
        self._refresh(name, None, say)
        wanted = {FINGERPRINT_PROPERTY: desired.fingerprint, RECIPE_PROPERTY: recipe}
        set_properties(self._lakehouse, f"marts.{name}", wanted)

    def _refresh(self, name: str, dates: list[date] | None, say: Say) -> tuple[date, ...]:
        from homelab_platform.readings.marts import marts_of, refresh_mart

        report = refresh_mart(self._lakehouse, name, dates, self._lab.streams, marts=marts_of(self._lab))
        say(f"{report.rows:,} rows of {len(report.dates):,} days computed, {len(report.changed):,} days changed")
        return report.changed

    def remove(self, key: str, document: Mapping[str, Any], say: Say) -> None:
        """Drop the mart's table and its files; it can be computed again at any time."""
        from homelab_platform.readings.marts import remove_mart

        remove_mart(self._lakehouse, str(document["name"]))

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Compute the days that are asked for, if any, then show the mart."""
        name = str(desired.document["name"])
        if "dates" in request:
            changed = self._refresh(name, dates_of(request), say)
            yield Exhibit("days changed", "number", len(changed))
        metadata = load(self._lakehouse, f"marts.{name}")
        if metadata is not None:
            yield from exhibits(metadata)
            yield Exhibit("newest rows", "table", self._newest(name))

    def _newest(self, name: str) -> list[dict[str, Any]]:
        from homelab_platform.readings.query import run_query

        sql = f"SELECT * FROM hive.marts.{name} ORDER BY date DESC LIMIT {SHOWN_ROWS}"  # noqa: S608 (a known mart)
        with run_query(self._lakehouse, sql) as result:
            return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

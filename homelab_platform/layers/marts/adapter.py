"""Marts: tables computed from readings, probed by their properties, computed day by day.

Belongs here: when a mart counts as current and what its page shows. Not here: what it holds (readings/marts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.apply.adapter import ALL_DATES, Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.tables.adapter import (
    FINGERPRINT_PROPERTY,
    exhibits,
    load,
    set_properties,
)
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.documents import table_key
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.wire.json_types import Document

if TYPE_CHECKING:
    from homelab_platform.readings.marts.tables import Mart
    from homelab_platform.readings.quality.verdicts import CheckResult

RECIPE_PROPERTY = "homelab.recipe"
SHOWN_ROWS = 15
SLICE_DAYS = 92


def dates_of(request: Mapping[str, str]) -> list[date] | None:
    """The days that a run's request names; None for all of them. Raises HomelabError for what is no day."""
    text = request.get("dates", ALL_DATES)
    try:
        return None if text == ALL_DATES else [date.fromisoformat(day) for day in text.split(",") if day]
    except ValueError as error:
        raise HomelabError.of("dates", f"not a day: {error}", "Write days as 2026-11-30.") from None


def mart_of(lab: ResolvedLab, name: str) -> Mart:
    """The mart of this name, as its SQL says it. Raises HomelabError that lists the names there are."""
    from homelab_platform.readings.marts.tables import known_mart, marts_of

    return known_mart(name, marts_of(lab))


def from_where(origins: Iterable[tuple[str, str]]) -> str:
    """The columns that a column is made from, as they stand behind its meaning: ` ← sensor_data.value, .ts`."""
    tables: dict[str, list[str]] = {}
    for table, column in origins:
        tables.setdefault(table.removeprefix("default.").removeprefix("marts."), []).append(column)
    return "".join(f" ← {table}.{', .'.join(sorted(set(columns)))}" for table, columns in sorted(tables.items()))


def column_rows(mart: Mart) -> list[dict[str, str]]:
    """The columns of a mart, as they are shown: name, type, what it means."""
    return [{"name": c.name, "type": c.kind, "description": c.doc} for c in mart.columns]


def _asset_of(table: str) -> str:
    """The asset of a table that a mart reads."""
    namespace, _, name = table.partition(".")
    return f"mart/{name}" if namespace == "marts" else table_key(table)


class MartAdapter:
    """The marts by name."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse) -> None:
        self._lab = lab
        self._lakehouse = lakehouse
        self._computed: dict[str, dict[date, int]] = {}  # rows of the days computed since they were last shown

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

    def _refresh(self, name: str, dates: list[date] | None, say: Say, *, exactly: bool = False) -> tuple[date, ...]:
        """Compute days, many in slices: each is committed by itself, so that a long backfill shows how far it is, and
        what it has done stays done if it is killed.
        """
        from homelab_platform.readings.marts import marts_of, refresh_mart
        from homelab_platform.readings.marts.refresh import days_of_mart

        marts, streams = marts_of(self._lab), self._lab.streams
        if dates is None:
            dates, exactly = list(days_of_mart(self._lakehouse, name, streams, marts=marts)), True
        changed: list[date] = []
        for begin in range(0, max(1, len(dates)), SLICE_DAYS):
            part = dates[begin : begin + SLICE_DAYS]
            report = refresh_mart(self._lakehouse, name, part, streams, marts=marts, exactly=exactly)
            self._computed.setdefault(name, {}).update(report.by_day)
            changed += report.changed
            done = f" ({min(begin + SLICE_DAYS, len(dates)):,} of {len(dates):,})" if len(dates) > SLICE_DAYS else ""
            days = f"{len(report.dates):,} days computed{done}, {len(report.changed):,} days changed"
            say(f"{report.rows:,} rows of {days}")
        return tuple(changed)

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Drop the mart's table and its files; it can be computed again at any time."""
        from homelab_platform.readings.marts import remove_mart

        remove_mart(self._lakehouse, str(document["name"]))

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Compute the days that are asked for, if any, then show the mart."""
        name = str(desired.document["name"])
        if "dates" in request:
            changed = self._refresh(name, dates_of(request), say, exactly=request.get("exactly") == "yes")
            yield Exhibit("days changed", "number", len(changed))
        computed = self._computed.pop(name, {})
        yield Exhibit("days computed", "number", len(computed))
        yield Exhibit("days", "partitions", {day.isoformat(): rows for day, rows in sorted(computed.items())})
        metadata = load(self._lakehouse, f"marts.{name}")
        if metadata is not None:
            yield from exhibits(metadata)
            yield from self._columns(name)
            yield Exhibit("newest rows", "table", self._newest(name))

    def _columns(self, name: str) -> Iterable[Exhibit]:
        from homelab_platform.readings.marts import marts_of
        from homelab_platform.readings.marts.lineage import column_lineage

        marts = marts_of(self._lab)
        readings = tuple(sorted({stream.table for stream in self._lab.streams.values()})) or (READINGS,)
        origins = column_lineage(marts[name], marts, readings)
        rows = column_rows(marts[name])
        for row in rows:  # the open-source UI keeps the lineage of columns in its events, but draws none of it
            row["description"] += from_where(origins.get(row["name"], ()))
        yield Exhibit("dagster/column_schema", "columns", rows)
        yield Exhibit("dagster/column_lineage", "lineage", {
            column: [(_asset_of(table), origin) for table, origin in found] for column, found in origins.items()
        })  # fmt: skip

    def check(self, desired: DesiredState) -> list[CheckResult]:
        """The verdicts of the mart's own tests on its table."""
        from homelab_platform.readings.marts.checks import check_mart

        return check_mart(self._lakehouse, mart_of(self._lab, str(desired.document["name"])))

    def _newest(self, name: str) -> list[dict[str, Any]]:
        from homelab_platform.readings.query.run import run_query

        sql = f"SELECT * FROM hive.marts.{name} ORDER BY date DESC LIMIT {SHOWN_ROWS}"  # noqa: S608 (a known mart)
        with run_query(self._lakehouse, sql) as result:
            return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

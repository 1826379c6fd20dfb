"""Marts of large days: computed in parts they say the same, and no computation takes on more than it can hold."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh, refresh_mart
from homelab_platform.readings.query.run import run_query
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform_tests.readings.lake import at, make_readings

BEGIN = date(2026, 11, 1)
STREAMS = {
    "air": ResolvedStream(
        name="air",
        source="mqtt",
        bucket="readings-raw",
        prefix="air/",
        devices=("kitchen", "cellar", "never heard of"),
        source_settings={"site": "home"},
        sensors={name: ResolvedSensor(name=name, every=600) for name in ("temperature", "humidity")},
    )
}


def readings_of_a_week() -> list[dict[str, Any]]:
    """Three devices with two sensors each; gaps, and values that stand out."""
    return [
        {
            "ts": at("2026-11-13 00:00") + timedelta(seconds=600 * n + 7 * device),
            "device": f"device-{device}",
            "sensor": sensor,
            "value": 20.0 + device + (n % 144) / 50 + (n * 7919 % 101) / 100 + (40 if n == 1000 else 0),
            "unit": "°C",
            "source": f"air/2026-11-13/{device}/{n // 100}.ndjson.gz",
        }
        for device in range(3)
        for sensor in ("temperature", "humidity")
        for n in range(7 * 144)
        if not 40 < n < 60
    ]


@pytest.mark.servers
@pytest.mark.slow
def test_a_day_computed_in_parts_has_the_very_rows_of_one_computed_whole(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_mart_tables(lakehouse)
    make_readings(lakehouse, readings_of_a_week())
    found = []
    for at_once in (refresh.AT_ONCE, 250):
        monkeypatch.setattr(refresh, "AT_ONCE", at_once)
        for name in MARTS:
            refresh_mart(lakehouse, name, None, STREAMS, now=at("2026-11-20 12:00"))
        found.append({name: rows_of(lakehouse, name) for name in MARTS})
    whole, parts = found
    assert {name: len(rows) > 0 for name, rows in whole.items()} == dict.fromkeys(MARTS, True)
    assert parts == whole


def rows_of(lakehouse: Lakehouse, name: str) -> list[tuple[Any, ...]]:
    with run_query(lakehouse, f"SELECT * FROM marts.{name} ORDER BY ALL") as result:
        return list(result)


@given(
    counts=st.dictionaries(st.integers(0, 60), st.integers(0, 600_000), max_size=40),
    lookback=st.integers(0, 14),
)
def test_days_come_together_only_as_far_as_they_fit(counts: dict[int, int], lookback: int) -> None:
    readings = {BEGIN + timedelta(days=n): count for n, count in counts.items()}
    dates = sorted(readings)
    made = list(refresh.portions(dates, readings, lookback))
    assert [day for days, _ in made for day in days] == dates
    for days, count in made:
        assert len(days) == 1 or (count <= refresh.AT_ONCE and len(days) <= refresh.CHUNK_DAYS)
        assert count >= sum(readings[day] for day in days)

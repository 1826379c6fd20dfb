"""Simulated readings: plausible, the same from the same seed, and never to be taken for measured ones."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings.sources.simulator import put_simulated, simulate
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def _stream(**sensors: tuple[float | None, float | None, float]) -> ResolvedStream:
    return ResolvedStream(
        name="environment",
        source="mqtt",
        bucket="readings-raw",
        prefix="environment/",
        devices=("kitchen", "cellar"),
        sensors={n: ResolvedSensor(name=n, unit="°C", low=s[0], high=s[1], every=s[2]) for n, s in sensors.items()},
    )


ROOMS = _stream(temperature=(-40, 85, 300), humidity=(0, 100, 300))


def _records(stream: ResolvedStream, start: datetime, end: datetime, **more: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in simulate(stream, start=start, end=end, **more)]


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    one = b"".join(simulate(ROOMS, start=START, end=START + DAY, seed=1))
    assert one == b"".join(simulate(ROOMS, start=START, end=START + DAY, seed=1))
    assert one != b"".join(simulate(ROOMS, start=START, end=START + DAY, seed=2))


def test_a_span_made_in_two_parts_is_the_same_as_in_one() -> None:
    middle = START + timedelta(hours=7, seconds=13)
    parts = _records(ROOMS, START, middle) + _records(ROOMS, middle, START + DAY)
    assert parts == _records(ROOMS, START, START + DAY)


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(0.001, 1e6),
    seed=st.integers(0, 2**31),
)
def test_every_value_lies_in_the_sensors_range(low: float, span: float, seed: int) -> None:
    stream = _stream(x=(low, low + span, 3600))
    values = [record["value"] for record in _records(stream, START, START + DAY, seed=seed)]
    assert values
    assert all(low <= value <= low + span for value in values)


def test_days_have_a_cycle_noise_and_a_few_gaps() -> None:
    found = _records(ROOMS, START, START + 10 * DAY, devices=["kitchen"])
    temperature = [(r["ts"], r["value"]) for r in found if r["sensor"] == "temperature"]
    by_hour: dict[int, list[float]] = {}
    for ts, value in temperature:
        by_hour.setdefault(datetime.fromisoformat(ts).hour, []).append(value)
    means = {hour: sum(v) / len(v) for hour, v in by_hour.items()}
    assert 12 <= max(means, key=lambda hour: means[hour]) <= 18
    assert max(means.values()) - min(means.values()) > 20
    times = [datetime.fromisoformat(ts) for ts, _ in temperature]
    gaps = [b - a for a, b in pairwise(times) if b - a > timedelta(minutes=10)]
    assert 0 < len(gaps) < 60


def test_every_reading_says_that_it_is_simulated() -> None:
    assert {r["quality"] for r in _records(ROOMS, START, START + DAY)} == {"simulated"}


def test_a_stream_without_sensors_or_an_empty_span_is_refused() -> None:
    with pytest.raises(HomelabError, match="no sensors"):
        simulate(_stream(), start=START, end=START + DAY)
    with pytest.raises(HomelabError, match="between start and end"):
        simulate(ROOMS, start=START, end=START)


@pytest.mark.servers
def test_uploading_twice_makes_one_object_for_each_day(lakehouse: Lakehouse) -> None:
    span: dict[str, Any] = {"start": START + timedelta(hours=12), "end": START + timedelta(hours=36)}
    keys = put_simulated(lakehouse, ROOMS, **span)
    assert keys == put_simulated(lakehouse, ROOMS, **span)
    with ObjectStore(lakehouse.objects) as store:
        assert [found.key for found in store.list(lakehouse.raw_bucket)] == sorted(keys)
        lines = b"".join(gzip.decompress(store.get(lakehouse.raw_bucket, key)) for key in keys)
    assert lines == b"".join(simulate(ROOMS, **span))
    assert [key.split("/")[:3] for key in keys] == [
        ["environment", "2026-11-01", "simulator"],
        ["environment", "2026-11-02", "simulator"],
    ]

"""Late data: marts re-compute just the days that it touched, all of them and no other.

The arrivals are random and go the whole way: object, ingest, ledger, `changed_dates`, marts. What a mart should be is
computed at once from all readings, beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homelab_platform.readings import ledger
from homelab_platform.readings.contract import ensure_tables
from homelab_platform.readings.ingest import ingest_objects
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh_mart
from homelab_platform.readings.marts.tables import reach
from homelab_platform.readings.query.run import run_query
from homelab_platform.servers.scratch.servers import ScratchServers, fresh_lakehouse
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.readings.lake import at
from homelab_platform_tests.readings.marts.test_marts import STREAMS

pytestmark = [pytest.mark.servers, pytest.mark.slow]
NOW = at("2026-11-20 12:00")
FIRST = at("2026-11-01 00:00")
NAMES = ("readings_hourly", "readings_daily", "gaps")
Point = tuple[int, int, str]  # day, step of ten minutes, device

_POINT = st.tuples(st.integers(0, 18), st.integers(0, 143), st.sampled_from(["kitchen", "attic"]))


@pytest.fixture(scope="module")
def shared(servers: ScratchServers) -> Iterator[Lakehouse]:
    """One lake for all examples: it only ever grows, as a real one does."""
    with fresh_lakehouse(servers) as made:
        ensure_tables(made)
        ensure_mart_tables(made, NAMES)
        yield made


_COUNT = iter(range(1_000_000))


def _deliver(lakehouse: Lakehouse, points: list[Point]) -> None:
    lines = b"".join(
        Reading(_when(point), point[2], "temperature", 20.0 + point[1] / 10).line() for point in dict.fromkeys(points)
    )
    key = object_key("air", NOW.date(), "tests", f"late-{next(_COUNT)}")
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    ingest_objects(lakehouse, [key], STREAMS)


def _when(point: Point) -> datetime:
    return FIRST + timedelta(days=point[0], minutes=10 * point[1])


def _days(lakehouse: Lakehouse, name: str) -> dict[date, list[tuple[object, ...]]]:
    """The rows of a mart by day."""
    found: dict[date, list[tuple[object, ...]]] = {}
    with run_query(lakehouse, f"SELECT * FROM marts.{name} ORDER BY ALL") as result:
        for row in result:
            found.setdefault(row[0], []).append(tuple(row))
    return found


_known: set[Point] = set()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(_POINT, max_size=12), again=st.booleans())
def test_exactly_the_days_that_late_readings_touch_are_computed(
    shared: Lakehouse, batch: list[Point], again: bool
) -> None:
    before = {name: _days(shared, name) for name in NAMES}
    _, since = ledger.dates_changed_since(shared, 0)
    if again:
        batch = [*batch, *sorted(_known)[:5]]  # delivered before: they touch nothing
    touched = {_when(point).date() for point in batch if point not in _known}
    _known.update(batch)
    _deliver(shared, batch)
    dates, _ = ledger.dates_changed_since(shared, since)
    assert set(dates) == touched  # precision and recall of the sensor's question: 1.0
    present = {_when(point).date() for point in _known}
    for name in NAMES:
        report = refresh_mart(shared, name, dates, STREAMS, now=NOW)
        ahead = {day + timedelta(days=n) for day in touched for n in range(1, reach(MARTS[name], MARTS) + 1)} & present
        assert set(report.dates) == touched | ahead
        after = _days(shared, name)
        differ = {day for day in {*after, *before[name]} if after.get(day) != before[name].get(day)}
        assert set(report.changed) == differ  # and of what is committed
        assert refresh_mart(shared, name, None, STREAMS, now=NOW).changed == ()  # a full computation finds nothing left

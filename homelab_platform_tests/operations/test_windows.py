"""Windows over 400 days in zones with every kind of clock change: each opens once, whenever somebody looks or not."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.lab.calendar import Window, window
from homelab_platform.operations.windows import due, openings

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")
START = date(2026, 1, 1)
TIMES = st.sampled_from([f"{h:02d}:{m:02d}" for h in range(24) for m in (0, 30)])
WINDOWS = st.builds(
    Window, st.sampled_from([0, 1, 2, 3, 4, -1]), st.one_of(st.none(), st.integers(0, 6)), TIMES, TIMES
).filter(lambda w: w.start != w.end)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@given(WINDOWS, st.integers(20, 55), st.data())
@settings(max_examples=3)
def test_each_window_is_used_once_and_never_twice(zone: str, chosen: Window, step: int, data: st.DataObject) -> None:
    expected = list(openings(chosen, zone, START, START + timedelta(days=400)))
    cut = data.draw(st.integers(0, 399))  # the power is off for a day
    dark = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=cut)
    used: list[date] = []
    now = datetime(2025, 12, 31, 6, tzinfo=UTC)
    while now < datetime(2027, 2, 7, tzinfo=UTC):
        if not dark <= now < dark + timedelta(days=1):
            found = due(chosen, zone, now, used[-1] if used else None)
            if found is not None:
                assert found.begin <= now < found.end
                used.append(found.day)
        now += timedelta(minutes=step)
    assert len(used) == len(set(used))
    light = [o.day for o in expected if not (dark <= o.begin and o.end <= dark + timedelta(days=1))]
    seen = [day for day in light if day >= START + timedelta(days=1)]
    long = {o.day for o in expected if o.end - o.begin >= timedelta(minutes=step)}
    inside = {o.day for o in expected if dark <= o.end and o.begin <= dark + timedelta(days=1)}
    assert set(seen) & long - inside <= set(used)


def test_openings_are_in_order_and_do_not_overlap() -> None:
    for zone in ZONES:
        found = list(openings(window("daily 23:30-02:15"), zone, START, START + timedelta(days=400)))
        assert all(a.end <= b.begin for a, b in itertools.pairwise(found))
        assert len(found) == 401


@pytest.mark.parametrize(
    ("day", "begin", "end"),
    [
        (date(2026, 3, 29), "2026-03-29T01:00", "2026-03-29T01:30"),  # 02:30 is skipped: the change is at 01:00 UTC
        (date(2026, 10, 25), "2026-10-25T00:30", "2026-10-25T02:30"),  # 02:30 comes twice: the first counts
        (date(2026, 7, 1), "2026-07-01T00:30", "2026-07-01T01:30"),
    ],
)
def test_a_window_at_a_change_of_the_clock(day: date, begin: str, end: str) -> None:
    (found,) = openings(window("daily 02:30-03:30"), "Europe/Berlin", day, day)
    assert found.begin == datetime.fromisoformat(begin).replace(tzinfo=UTC)
    assert found.end == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_ordinals_and_blackout_days() -> None:
    found = openings(window("last Sunday 03:00-06:00"), "UTC", START, date(2026, 4, 30), ["2026-02-20..2026-02-28"])
    assert [o.day.isoformat() for o in found] == ["2026-01-25", "2026-03-29", "2026-04-26"]

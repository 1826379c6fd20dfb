"""Local times: each instant of a year comes back from its local spelling, in either direction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.wire.timestamps import LocalClock, to_microseconds, zone_known

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Atlantic/Azores", "Asia/Kolkata", "UTC")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("backwards", [False, True])
def test_local_times_in_order_come_back_as_the_instants_that_they_were(zone: str, backwards: bool) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    instants = [start + timedelta(minutes=30 * n) for n in range(2 * 24 * 365)]
    clock = LocalClock()
    for moment in reversed(instants) if backwards else instants:
        local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()
        assert to_microseconds(local, zone=zone, clock=clock) == int(moment.timestamp()) * 1_000_000


def test_series_do_not_disturb_each_other_in_the_hour_that_comes_twice() -> None:
    clock = LocalClock()
    local = ["02:00", "02:30", "02:00", "02:30"]
    found = {
        series: [
            to_microseconds(f"2026-10-25T{time}:00", zone="Europe/Berlin", clock=clock, series=series) for time in local
        ]
        for series in ("a", "b")
    }
    assert found["a"] == found["b"] == sorted(set(found["a"]))


def test_a_time_that_clocks_skipped_is_refused_and_does_not_shift() -> None:
    for time, exists in (("01:59:59", True), ("02:00:00", False), ("02:59:59", False), ("03:00:00", True)):
        text = f"2026-03-29T{time}"
        if exists:
            to_microseconds(text, zone="Europe/Berlin")
        else:
            with pytest.raises(ValueError, match="does not exist in Europe/Berlin"):
                to_microseconds(text, zone="Europe/Berlin")


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_a_fixed_offset_never_changes(moment: datetime, minutes: int) -> None:
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert zone_known(zone)
    if moment.year != 1970 and (moment - timedelta(minutes=minutes)).year != 1970:
        expected = (moment - timedelta(minutes=minutes) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
        assert to_microseconds(moment, zone=zone) == expected


def test_an_unknown_zone_is_none() -> None:
    assert not zone_known("Europe/Atlantis")
    assert not zone_known("+25:00")

"""Pictures of readings."""

from __future__ import annotations

import struct
import subprocess
import sys
from datetime import timedelta

import pytest

from homelab_platform.readings.plots import plot_last_day, sparkline
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform_tests.readings.lake import at, make_readings

NOW = at("2026-11-20 12:00")


def _size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_points_of_several_devices_make_a_picture() -> None:
    points = [
        (d, NOW - timedelta(minutes=5 * n), 20.0 + n) for d in ("a", "b") for n in range(200, 0, -1) if n % 70 > 9
    ]
    png = plot_last_day(points, "temperature", unit="°C", now=NOW)
    assert _size(png) == (720, 240)
    assert len(png) < 60_000
    assert png != plot_last_day([], "temperature", now=NOW)


@pytest.mark.servers
def test_the_last_day_is_read_from_the_lake(lakehouse: Lakehouse) -> None:
    rows = [
        {"ts": NOW - timedelta(minutes=n), "device": "pi", "sensor": "t", "value": float(n), "unit": "°C"}
        for n in range(60)
    ]
    make_readings(lakehouse, rows)
    drawn = plot_last_day(lakehouse, "t", now=NOW)
    assert _size(drawn) == (720, 240)
    assert drawn != plot_last_day(lakehouse, "no-such-sensor", now=NOW)


def test_a_series_fits_into_one_line() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5, 5]) == "▄▄▄"
    assert sparkline([1, None, float("nan"), 2]) == "▁  █"
    assert sparkline([]) == ""
    assert len(sparkline(range(1000), width=30)) == 30


def test_matplotlib_is_not_loaded_before_something_is_drawn() -> None:
    code = "import sys, homelab_platform.readings.plots; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

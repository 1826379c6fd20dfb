"""How far apart a cron line fires, at most."""

from __future__ import annotations

from datetime import timedelta

import pytest

from homelab_platform.lab.calendar import cron_interval


@pytest.mark.parametrize(
    ("line", "hours"),
    [
        ("30 2 * * *", 24),
        ("0 4 * * 0", 168),
        ("0 4 * * 7", 168),
        ("5 * * * *", 1),
        ("0 1,13 * * *", 12),
        ("0 1,13 * * 1-5", 60),
        ("0 3 1 * *", 31 * 24),
        ("0 3 1 * 0", 168),
    ],
)
def test_the_longest_pause_of_a_cron_line(line: str, hours: int) -> None:
    assert cron_interval(line) == timedelta(hours=hours)

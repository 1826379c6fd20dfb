"""When windows for patching open: the next one, in the lab's time zone, blackout days left out; each exactly once.

Belongs here: pure computation over a clock that is handed in. Not here: what happens in a window.

A window belongs to the day on which it begins. Its begin is that wall-clock time of the lab's zone: a time that a
change to summer time skips counts as the moment of the change, one that comes twice as its first occurrence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from homelab_platform.lab.calendar import Window

_DAY = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Opening:
    """One occurrence of a window, `begin` and `end` in UTC; `day` is the day of the lab's zone on which it begins."""

    begin: datetime
    end: datetime
    day: date


def openings(window: Window, zone: str, first: date, last: date, blackout: Collection[str] = ()) -> Iterator[Opening]:
    """The occurrences that begin on the days `first` to `last`, in order. `blackout` are pairs of ISO dates,
    `2026-12-20..2027-01-05`, whose days have none.
    """
    spans = [tuple(map(date.fromisoformat, pair.split(".."))) for pair in blackout]
    day = first
    while day <= last:
        if _is_day(window, day) and not any(start <= day <= end for start, end in spans):
            begin, end = _moment(day, window.start, zone), _moment(day, window.end, zone)
            if window.end <= window.start:
                end = _moment(day + _DAY, window.end, zone)
            if begin < end:  # a window inside the hour that summer time skips has no length that day
                yield Opening(begin, end, day)
        day += _DAY


def due(window: Window, zone: str, now: datetime, done: date | None, blackout: Collection[str] = ()) -> Opening | None:
    """The occurrence that is open at `now` and was not used yet: `done` is the day of the one that was used last."""
    today = now.astimezone(ZoneInfo(zone)).date()
    found = openings(window, zone, today - _DAY, today, blackout)
    return next((o for o in found if o.begin <= now < o.end and (done is None or o.day > done)), None)


def _is_day(window: Window, day: date) -> bool:
    if window.weekday is None:
        return True
    if day.isoweekday() % 7 != window.weekday:
        return False
    if window.nth == -1:
        return (day + 7 * _DAY).month != day.month
    return window.nth in (0, (day.day - 1) // 7 + 1)


def _moment(day: date, at: str, zone: str) -> datetime:
    """The moment of a wall-clock time in UTC."""
    hours, minutes = (int(part) for part in at.split(":"))
    local = datetime(day.year, day.month, day.day, hours, minutes, tzinfo=ZoneInfo(zone))
    moment = local.astimezone(UTC)
    if moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # The clock skips this time. Python reads it with the offset before the change: go back to the change itself.
    after = local.replace(fold=1).astimezone(UTC)
    low, high = sorted((moment, after))
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) / 2
        changed = middle.astimezone(ZoneInfo(zone)).utcoffset() == high.astimezone(ZoneInfo(zone)).utcoffset()
        low, high = (low, middle) if changed else (middle, high)
    return high.replace(second=0, microsecond=0)

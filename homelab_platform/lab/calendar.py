"""Calendar words: patch windows, blackout dates, and cron lines made from times and rhythms.

Belongs here: reading and arithmetic of calendar words; all times are in the lab's time zone. Not here: deciding when
something runs next (operations).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from homelab_platform.lab.quantities import Bad, shown, time_of_day

DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")  # cron counts from Sunday
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1, "every": 0}
RHYTHMS = ("hourly", "daily", "weekly", "monthly", "yearly")
_WINDOW = re.compile(r"(?:(first|second|third|fourth|last|every)\s+)?([a-z]+)\s+(\S+?)\s*-\s*(\S+)", re.IGNORECASE)
_CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
WINDOW_HELP = "Write for example: first Sunday 03:00-06:00, every Tuesday 02:00-04:00, daily 03:00-04:00."


@dataclass(frozen=True)
class Window:
    """A recurring window. `nth`: 1–4, -1 the last, 0 every; `weekday` 0 is Sunday, None is each day; 'HH:MM' times."""

    nth: int
    weekday: int | None
    start: str
    end: str

    @property
    def minutes(self) -> int:
        """Length in minutes by the clock on the wall; a window may pass midnight."""
        return (_minutes(self.end) - _minutes(self.start)) % 1440

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data for lab.json."""
        return {"nth": self.nth, "weekday": self.weekday, "start": self.start, "end": self.end, "text": str(self)}

    def __str__(self) -> str:
        if self.weekday is None:
            return f"daily {self.start}-{self.end}"
        word = next(w for w, n in ORDINALS.items() if n == self.nth)
        return f"{word} {DAYS[self.weekday]} {self.start}-{self.end}"


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def weekday(text: str) -> int:
    """Number of a weekday's name or its beginning (Sunday is 0)."""
    found = [i for i, day in enumerate(DAYS) if len(text) >= 3 and day.lower().startswith(text.lower())]
    if not found:
        raise Bad(f"{shown(text)} is not a day of the week", f"One of: {', '.join(DAYS)}.")
    return found[0]


def window(value: object) -> Window:
    """Reads 'first Sunday 03:00-06:00', 'every Tuesday 02:00-04:00', 'Saturday 01:00-03:00', 'daily 03:00-04:00'."""
    if isinstance(value, Window):
        return value
    match = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Bad(f"{shown(value)} is not a window", WINDOW_HELP)
    ordinal, day, start, end = match.groups()
    start, end = time_of_day(start), time_of_day(end)
    if start == end:
        raise Bad(f"the window {start}-{end} has no length", WINDOW_HELP)
    if day.lower() in ("daily", "day"):
        return Window(0, None, start, end)
    return Window(ORDINALS[(ordinal or "every").lower()], weekday(day), start, end)


def blackout(value: object) -> str:
    """Reads '2026-12-20..2027-01-05' or one date; returns it as two ISO dates joined by '..'."""
    text = value if isinstance(value, str) else ""
    first, _, last = text.partition("..")
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise Bad(f"{shown(value)} is not a date or a pair of dates", "Write 2026-12-20..2027-01-05.") from None
    if end < start:
        raise Bad(f"{text} ends before it starts", f"Write {end}..{start}.")
    return f"{start}..{end}"


def cron(value: object) -> str:
    """A cron line of five fields whose numbers are in range; raises Bad for one that can never fire."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    fields = text.split(" ")
    if len(fields) != 5:
        raise Bad(
            f"{shown(value)} is not a cron line", "Five fields: minute hour day month weekday, as in '30 2 * * *'."
        )
    for field, (what, low, high) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_cron_part(part, low, high) for part in field.split(",")):
            raise Bad(f"the {what} {shown(field)} of the cron line cannot be", f"It goes from {low} to {high}.")
    if _never(fields[2], fields[3], fields[4]):
        raise Bad(f"the cron line {text} never fires", "No such month has that day.")
    return text


def _cron_part(part: str, low: int, high: int) -> bool:
    match = re.fullmatch(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", part)
    if not match:
        return False
    start, end = int(match[2] or low), int(match[3] or match[2] or high)
    return low <= start <= end <= high and match[4] != "0"


def _never(day: str, month: str, weekday_field: str) -> bool:
    """Whether no month of the line has one of its days (31 April, 30 February); a weekday is enough to fire."""
    if not weekday_field.startswith("*"):
        return False
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    first = min(_cron_numbers(day, 1, 31), default=32)
    return all(first > longest.get(m, 31) for m in _cron_numbers(month, 1, 12))


def _cron_numbers(field: str, low: int, high: int) -> list[int]:
    """The numbers of a cron field whose parts are known to be in range."""
    found: list[int] = []
    for part in field.split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        first = low if start == "*" else int(start)
        last = high if start == "*" or (step and not end) else int(end or start)
        found += range(first, last + 1, int(step or 1))
    return found


def rhythm_cron(rhythm: str, at: str, on: int | None = None) -> str:
    """The cron line of 'daily', 'weekly' (on a weekday, 0 is Sunday), 'monthly' (the 1st) … at 'HH:MM'."""
    hour, minute = (int(x) for x in at.split(":"))
    day = 0 if on is None else on
    return {
        "hourly": f"{minute} * * * *",
        "daily": f"{minute} {hour} * * *",
        "weekly": f"{minute} {hour} * * {day}",
        "monthly": f"{minute} {hour} 1 * *",
        "yearly": f"{minute} {hour} 1 1 *",
    }[rhythm]


def later(at: str, minutes: int) -> str:
    """The time of day `minutes` after 'HH:MM'."""
    total = (_minutes(at) + minutes) % 1440
    return f"{total // 60:02d}:{total % 60:02d}"


def cron_interval(line: str) -> timedelta:
    """The longest time between two firings of a cron line that `cron` has accepted, by the clock on the wall."""
    minute, hour, day, month, week = line.split(" ")
    times = [h * 60 + m for h in _cron_numbers(hour, 0, 23) for m in _cron_numbers(minute, 0, 59)]
    first, last = min(times), max(times)
    ordered = sorted(set(times))
    within = max((later - sooner for sooner, later in itertools.pairwise(ordered)), default=0)
    days = [number for number in range(_YEARS) if _fires_on(date.fromordinal(_START + number), day, month, week)]
    between = max((later - sooner for sooner, later in itertools.pairwise(days)), default=366)
    return timedelta(minutes=max(within, between * 1440 + first - last))


_START = date(2026, 1, 1).toordinal()
_YEARS = 3 * 366  # days looked at: a leap year is among them


def _fires_on(on: date, day: str, month: str, week: str) -> bool:
    """Whether a cron line fires on a date; a restricted day and a restricted weekday are alternatives (crontab(5))."""
    if on.month not in _cron_numbers(month, 1, 12):
        return False
    by_day = on.day in _cron_numbers(day, 1, 31)
    by_week = on.isoweekday() % 7 in {number % 7 for number in _cron_numbers(week, 0, 7)}
    if day.startswith("*") or week.startswith("*"):
        return by_day and by_week
    return by_day or by_week

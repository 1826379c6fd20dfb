"""Which column of a foreign file is the time, and how it is written.

Belongs here: words for times, patterns, zones that a header names. Not here: other columns (guess.py), reading one time
(wire/timestamps.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from homelab_platform.readings.decode.mapping import Source
from homelab_platform.readings.sources.sampling import CannotRead, Sample
from homelab_platform.wire.timestamps import to_microseconds

ASSUMED_ZONE = "UTC"
WORDS = (
    "ts", "timestamp", "time", "datetime", "date_time", "date/time", "utc", "utc_time", "time_utc", "timestamp_utc",
    "datetime_utc", "dateutc", "utcdatetime", "measured_at", "recorded_at", "logged_at", "created_at", "sampled_at",
    "received_at", "last_changed", "last_updated", "last_seen", "_time", "time_stamp", "unixtime", "unix_time",
    "unix_timestamp", "epoch", "epoch_ms", "epoch_s", "zeit", "zeitpunkt", "zeitstempel", "datum/zeit", "datum_zeit",
    "datum/uhrzeit", "messzeit", "horodatage", "fecha", "fecha_hora", "date_heure", "tijd", "tijdstip", "t", "date",
    "datum", "day", "start", "start_time", "created",
)  # fmt: skip
_DAY_WORDS = ("date", "datum", "day", "tag", "fecha", "jour")
_HOUR_WORDS = ("time", "hour", "hour_utc", "uhrzeit", "zeit", "heure", "hora", "tijd", "clock", "time_of_day")
PATTERNS = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H",
    "%Y-%m-%d-%H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%dT%H:%M:%Sz",
    "%Y.%m.%d %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y, %H:%M:%S",
    "%d.%m.%Y, %H:%M",
    "%d.%m.%y %H:%M:%S",
    "%d.%m.%y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%Y %I:%M:%S %p",
    "%d/%m/%Y %I:%M %p",
    "%m/%d/%y %I:%M:%S %p",
    "%m/%d/%y %I:%M %p",
    "%d/%m/%y %I:%M:%S %p",
    "%m/%d/%y %H:%M:%S",
    "%m/%d/%y %H:%M",
    "%d/%m/%y %H:%M:%S",
    "%d/%m/%y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%Y%m%d %H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%Y-%m-%d",
    "%d.%m.%Y",
)
_HEADER_ZONE = re.compile(r"\b(?:GMT|UTC)\s?([+-]\d{1,2}(?::?\d{2})?)?\b", re.IGNORECASE)
_EXCEL_DAY = re.compile(r"[34]\d{4}(?:[.,]\d+)?")


def plain(name: str) -> str:
    """A column's name for comparison: lower case, words joined by underscores, also those of camelCase."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("\ufeff \t"))
    return re.sub(r"[\s\-]+", "_", name).lower().strip("_") or name.strip().lower()


def reads(cell: object, zone: str | None, pattern: str | None) -> bool:
    """Whether a cell is a time when it is read so."""
    try:
        to_microseconds(cell, zone=zone, pattern=pattern)
    except ValueError as error:
        return "does not exist" in str(error)  # a time all the same; its line is refused
    return True


def time_source(sample: Sample, asked: Source | None, zone: str | None, notes: list[str], column: str | None) -> Source:
    """The source of `ts`: what was asked for, the rest found. `zone` for times without one; `column` if it is known.

    Raises CannotRead with the option that settles it.
    """
    if asked and asked.column in sample.columns:
        column = asked.column
    also = asked.also if asked else None
    if column is None:
        column, also = _column(sample)
    cells = [f"{row[column]} {row[also]}" for row in sample.rows if row.get(column) and row.get(also)] if also else (
        sample.cells(column))  # fmt: skip
    if not cells:
        raise CannotRead(f"has an empty time column {column!r}; name another with --map ts=COLUMN")
    pattern = asked.format if asked else None
    if pattern is None and not any(reads(cell, ASSUMED_ZONE, None) for cell in cells):
        pattern = _pattern(column, cells)
    chosen = (asked.tz if asked else None) or zone
    if all(reads(cell, None, pattern) for cell in cells):
        chosen = asked.tz if asked else None
    elif chosen is None:
        chosen = _zone_of_header(column) or ASSUMED_ZONE
        if _zone_of_header(column) is None:
            notes.append(f"times in {column!r} carry no zone and are taken as UTC (--tz says otherwise)")
    if not any(reads(cell, chosen, pattern) for cell in cells):
        raise CannotRead(f"has no readable time in {column!r}, e.g. {cells[0]!r}; give --time-format")
    return Source(column=column, format=pattern, tz=chosen, also=also)


def _zone_of_header(column: str) -> str | None:
    """The zone that a header names, as in `Date Time, GMT-05:00` or `Time (UTC)`."""
    found = _HEADER_ZONE.search(column)
    return None if found is None else (found.group(1) or "UTC")


def _column(sample: Sample) -> tuple[str, str | None]:
    """The column of times, and a second one with the time of day if it is apart."""
    by_word = {plain(name): name for name in reversed(sample.columns)}
    named = [by_word[word] for word in WORDS if word in by_word]
    named += [name for name in sample.columns if name not in named and _begins_as_time(name)]
    for day in (by_word[word] for word in _DAY_WORDS if word in by_word):
        for hour in (by_word[word] for word in _HOUR_WORDS if word in by_word and by_word[word] != day):
            if _are_days(sample.cells(day)) and not _are_times(sample.cells(hour)):
                return day, hour
    for name in named:
        if _are_times(sample.cells(name)):
            return name, None
    others = [name for name in sample.columns if name not in named and _are_dated(sample.cells(name))]
    if len(others) == 1 and not named:
        return others[0], None
    if named:
        _refuse_excel(named[0], sample.cells(named[0]))
        return named[0], None
    raise CannotRead(
        f"has no column that is plainly a time (columns: {', '.join(map(repr, sample.columns))}); "
        "name it with --map ts=COLUMN"
    )


def _begins_as_time(name: str) -> bool:
    return plain(name).split("_")[0].split("(")[0].split(",")[0] in (
        "time",
        "timestamp",
        "datetime",
        "date",
        "zeit",
        "datum",
    )


def _are_times(cells: Sequence[object]) -> bool:
    """Whether most cells are points in time, in any spelling."""
    few = cells[:20]
    return bool(few) and sum(reads(c, ASSUMED_ZONE, None) or any(reads(c, ASSUMED_ZONE, p) for p in PATTERNS)
                             for c in few) * 2 > len(few)  # fmt: skip


def _are_dated(cells: Sequence[object]) -> bool:
    """The same for columns of any name: numbers do not count, for a counter may look like an epoch time."""
    few = cells[:20]
    texts = all(isinstance(cell, str) and not cell.replace(".", "").isdigit() for cell in few)
    return bool(few) and texts and _are_times(few)


def _are_days(cells: Sequence[object]) -> bool:
    few = [str(cell) for cell in cells[:20]]
    return bool(few) and all(re.fullmatch(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}", cell.strip()) for cell in few)


def _refuse_excel(column: str, cells: Sequence[object]) -> None:
    if cells and all(_EXCEL_DAY.fullmatch(str(cell).strip()) for cell in cells):
        raise CannotRead(
            f"has day numbers of a spreadsheet in {column!r}, e.g. {cells[0]}; give it a date format and save again"
        )


def _pattern(column: str, cells: Sequence[object]) -> str:
    texts = [cell for cell in cells if isinstance(cell, str)]
    fitting = [p for p in PATTERNS if texts and all(reads(text, ASSUMED_ZONE, p) for text in texts)]
    if not fitting:
        most = max(PATTERNS, key=lambda p: sum(reads(text, ASSUMED_ZONE, p) for text in texts), default="")
        if texts and sum(reads(text, ASSUMED_ZONE, most) for text in texts) * 2 > len(texts):
            return most  # the others are refused one by one
        _refuse_excel(column, cells)
        raise CannotRead(
            f"has times in {column!r} that are not understood, e.g. {cells[0]!r}; give --time-format, "
            "e.g. --time-format '%d.%m.%y %H:%M'"
        )
    if any(_differ(text, fitting[0], other) for other in fitting[1:] for text in texts):
        raise CannotRead(
            f"has times in {column!r} like {texts[0]!r} that may be day/month or month/day; give --time-format, "
            f"e.g. --time-format '{fitting[0]}'"
        )
    return fitting[0]


def _differ(text: str, one: str, other: str) -> bool:
    try:
        return to_microseconds(text, zone="UTC", pattern=one) != to_microseconds(text, zone="UTC", pattern=other)
    except ValueError:
        return False

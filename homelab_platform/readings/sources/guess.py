"""Guessing what the columns of a foreign file mean.

Belongs here: the words by which people call times, devices and values, and the decision. Whatever is not plain is
refused with the option that would settle it, because a wrong guess writes wrong readings. Not here: reading the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from homelab_platform.readings.contract import column_name
from homelab_platform.readings.decode.mapping import Mapping, Source
from homelab_platform.readings.sources.sampling import CannotRead, Sample
from homelab_platform.wire.timestamps import to_microseconds

ASSUMED_ZONE = "UTC"
_MOST_KEPT = 16
_NAMES: Map[str, Sequence[str]] = {
    "ts": ("ts", "timestamp", "time", "datetime", "date_time", "utc", "measured_at", "recorded_at", "created_at",
           "last_changed", "last_updated", "_time", "t", "date"),
    "device": ("device", "device_id", "device_name", "host", "hostname", "node", "station", "machine", "instance"),
    "sensor": ("sensor", "sensor_id", "sensor_name", "metric", "measurement", "entity_id", "variable", "parameter",
               "channel", "_field"),
    "value": ("value", "val", "reading", "state", "y", "_value"),
    "unit": ("unit", "units", "unit_of_measurement"),
    "site": ("site", "location", "place", "room", "area"),
    "quality": ("quality",),
}  # fmt: skip
_INDEX = re.compile(r"^(|id|index|row|nr|no|unnamed: ?\d+)$")
_PATTERNS = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y-%m-%d",
)


@dataclass(frozen=True)
class Guess:
    """A mapping (None: the columns are the contract's own) and remarks that a person should read."""

    mapping: Mapping | None
    notes: tuple[str, ...] = field(default=())


def guess_mapping(sample: Sample, given: Mapping | None = None) -> Mapping | None:
    """The mapping of a file: what `given` says, the rest guessed; None if the columns are the contract's own.

    Raises CannotRead with what is unclear and the option that settles it.
    """
    return guess(sample, given).mapping


def guess(sample: Sample, given: Mapping | None = None) -> Guess:
    """Like guess_mapping, with remarks: the zone that was assumed, columns that are left out."""
    asked = given or Mapping()
    _check_given(sample, asked)
    notes: list[str] = []
    fields: dict[str, Source] = {
        name: source for name, source in asked.fields.items() if source.column is not None or source.const is not None
    }
    fields["ts"] = _time(sample, asked.fields.get("ts"), notes)
    taken = {s.column for s in fields.values() if s.column} | set(asked.melt) | set(asked.keep)
    for name in ("device", "sensor", "value", "unit", "site", "quality"):
        column = None if name in fields else _named(sample, name, taken)
        if column is not None and not (asked.melt and name in ("sensor", "value")):
            fields[name] = Source(column=column)
            taken.add(column)
    melt = asked.melt or _values(sample, fields, taken)
    fields.setdefault("device", Source(const=sample.name))
    keep = asked.keep or _kept(sample, taken | set(melt), notes)
    mapping = _tidy(Mapping(fields, melt, keep))
    return Guess(None if _is_plain(sample, mapping) else mapping, tuple(notes))


def _check_given(sample: Sample, asked: Mapping) -> None:
    named = [source.column for source in asked.fields.values() if source.column] + [*asked.melt, *asked.keep]
    unknown = [name for name in dict.fromkeys(named) if name not in sample.columns]
    if asked.fields.get("ts") and asked.fields["ts"].column == "ts" and "ts" in unknown:
        unknown.remove("ts")  # only its zone or format was given; the column itself is looked for
    if unknown:
        raise CannotRead(f"has no column {', '.join(unknown)}; it has {', '.join(map(repr, sample.columns))}")


def _plain(name: str) -> str:
    return name.strip("\ufeff \t").lower().replace(" ", "_").replace("-", "_")


def _named(sample: Sample, field_name: str, taken: set[str]) -> str | None:
    """The column that is called like the field, in the order of the words above."""
    by_word = {_plain(column): column for column in reversed(sample.columns) if column not in taken}
    found = next((by_word[word] for word in _NAMES[field_name] if word in by_word), None)
    if found is None:
        return None
    cells = sample.cells(found)
    if field_name == "value":
        return found if not cells or _numeric(cells) or _mostly_words(cells) else None
    return found if all(isinstance(cell, str) for cell in cells) else None


# Times


def _time(sample: Sample, asked: Source | None, notes: list[str]) -> Source:
    column = asked.column if asked and asked.column in sample.columns else None
    if column is None:
        by_word = {_plain(name): name for name in reversed(sample.columns)}
        column = next((by_word[word] for word in _NAMES["ts"] if word in by_word), None)
    if column is None:
        raise CannotRead(
            f"has no column that is plainly a time (columns: {', '.join(map(repr, sample.columns))}); "
            "name it with --map ts=COLUMN"
        )
    cells = sample.cells(column)[:50]
    if not cells:
        raise CannotRead(f"has an empty time column {column!r}; name another with --map ts=COLUMN")
    pattern = asked.format if asked else None
    if pattern is None and not any(_reads(cell, ASSUMED_ZONE, None) for cell in cells):
        pattern = _pattern(column, cells)
    zone = asked.tz if asked else None
    if zone is None and not any(_reads(cell, None, pattern) for cell in cells):
        zone = ASSUMED_ZONE
        notes.append(f"times in {column!r} carry no zone and are taken as UTC (--tz says otherwise)")
    if not any(_reads(cell, zone, pattern) for cell in cells):
        raise CannotRead(f"has no readable time in {column!r}, e.g. {cells[0]!r}; give --time-format")
    return Source(column=column, format=pattern, tz=zone)


def _reads(cell: Any, zone: str | None, pattern: str | None) -> bool:
    try:
        to_microseconds(cell, zone=zone, pattern=pattern)
    except ValueError:
        return False
    return True


def _pattern(column: str, cells: Sequence[Any]) -> str:
    texts = [cell for cell in cells if isinstance(cell, str)]
    fitting = [p for p in _PATTERNS if texts and all(_reads(text, ASSUMED_ZONE, p) for text in texts)]
    if not fitting:
        raise CannotRead(
            f"has times in {column!r} that are not understood, e.g. {cells[0]!r}; give --time-format, "
            "e.g. --time-format '%d.%m.%y %H:%M'"
        )
    if len(fitting) > 1 and {"%d/%m/%Y", "%m/%d/%Y"} <= {p.split(" ")[0] for p in fitting}:
        raise CannotRead(
            f"has times in {column!r} like {texts[0]!r} that may be day/month or month/day; give --time-format, "
            f"e.g. --time-format '{fitting[0]}'"
        )
    return fitting[0]


# Values


def _values(sample: Sample, fields: dict[str, Source], taken: set[str]) -> tuple[str, ...]:
    """Fill `sensor` and `value` from one column, or return the columns that are a sensor each."""
    if "value" in fields:
        if "sensor" not in fields:
            column = fields["value"].column or "value"
            fields["sensor"] = Source(const=sample.name if _plain(column) in _NAMES["value"] else column)
        return ()
    numeric = [
        column
        for column in sample.columns
        if column not in taken and not _INDEX.match(_plain(column)) and _numeric(sample.cells(column))
    ]
    if not numeric:
        raise CannotRead(_no_value(sample, taken))
    if "sensor" in fields and len(numeric) > 1:
        raise CannotRead(
            f"has a column for the sensor ({fields['sensor'].column}) and several for values ({', '.join(numeric)}); "
            "name the right one with --map value=COLUMN"
        )
    if len(numeric) > 1:
        return tuple(numeric)
    fields["value"] = Source(column=numeric[0])
    fields.setdefault("sensor", Source(const=numeric[0].strip("\ufeff ")))
    taken.add(numeric[0])
    return ()


def _no_value(sample: Sample, taken: set[str]) -> str:
    for column in sample.columns:
        cells = [c for c in sample.cells(column) if isinstance(c, str)]
        if column not in taken and cells and all(re.fullmatch(r"-?\d+,\d+", c.strip()) for c in cells):
            return f"writes numbers with a decimal comma in {column!r} ({cells[0]}); export them with a point"
    return (
        f"has no column of numbers (columns: {', '.join(map(repr, sample.columns))}); name it with --map value=COLUMN"
    )


def _number(cell: Any) -> bool:
    if isinstance(cell, bool):
        return False
    if isinstance(cell, int | float):
        return math.isfinite(cell)
    if not isinstance(cell, str) or "_" in cell:
        return False
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _numeric(cells: Sequence[Any]) -> bool:
    """Whether four of five cells are numbers: sensors write `nan` and `unavailable` too."""
    return bool(cells) and sum(map(_number, cells)) >= 0.8 * len(cells)


def _mostly_words(cells: Sequence[Any]) -> bool:
    """States of a home automation, among which some are numbers: lines that are none get rejected one by one."""
    return any(map(_number, cells))


def _kept(sample: Sample, used: set[str], notes: list[str]) -> tuple[str, ...]:
    """Further columns that come along as they are, as far as the table can name them."""
    kept: list[str] = []
    left: list[str] = []
    for column in sample.columns:
        if column in used or _INDEX.match(_plain(column)):
            continue
        try:
            column_name(column)
        except ValueError:
            left.append(column)
            continue
        (kept if len(kept) < _MOST_KEPT else left).append(column)
    if left:
        notes.append(f"left out: {', '.join(map(repr, left))}")
    return tuple(kept)


def _tidy(mapping: Mapping) -> Mapping:
    """Without the fields that take the column of their own name, which is what no entry means."""
    own = {n for n, s in mapping.fields.items() if s == Source(column=n)}
    return replace(mapping, fields={n: s for n, s in mapping.fields.items() if n not in own})


def _is_plain(sample: Sample, mapping: Mapping) -> bool:
    """Whether the ingest gets the same without a mapping: further fields become columns there anyway."""
    contract = {"ts", "device", "sensor", "value"} <= set(sample.columns)
    return contract and not mapping.fields and not mapping.melt

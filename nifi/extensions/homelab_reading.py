"""What one reading must be, as far as that can be judged without the table (docs/ingest.md, "What an object may be").

Belongs here: checking one decoded item, with the table's own reasons. Not here: requests and their formats
(homelab_door.py). What only the table knows (how many columns it has, their kinds) is judged at ingest. A property test
holds this and homelab_platform/readings/decode/record.py together. Standard library only, Python 3.9 or
later: it runs inside NiFi, also in upstream's image.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date
from typing import Any

MAX_TEXT = 255
MAX_LINE = 1024 * 1024
MAX_COLUMN_NAME = 63
DAY_US = 86_400_000_000
REMEMBERED = 10_000

REQUIRED = ("device", "sensor", "ts", "value")
OPTIONAL_TEXTS = ("site", "unit", "quality")
PRODUCER_COLUMNS = frozenset((*REQUIRED, *OPTIONAL_TEXTS))
RESERVED = PRODUCER_COLUMNS | {"date", "source", "ingested_at"}

_TEXTS = frozenset(("device", "sensor", *OPTIONAL_TEXTS))
_EARLIEST_US = (date(1900, 1, 1) - date(1970, 1, 1)).days * DAY_US
_UNSET_CLOCK_END_US = 365 * DAY_US
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,18}))?\s?([Zz]|[+-]\d{2}(?::?\d{2})?)?", re.ASCII
)
_EPOCH = re.compile(r"\d{10}(?:\.\d{1,9})?|\d{13}(?:\.\d{1,9})?|\d{16}|\d{19}", re.ASCII)
_EPOCH_UNITS = (
    (10**9, 10**11, 1_000_000, 1),
    (10**12, 10**14, 1_000, 1),
    (10**15, 10**17, 1, 1),
    (10**18, 10**20, 1, 1000),
)
_UNFIT = re.compile(r"[^a-z0-9_]+")
_REST = re.compile(r"[0-5]\d(?:[.,]\d{1,18})?[Zz]", re.ASCII)
_SAFE = 2**63
_NUMBERS = (int, float)
_HUGE = re.compile(r"[eE]\+?[1-9]\d\d|\d{308}", re.ASCII)
_SURROGATE = re.compile(r"\\u[dD][89abcdefABCDEF]")


class Bad(ValueError):
    """Why one item is no reading: the field, empty for the item as a whole, and the reason in the table's own words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Rule:
    """Checks items, and remembers names, texts and minutes that were fine. Threads may share one."""

    def __init__(self) -> None:
        self.zoneless = False  # times without a zone are taken: the stream says which zone they are of
        self._days: dict[str, int] = {}
        self._minutes: dict[str, int] = {}  # `2026-11-21T14:05:` and when that minute has ended, in µs
        self._texts: set[str] = set()
        # the fields of an item: those of them that hold texts, and those beyond the contract
        self._shapes: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def all_known(self, records: list[Any], latest: int) -> bool:
        """Whether every item is made of fields, texts and minutes that were all found to be fine before."""
        shapes, texts, minutes, rest = self._shapes, self._texts, self._minutes, _REST.fullmatch
        try:
            for record in records:
                named, further = shapes[tuple(record)]
                for name in named:
                    if record[name] not in texts and (name in REQUIRED or record[name] not in ("", None)):
                        return False
                for name in further:
                    if type(record[name]) in _NUMBERS and not -_SAFE < record[name] < _SAFE:
                        return False
                ts, value = record["ts"], record["value"]
                minute = ts[:17]
                if (minutes.get(minute) or self._minute(minute)) > latest or rest(ts, 17) is None:
                    return False
                if type(value) not in _NUMBERS or not -_SAFE < value < _SAFE:
                    return False
        except (KeyError, TypeError):
            return False
        return bool(records)

    def check(self, record: Any, text: str, latest: int) -> int:
        """When the reading of one decoded item was taken, in µs. Raises Bad when it is none.

        `text` is what the item was spelled as; `latest` is the last acceptable time. The order of the checks is that of
        the table, so that both give the same reason.
        """
        if not isinstance(record, dict):
            raise Bad("", "not a JSON object")
        if len(text) > MAX_LINE // 4 and len(text.encode()) > MAX_LINE:
            raise Bad("", f"longer than {MAX_LINE} bytes")
        if "\\u" in text and _SURROGATE.search(text):
            _no_lone_surrogates(record)
        if _HUGE.search(text):
            _all_finite(text)
        known = self._texts
        for name in ("device", "sensor"):
            value = record.get(name)
            if type(value) is not str or value not in known:
                self._required(name, value)
        ts = record.get("ts")
        micros = self._text_time(ts) if type(ts) is str else _other_time(ts)
        if micros > latest:
            raise Bad("ts", "ts is more than one day in the future: check the producer's clock")
        value = record.get("value")
        if type(value) is not float or value - value != 0.0:
            _number(value)
        for name in OPTIONAL_TEXTS:
            value = record.get(name)
            if value is not None and value != "" and (type(value) is not str or value not in known):
                self._bounded(name, value)
        shape = tuple(record)
        if shape not in self._shapes:
            self._columns(record, shape)
        return micros

    def _required(self, name: str, value: Any) -> None:
        if value is None:
            raise Bad(name, f"{name} is missing")
        if type(value) is str and not value.strip():
            raise Bad(name, f"{name} is empty")
        self._bounded(name, value)

    def _bounded(self, name: str, value: Any) -> None:
        if type(value) is not str:
            raise Bad(name, f"{name} is not a text")
        if len(value) > MAX_TEXT:
            raise Bad(name, f"{name} is longer than {MAX_TEXT} characters")
        if "\0" in value:
            raise Bad(name, f"{name} holds a NUL character")
        if value.strip():
            if len(self._texts) >= REMEMBERED:
                self._texts.clear()
            self._texts.add(value)

    def _columns(self, record: dict[str, Any], shape: tuple[str, ...]) -> None:
        """Whether every further field can become a column, and no two the same one."""
        seen: dict[str, str] = {}
        complete = True
        for field in shape:
            if field in PRODUCER_COLUMNS:
                continue
            if record[field] is None:
                complete = False  # the table does not look at a field without a value
                continue
            column = column_name(field)
            if column in seen:
                raise Bad(field, f"two fields would fill the column {column!r}")
            seen[column] = field
        if complete:
            if len(self._shapes) >= REMEMBERED:
                self._shapes.clear()
            named = tuple(name for name in shape if name in _TEXTS)
            self._shapes[shape] = (named, tuple(seen.values()))

    def _text_time(self, value: str) -> int:
        found = _RFC3339.fullmatch(value.strip())
        if found is None:
            text = value.strip()
            if not text:
                raise Bad("ts", "ts is missing")
            if _EPOCH.fullmatch(text):
                return _other_time(float(text) if "." in text else int(text))
            raise Bad("ts", "ts is not RFC 3339")
        day, hour, minute, second, fraction, offset = found.groups()
        start = self._days.get(day)
        if start is None:
            start = self._day(day)
        hours, minutes, seconds = int(hour), int(minute), int(second)
        if hours > 23:
            raise Bad("ts", "ts is not a time: hour must be in 0..23")
        if minutes > 59:
            raise Bad("ts", "ts is not a time: minute must be in 0..59")
        if seconds > 59:
            raise Bad("ts", "ts is not a time: second must be in 0..59")
        if offset is None and not self.zoneless:
            raise Bad("ts", "ts has no zone")
        micros = start + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
        if fraction:
            micros += int(fraction[:6].ljust(6, "0"))
        if offset is not None and offset not in "Zz":
            return _plausible(micros - _offset_minutes(offset) * 60_000_000)
        return _plausible(micros)

    def _minute(self, text: str) -> int:
        """The last µs of the minute that `2026-11-21T14:05:` begins. Raises KeyError when it begins none."""
        try:
            last = self._text_time(f"{text}59.999999Z")
        except Bad:
            raise KeyError(text) from None
        if len(self._minutes) >= REMEMBERED:
            self._minutes.clear()
        self._minutes[text] = last
        return last

    def _day(self, text: str) -> int:
        try:
            moment = date(int(text[:4]), int(text[5:7]), int(text[8:]))
        except ValueError as error:
            raise Bad("ts", f"ts is not a time: {error}") from None
        if len(self._days) >= REMEMBERED:
            self._days.clear()
        self._days[text] = (moment.toordinal() - 719_163) * DAY_US
        return self._days[text]


def column_name(field: str) -> str:
    """The column that a further field becomes. Raises Bad when it cannot be one."""
    name = _UNFIT.sub("_", field.strip().lower()).strip("_")[:MAX_COLUMN_NAME]
    if not name:
        raise Bad(field, f"field {field[:64]!r} cannot be made into a column name")
    if name[0].isdigit():
        name = f"_{name}"[:MAX_COLUMN_NAME]
    if name in RESERVED:
        raise Bad(field, f"field {field[:64]!r} would become the reserved column {name!r}")
    return name


def _offset_minutes(offset: str) -> int:
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise Bad("ts", "ts has an impossible offset from UTC")
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def _other_time(value: Any) -> int:
    if isinstance(value, bool) or value is None:
        raise Bad("ts", "ts is missing" if value is None else "ts is a boolean")
    if not isinstance(value, (int, float)):
        raise Bad("ts", "ts is not a text or a number")
    for low, high, factor, divisor in _EPOCH_UNITS:
        if low <= value < high:
            whole = isinstance(value, int)
            return _plausible(int(value) * factor // divisor if whole else round(value * factor / divisor))
    raise Bad("ts", "ts is not an epoch time in s, ms, µs or ns")


def _plausible(micros: int) -> int:
    if micros < _EARLIEST_US:
        raise Bad("ts", "ts is before 1900")
    if 0 <= micros < _UNSET_CLOCK_END_US:
        raise Bad("ts", "ts is in 1970: the producer's clock was not set")
    return micros


def _number(value: Any) -> None:
    if isinstance(value, str):
        raise Bad("value", "value is a text, not a number")
    if value is None:
        raise Bad("value", "value is missing")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Bad("value", "value is not a number")
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise Bad("value", "value is not finite")


def _all_finite(text: str) -> None:
    """A number too large for a double, wherever it stands: the table's parser refuses the whole line."""

    def checked(number: str) -> float:
        found = float(number)
        if not math.isfinite(found):
            raise Bad("", "not JSON: a number is too large")
        return found

    json.loads(text, parse_float=checked, parse_int=checked)


def _no_lone_surrogates(record: Any) -> None:
    """Half a character in a text: JSON can spell it, UTF-8 and the table cannot."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Bad("", "not JSON: half a surrogate pair") from None

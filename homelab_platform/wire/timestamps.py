"""When a reading was taken: every accepted spelling of a point in time, to microseconds since 1970 UTC.

Belongs here: parsing of one timestamp, and the limits of a plausible one. The compiled kernel has its own parser for
the commonest spelling; this one defines what is right.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_US = 86_400_000_000
EARLIEST_US = (date(1900, 1, 1) - date(1970, 1, 1)).days * DAY_US
UNSET_CLOCK_END_US = 365 * DAY_US  # 1970: what a board without a clock says before it has heard of NTP

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,18}))?\s?([Zz]|[+-]\d{2}(?::?\d{2})?)?", re.ASCII
)
_EPOCH = re.compile(r"\d{10}(?:\.\d{1,9})?|\d{13}(?:\.\d{1,9})?|\d{16}|\d{19}", re.ASCII)
# The magnitude of an epoch number says its unit: seconds from 2001 to 5138, and the same span in finer units.
_EPOCH_UNITS = (
    (10**9, 10**11, 1_000_000, 1),
    (10**12, 10**14, 1_000, 1),
    (10**15, 10**17, 1, 1),
    (10**18, 10**20, 1, 1000),
)


def to_microseconds(value: object, *, zone: str | None = None, pattern: str | None = None) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 text, an epoch number in s, ms, µs or ns, or a datetime.

    `zone` is the IANA zone of times that carry none; `pattern` a strptime format for texts in another spelling.
    Digits beyond the microsecond are cut off. Raises ValueError with the reason.
    """
    if isinstance(value, datetime):
        return _checked(_from_datetime(value, zone))
    if isinstance(value, bool) or value is None:
        raise ValueError("ts is missing" if value is None else "ts is a boolean")
    if isinstance(value, int | float):
        return _checked(_from_number(value))
    if not isinstance(value, str):
        raise ValueError("ts is not a text or a number")
    text = value.strip()
    if not text:
        raise ValueError("ts is missing")
    if pattern is not None:
        return _checked(_from_pattern(text, pattern, zone))
    if _EPOCH.fullmatch(text):
        return _checked(_from_number(float(text) if "." in text else int(text)))
    return _checked(_from_text(text, zone))


def _checked(micros: int) -> int:
    if micros < EARLIEST_US:
        raise ValueError("ts is before 1900")
    if 0 <= micros < UNSET_CLOCK_END_US:
        raise ValueError("ts is in 1970: the producer's clock was not set")
    return micros


def _from_number(value: float) -> int:
    for low, high, factor, divisor in _EPOCH_UNITS:
        if low <= value < high:
            return int(value) * factor // divisor if isinstance(value, int) else round(value * factor / divisor)
    raise ValueError("ts is not an epoch time in s, ms, µs or ns")


def _from_text(text: str, zone: str | None) -> int:
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("ts is not RFC 3339")
    fraction, offset = found.group(7), found.group(8)
    year, month, day, hour, minute, second = (int(found.group(i)) for i in range(1, 7))
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, micros)
    except ValueError as error:
        raise ValueError(f"ts is not a time: {error}") from None
    if offset is None:
        return _from_datetime(moment, zone)
    minutes = 0 if offset in "Zz" else _offset_minutes(offset)
    return _naive_us(moment) - minutes * 60_000_000


def _offset_minutes(offset: str) -> int:
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("ts has an impossible offset from UTC")
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def _from_pattern(text: str, pattern: str, zone: str | None) -> int:
    try:
        moment = datetime.strptime(text, pattern)
    except ValueError:
        raise ValueError(f"ts does not match {pattern!r}") from None
    return _from_datetime(moment, zone)


def _from_datetime(moment: datetime, zone: str | None) -> int:
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("ts has no zone")
        moment = moment.replace(tzinfo=_zone(zone))
    try:
        return _naive_us(moment.astimezone(UTC).replace(tzinfo=None))
    except OverflowError:
        raise ValueError("ts is out of range") from None


def _naive_us(moment: datetime) -> int:
    days = moment.toordinal() - 719_163
    return days * DAY_US + (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000 + moment.microsecond


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}") from None

"""When a reading was taken: every accepted spelling of a point in time, to microseconds since 1970 UTC.

Belongs here: parsing of one timestamp, the limits of a plausible one, and local times where clocks are put forward or
back. The compiled kernel has its own parser for the commonest spellings; this one defines what is right. Standard
library only, Python 3.9 or later: NiFi runs this very file beside its processors (servers/nifi.py copies it).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_US = 86_400_000_000
EARLIEST_US = (date(1900, 1, 1) - date(1970, 1, 1)).days * DAY_US
UNSET_CLOCK_END_US = 365 * DAY_US  # 1970: what a board without a clock says before it has heard of NTP

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,18}))?\s?([Zz]|[+-]\d{2}(?::?\d{2})?)?", re.ASCII
)
_FIXED = re.compile(r"(?:UTC|GMT)?\s?([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII)
_EPOCH = re.compile(r"\d{10}(?:\.\d{1,9})?|\d{13}(?:\.\d{1,9})?|\d{16}|\d{19}", re.ASCII)
# The magnitude of an epoch number says its unit: seconds from 2001 to 5138, and the same span in finer units.
_EPOCH_UNITS = (
    (10**9, 10**11, 1_000_000, 1),
    (10**12, 10**14, 1_000, 1),
    (10**15, 10**17, 1, 1),
    (10**18, 2**64, 1, 1000),  # some parsers make a double of a larger one, and round it
)


class LocalClock:
    """Local times of one delivery, in the order in which they stand there, to UTC.

    Where clocks are put back, an hour of local times comes twice. Rule: a time of that hour is of the first pass,
    unless the reading of the same series before it is as late or later; then it is of the second. In a delivery that
    runs backwards it is the other way round. A local time that clocks skipped is refused.
    """

    def __init__(self) -> None:
        self._last: dict[object, int] = {}
        self._backwards: dict[object, bool] = {}
        self.second_pass = 0  # readings taken to be of the second pass

    def microseconds(self, moment: datetime, zone: str, series: object) -> int:
        """The time of a reading of `series` in µs since 1970 UTC. Raises ValueError for a time that does not exist."""
        early, late = local_candidates(moment, zone)
        last = self._last.get(series)
        chosen = early
        if last is not None and early == late:
            self._backwards[series] = chosen < last if chosen != last else self._backwards.get(series, False)
        elif last is not None and self._backwards.get(series):
            chosen = late if last > late else early
        elif last is not None:
            chosen = early if last < early else late
        if early != late and chosen == late:
            self.second_pass += 1
        self._last[series] = chosen
        return chosen


def local_candidates(moment: datetime, zone: str) -> tuple[int, int]:
    """The one or two instants (µs since 1970 UTC, equal when there is one) of a local time without a zone.

    Raises ValueError when clocks skipped it.
    """
    here = _naive_us(moment)
    offset = _day_offset(zone, moment.date())
    if offset is not None:
        return here - offset, here - offset
    where = _zone(zone)
    early, late = (_offset_us(moment.replace(tzinfo=where, fold=fold)) for fold in (0, 1))
    if late > early:
        raise ValueError(f"ts {moment.isoformat(sep=' ')} does not exist in {zone}: clocks skipped it (a device whose "
                         "clock is never changed has a fixed offset, such as --tz +01:00)")  # fmt: skip
    return here - early, here - late


@lru_cache(maxsize=4096)
def _day_offset(zone: str, day: date) -> int | None:
    """The zone's offset in µs on a day on which it does not change, else None."""
    where = _zone(zone)
    if isinstance(where, timezone):
        return _offset_us(datetime(2000, 1, 1, tzinfo=where))
    start = datetime(day.year, day.month, day.day, tzinfo=where)
    try:
        around = [start - timedelta(days=1), start, start + timedelta(days=1), start + timedelta(days=2)]
    except OverflowError:
        return _offset_us(start)
    offsets = {_offset_us(moment) for moment in around}
    return offsets.pop() if len(offsets) == 1 else None


def _offset_us(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1_000_000)


def to_microseconds(
    value: object,
    *,
    zone: str | None = None,
    pattern: str | None = None,
    clock: LocalClock | None = None,
    series: object = None,
) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 text, an epoch number in s, ms, µs or ns, or a datetime.

    `zone` is the IANA zone, or the offset, of times that carry none; `pattern` a strptime format for texts in another
    spelling. `clock` remembers the series' times before this one, for the hour that comes twice; without it that hour
    is the first. Digits beyond the microsecond are cut off. Raises ValueError with the reason.
    """

    def local(moment: datetime) -> int:
        return _from_datetime(moment, zone, clock, series)

    if isinstance(value, datetime):
        return _checked(local(value))
    if isinstance(value, date):
        return _checked(local(datetime(value.year, value.month, value.day)))
    if isinstance(value, bool) or value is None:
        raise ValueError("ts is missing" if value is None else "ts is a boolean")
    if isinstance(value, (int, float)):
        return _checked(_from_number(value))
    if not isinstance(value, str):
        raise ValueError("ts is not a text or a number")
    text = value.strip()
    if not text:
        raise ValueError("ts is missing")
    if pattern is not None:
        return _checked(local(_from_pattern(text, pattern)))
    if _EPOCH.fullmatch(text):
        return _checked(_from_number(float(text) if "." in text else int(text)))
    found = _from_text(text)
    return _checked(found if isinstance(found, int) else local(found))


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


def _from_text(text: str) -> int | datetime:
    """Microseconds, or a local time where the text names no zone."""
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
        return moment
    minutes = 0 if offset in "Zz" else _offset_minutes(offset)
    return _naive_us(moment) - minutes * 60_000_000


def _offset_minutes(offset: str) -> int:
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("ts has an impossible offset from UTC")
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def _from_pattern(text: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(text, pattern)
    except ValueError:
        raise ValueError(f"ts does not match {pattern!r}") from None


def _from_datetime(moment: datetime, zone: str | None, clock: LocalClock | None, series: object) -> int:
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("ts has no zone")
        return local_candidates(moment, zone)[0] if clock is None else clock.microseconds(moment, zone, series)
    try:
        return _naive_us(moment.astimezone(timezone.utc).replace(tzinfo=None))
    except OverflowError:
        raise ValueError("ts is out of range") from None


def _naive_us(moment: datetime) -> int:
    days = moment.toordinal() - 719_163
    return days * DAY_US + (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000 + moment.microsecond


def instant_of(text: str, zone: str, near_us: int | None) -> str | None:
    """A local time in RFC 3339 without a zone as the same in UTC; None if it is none, or does not exist.

    In the hour that comes twice it is the instant nearer to `near_us` (µs since 1970), or the first.
    """
    try:
        moment = _from_text(text.strip())
        if isinstance(moment, int):
            return None
        candidates = local_candidates(moment, zone)
    except ValueError:
        return None
    chosen = candidates[0] if near_us is None else min(candidates, key=lambda found: abs(found - near_us))
    at = datetime(1970, 1, 1) + timedelta(microseconds=chosen)
    return at.isoformat(timespec="microseconds" if at.microsecond else "seconds") + "Z"


def zone_known(name: str) -> bool:
    """Whether a zone is an IANA name or a fixed offset such as `+01:00` or `GMT-05:00`."""
    try:
        _zone(name)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    fixed = _FIXED.fullmatch(name)
    if fixed is not None:
        sign, hours, minutes = fixed.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if offset < timedelta(hours=24):
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}") from None

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
from typing import Any

try:
    import homelab_contract as contract
    import homelab_timestamps as timestamps
except ImportError:  # in the project itself, where these modules have other names
    from homelab_platform.wire import contract, timestamps

DAY_US = timestamps.DAY_US
MAX_LINE = contract.MAX_LINE
REMEMBERED = 10_000
REQUIRED = contract.REQUIRED
OPTIONAL_TEXTS = contract.OPTIONAL_TEXTS
PRODUCER_COLUMNS = frozenset(contract.PRODUCER_COLUMNS)

_TEXTS = frozenset(contract.TEXT_COLUMNS)
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
                self._judged(name, contract.required_text, value)
        ts = record.get("ts")
        micros = self._time(ts)
        if micros > latest:
            raise Bad("ts", "ts is more than one day in the future: check the producer's clock")
        value = record.get("value")
        if type(value) is not float or value - value != 0.0:
            _value(value)
        for name in OPTIONAL_TEXTS:
            value = record.get(name)
            if value is not None and value != "" and (type(value) is not str or value not in known):
                self._judged(name, contract.optional_text, value)
        shape = tuple(record)
        if shape not in self._shapes:
            self._columns(record, shape)
        return micros

    def _judged(self, field: str, judge: Any, value: Any) -> None:
        """Let the contract judge a text, and remember one that was fine."""
        try:
            judge(field, value)
        except ValueError as error:
            raise Bad(field, str(error)) from None
        if value is not None and value.strip():
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
            try:
                column = contract.column_name(field)
            except ValueError as error:
                raise Bad(field, str(error)) from None
            if column in seen:
                raise Bad(field, f"two fields would fill the column {column!r}")
            seen[column] = field
        if complete:
            if len(self._shapes) >= REMEMBERED:
                self._shapes.clear()
            named = tuple(name for name in shape if name in _TEXTS)
            self._shapes[shape] = (named, tuple(seen.values()))

    def _time(self, value: Any) -> int:
        """When a reading was taken, in µs; a local time as if it were in UTC, for ingest knows its zone."""
        try:
            return timestamps.to_microseconds(value, zone="+00:00" if self.zoneless else None)
        except ValueError as error:
            raise Bad("ts", str(error)) from None

    def _minute(self, text: str) -> int:
        """The last µs of the minute that `2026-11-21T14:05:` begins. Raises KeyError when it begins none."""
        try:
            last = self._time(f"{text}59.999999Z")
        except Bad:
            raise KeyError(text) from None
        if len(self._minutes) >= REMEMBERED:
            self._minutes.clear()
        self._minutes[text] = last
        return last


def _value(value: Any) -> None:
    try:
        contract.finite_number(value)
    except ValueError as error:
        raise Bad("value", str(error)) from None


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

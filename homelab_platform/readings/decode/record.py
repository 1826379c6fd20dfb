"""What one record must be to count as a reading. The definition: every faster path must agree with it.

Belongs here: checking and converting one decoded record, one JSON line. Not here: bytes to lines (lines), many lines
at once (decode, kernel).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from homelab_platform.wire.contract import (
    MAX_EXTRA_COLUMNS,
    MAX_RAW,
    MAX_STREAM_COLUMNS,
    PRODUCER_COLUMNS,
    QUALITY_OK,
    column_name,
    finite_number,
    optional_text,
    required_text,
)
from homelab_platform.wire.tabular import to_number
from homelab_platform.wire.timestamps import LocalClock, to_microseconds

Extra = str | float | bool


_WIDEST = {"int": 2**31 - 1, "long": 2**53}


_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_FRACTION = re.compile(r"-?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Spelling:
    """How the records of one object spell their values, where it is not as the contract has it.

    `text_numbers`: a value may be a text; `text_cells`: further fields are texts too, with the meaning that they show
    (CSV). `zone`, `pattern` and `clock` are for times without a zone, see to_microseconds.
    """

    text_numbers: bool = False
    text_cells: bool = False
    decimal: str = "."
    zone: str | None = None
    pattern: str | None = None
    clock: LocalClock | None = None


PLAIN = Spelling()


class Row(NamedTuple):
    """One accepted reading; `ts` in microseconds since 1970 UTC."""

    ts: int
    site: str | None
    device: str
    sensor: str
    value: float
    unit: str | None
    quality: str
    extras: dict[str, Extra] | None


class Rejected(NamedTuple):
    """One refused line: its number from 1 (0 for a whole object), why, and its text cut at 8 KiB."""

    line: int
    reason: str
    raw: str


@dataclass
class ExtraColumns:
    """The columns beyond the contract and their kinds: `string`, `double`, `boolean`, or `long` and `int` (declared by
    hand).

    A field not seen before becomes a column of the kind of its first value. Later values of another kind go, as text,
    to the column `<name>_text`, so that neither the column's type nor the value is lost.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # column → stream that brought it, where that is known
    stream: str = ""
    left_out: int = 0  # fields of the object at hand that got no column

    def begin(self, stream: str) -> None:
        """Begin an object of a stream: columns that it adds count against that stream's budget."""
        self.stream, self.left_out = stream, 0

    def name(self, raw: str) -> str:
        """The column name of a field. Raises ValueError with the reason if it is refused."""
        found = self.names.get(raw)
        if found is None:
            found = column_name(raw)
            if len(self.names) < 4096:  # a hostile producer may send a new name in every line
                self.names[raw] = found
        return found

    def place(self, extras: dict[str, Any], spelling: Spelling = PLAIN) -> dict[str, Extra]:
        """Each field's column and stored value, adding columns as needed; all or nothing.

        A field for which the stream has no column left is counted in `left_out`. Raises ValueError with the reason
        when a name is refused or collides.
        """
        placed: dict[str, Extra] = {}
        fresh: dict[str, str] = {}
        names: set[str] = set()
        for raw, value in extras.items():
            if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN comes from Parquet
                continue
            name = self.name(raw)
            if name in names:  # refused whatever their types are, as the door refuses it, which knows no columns
                raise ValueError(f"two fields would fill the column {name!r}")
            names.add(name)
            kind, stored = _kind(_shown(value, spelling.decimal) if spelling.text_cells else value)
            known = self.kinds.get(name) or fresh.get(name)
            if known is None and not self._has_room(len(fresh)):
                self.left_out += 1
                continue
            if known is None:
                fresh[name] = kind
            elif known == "string":
                stored = stored if kind == "string" else _text(value)
            elif not (known == kind or _fits(known, stored)):
                name = f"{name[:58]}_text"
                if name not in self.kinds and name not in fresh and not self._has_room(len(fresh)):
                    self.left_out += 1
                    continue
                if (self.kinds.get(name) or fresh.setdefault(name, "string")) != "string":
                    raise ValueError(f"field {raw[:64]!r} has a value of another type than its column")
                stored = _text(value)
            if name in placed:
                raise ValueError(f"two fields would fill the column {name!r}")
            placed[name] = stored
        if fresh:
            self.kinds.update(fresh)
            self.owners.update(dict.fromkeys(fresh, self.stream))
        return placed

    def _has_room(self, fresh: int) -> bool:
        """Whether the stream, and the table, may have one more column beside `fresh` new ones of this record."""
        own = sum(owner == self.stream for owner in self.owners.values())
        return own + fresh < MAX_STREAM_COLUMNS and len(self.kinds) + fresh < MAX_EXTRA_COLUMNS


def _fits(kind: str, value: Extra) -> bool:
    """Whether a number fits a column of whole numbers that somebody declared."""
    return isinstance(value, float) and value.is_integer() and abs(value) <= _WIDEST.get(kind, -1)


def _kind(value: Any) -> tuple[str, Extra]:
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        exact = isinstance(value, float) or abs(value) <= 2**53  # a wider integer would lose digits as a double
        return ("double", float(value)) if exact and math.isfinite(value) else ("string", _text(value))
    return "string", value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, dict | list | bool | int | float):
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # an integer beyond 64 bits, or a list of things that JSON does not have
            return str(value)
    return str(value)


def cut(raw: bytes, length: int | None = None) -> str:
    """The text of a refused line as it is kept: at most 8 KiB, bytes that are not UTF-8 shown as `\\xNN`."""
    whole = len(raw) if length is None else length
    text = raw[:MAX_RAW].decode("utf-8", "backslashreplace")
    return text if whole <= MAX_RAW else f"{text}… [cut: {whole} bytes]"


def _shown(cell: Any, decimal: str) -> Any:
    """What the text of a further cell shows: a truth value or a number where it reads as one."""
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        return to_number(text, decimal) if _FRACTION.fullmatch(text) else cell
    except ValueError:
        return cell


def read_record(record: dict[str, Any], latest: int, extra: ExtraColumns, spelling: Spelling = PLAIN) -> Row:
    """The reading of one decoded record; `latest` is the last acceptable `ts`.

    Raises ValueError with the reason if it is not a reading.
    """
    device = required_text("device", record.get("device"))
    sensor = required_text("sensor", record.get("sensor"))
    ts = to_microseconds(
        record.get("ts"),
        zone=spelling.zone,
        pattern=spelling.pattern,
        clock=spelling.clock,
        series=(device, sensor),
    )
    if ts > latest:
        raise ValueError("ts is more than one day in the future: check the producer's clock")
    value = _number(record.get("value"), spelling)
    site, unit, quality = (optional_text(name, record.get(name)) for name in ("site", "unit", "quality"))
    extras = None
    if len(record) > 4:
        rest = {k: v for k, v in record.items() if k not in PRODUCER_COLUMNS}
        extras = extra.place(rest, spelling) if rest else None
    return Row(ts, site, device, sensor, value, unit, quality or QUALITY_OK, extras or None)


def read_line(line: bytes, latest: int, extra: ExtraColumns, spelling: Spelling = PLAIN) -> Row:
    """The reading of one NDJSON line. Raises ValueError with the reason if it is not one."""
    return read_record(read_object(line), latest, extra, spelling)


def read_object(line: bytes) -> dict[str, Any]:
    """The JSON object of one line; NUL bytes around it, as a power cut leaves them, are passed over.

    Raises ValueError with the reason if it is none.
    """
    try:
        record = orjson.loads(line.strip(b"\0 \t\r") if b"\0" in line else line)
    except orjson.JSONDecodeError as error:
        if not line.strip(b"\0 \t\r"):
            raise ValueError("NUL bytes where a line should be, as a power cut leaves them") from None
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        raise ValueError(f"not JSON: {str(error).split(': line')[0]}") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


def _number(value: Any, spelling: Spelling) -> float:
    if isinstance(value, str) and spelling.text_numbers:
        if not value.strip():
            raise ValueError("value is missing")
        value = to_number(value, spelling.decimal)
    return finite_number(value)

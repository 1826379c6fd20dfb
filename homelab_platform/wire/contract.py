"""What a reading is: its fields, their limits, the reasons for which one is refused. The only definition.

Belongs here: what can be said of one decoded field without the table. Ingest judges lines by it
(readings/decode/record.py), NiFi's entrance requests (nifi/extensions/homelab_reading.py), and docs/ingest.md shows
`FIELDS` as its table. Not here: times (timestamps.py), the table itself (readings/contract.py). Standard library only,
Python 3.9 or later: NiFi runs this very file beside its processors (servers/nifi.py copies it).
"""

from __future__ import annotations

import math
import re

REQUIRED = ("device", "sensor", "ts", "value")
"""Fields that every reading has, in the order in which they are judged."""
OPTIONAL_TEXTS = ("site", "unit", "quality")
PRODUCER_COLUMNS = ("ts", "site", "device", "sensor", "value", "unit", "quality")
"""Columns that a producer may fill."""
PLATFORM_COLUMNS = ("date", "source", "ingested_at")
"""Columns that only the platform fills: a producer's field of that name is refused rather than silently overwritten."""
TEXT_COLUMNS = ("site", "device", "sensor", "unit", "quality")
CONTRACT_COLUMNS = (*PRODUCER_COLUMNS, *PLATFORM_COLUMNS)

QUALITY_OK = "ok"
QUALITY_OUT_OF_RANGE = "out_of_range"
QUALITY_SIMULATED = "simulated"

MAX_TEXT = 255  # characters of site, device, sensor, unit, quality
MAX_LINE = 1024 * 1024  # bytes of one NDJSON line or CSV row
MAX_RAW = 8 * 1024  # bytes of a rejected line that are kept
MAX_COLUMN_NAME = 63
MAX_EXTRA_COLUMNS = 256  # columns beyond the contract, over the whole table
MAX_STREAM_COLUMNS = 32  # columns that one stream may add; further fields are left out, and counted
OLDEST_DAYS = 5 * 365 + 1  # age of what arrives by itself; files that people bring may hold older readings
DAYS_PER_OBJECT = 62  # days that an object that arrives by itself may hold readings of
DAYS_PER_FILE = 10_000  # the same for a file that somebody brings
REJECTED_PER_OBJECT = 10_000  # refused lines of one object that are kept; more are counted
FUTURE_TOLERANCE_SECONDS = 86_400  # a reading later than this after its ingest has a wrong clock

FIELDS = (
    (("device", "sensor"), f"text, not blank, at most {MAX_TEXT} characters"),
    (
        ("ts",),
        "RFC 3339 with a zone, or an epoch number in s, ms, µs or ns (its size tells which); cut to microseconds; not"
        " in 1970 (a clock that was never set), not before 1900, not more than a day in the future. Without a zone it"
        " is refused, unless its stream has a `tz`",
    ),
    (
        ("value",),
        "a finite JSON number. A number in quotes and a boolean are refused: a producer that sends them has a fault"
        " worth seeing. In files of text, where everything is text, a number is one",
    ),
    (
        OPTIONAL_TEXTS,
        f"text of at most {MAX_TEXT} characters, or absent. No quality means `{QUALITY_OK}`; a value outside its"
        f" sensor's range becomes `{QUALITY_OUT_OF_RANGE}`; `{QUALITY_SIMULATED}` stays",
    ),
    (("any other field",), "a column (below)"),
)
"""What each field must be, in words."""

_UNFIT = re.compile(r"[^a-z0-9_]+")


def rendered() -> str:
    """`FIELDS` as the table of docs/ingest.md."""
    rows = ["| field | must be |", "|---|---|"]
    for names, text in FIELDS:
        shown = ", ".join(name if " " in name else f"`{name}`" for name in names)
        rows.append(f"| {shown} | {text} |")
    return "\n".join(rows)


def required_text(name: str, value: object) -> str:
    """A text that must be there. Raises ValueError with the reason."""
    if value is None:
        raise ValueError(f"{name} is missing")
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"{name} is empty")
    return bounded_text(name, value)


def optional_text(name: str, value: object) -> str | None:
    """A text that may be absent or empty, which is None. Raises ValueError with the reason."""
    return None if value is None or value == "" else bounded_text(name, value)


def bounded_text(name: str, value: object) -> str:
    """A text within the limits. Raises ValueError with the reason."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{name} is longer than {MAX_TEXT} characters")
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character")
    return value


def finite_number(value: object) -> float:
    """The value of a reading from a decoded JSON value. Raises ValueError with the reason."""
    if isinstance(value, str):
        raise ValueError("value is a text, not a number")
    if value is None:
        raise ValueError("value is missing")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("value is not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("value is not finite") from None
    if not math.isfinite(number):
        raise ValueError("value is not finite")
    return number


def column_name(field: str) -> str:
    """The column that a producer's further field becomes: lower case, `[a-z0-9_]`, at most 63 characters.

    Raises ValueError with a reason when the name is empty, reserved or cannot be made into one.
    """
    name = _UNFIT.sub("_", field.strip().lower()).strip("_")[:MAX_COLUMN_NAME]
    if not name:
        raise ValueError(f"field {field[:64]!r} cannot be made into a column name")
    if name[0].isdigit():
        name = f"_{name}"[:MAX_COLUMN_NAME]
    if name in CONTRACT_COLUMNS:
        raise ValueError(f"field {field[:64]!r} would become the reserved column {name!r}")
    return name

"""A statement in the text that one engine needs, and the words in which both engines' errors are told.

Belongs here: what is put into the text for DuckDB and for Trino. Not here: functions that DuckDB is taught
(meanings.py), what is refused (refusals.py).
"""

from __future__ import annotations

import re

from homelab_platform.errors import Position
from homelab_platform.readings.query.refusals import REMEDIES
from homelab_platform.readings.query.statement import ZONED, Statement

_WHOLE = {"TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"}
_LONG_UNITS = {"DAY", "DAYS", "WEEK", "WEEKS", "MONTH", "MONTHS", "YEAR", "YEARS", "QUARTER", "QUARTERS"}


def for_duckdb(sql: str) -> str:
    """The statement in which casts round, instants have zones and maxima keep NULL as Trino does it."""
    s = Statement(sql)
    edits: list[tuple[int, int, str]] = []
    for number, as_, _ in s.casts():
        around = _around(s.at(number).upper, s.at(as_ + 1).upper)
        if around and s.at(number + 2).upper != "NULL":
            edits += [(s.at(number + 1).end,) * 2 + (around,), (s.at(as_).start,) * 2 + (") ",)]
    for number, token in enumerate(s.tokens):
        called = s.at(number + 1).upper == "("
        if token.upper in _RENAMED and called:
            edits.append((token.start, token.end, _RENAMED[token.upper]))
        if token.upper == "TIMESTAMP" and s.at(number + 1).kind == "text" and ZONED.search(s.at(number + 1).text):
            zone = s.at(number + 1)
            edits.append((token.start, zone.end, "TIMESTAMPTZ " + re.sub(r" (?=[+-]\d)", "", zone.text)))
    for begin, end in s.dates():
        if s.at(end).upper in {"+", "-"} and s.words(end + 1, "INTERVAL") and s.at(end + 3).upper in _LONG_UNITS:
            first = begin - 2 if s.at(begin - 1).upper == "." else begin
            edits += [(s.at(first).start,) * 2 + ("CAST(",), (s.at(end + 3).end,) * 2 + (" AS DATE)",)]
    return s.replaced(edits)


def _around(name: str, kind: str) -> str:
    if kind in _WHOLE:
        return "homelab_maybe_whole(" if name == "TRY_CAST" else "homelab_whole("
    if kind in {"DECIMAL", "NUMERIC"}:
        return "homelab_exact("
    return "homelab_text(" if kind in {"VARCHAR", "TEXT", "STRING"} else ""


_RENAMED = {
    "EVERY": "bool_and",
    "MAX_BY": "arg_max_null",
    "MIN_BY": "arg_min_null",
    "ARG_MAX": "arg_max_null",
    "ARG_MIN": "arg_min_null",
}


def for_trino(sql: str) -> str:
    """The statement in which a cast to timestamp keeps microseconds, as DuckDB does it."""
    s = Statement(sql)
    edits = [
        (s.at(as_ + 1).end, s.at(as_ + 1).end, "(6)")
        for _, as_, _ in s.casts()
        if s.at(as_ + 1).upper == "TIMESTAMP" and s.at(as_ + 2).upper != "("
    ]
    return s.replaced(edits)


_OPERATOR = re.compile(r"Cannot apply operator: (.+) (=|<>|<|<=|IS DISTINCT FROM) (.+)$")


def with_typed_text(sql: str, fault: str, place: Position) -> str | None:
    """The statement with the text beside the operator that Trino refused, in the type of the operator's other side;
    None if it compares something else than a date or time with a text.
    """
    found = _OPERATOR.search(fault)
    sides = [found[1], found[3]] if found else []
    others = [side for side in sides if not side.startswith("varchar")]
    if len(others) != 1 or not others[0].startswith(("date", "timestamp")):
        return None
    s = Statement(sql)
    begin = sum(len(part) + 1 for part in sql.split("\n")[: place.line - 1]) + place.column - 1
    for number, token in enumerate(s.tokens):
        if token.start == begin:
            beside = [s.at(number + i) for i in (1, -1) if s.at(number + i).kind == "text"]
            if beside:
                return s.replaced([(beside[0].start, beside[0].end, f"CAST({beside[0].text} AS {others[0]})")])
    return None


# The same words for the same fault

_OUT_OF_RANGE = "Cast an operand to bigint or double."
_FAULTS: tuple[tuple[str, str, str], ...] = (
    (r"Division by zero", "division by zero", "Write nullif(x, 0) for the divisor."),
    (r"Overflow in|\w+ (addition|subtraction|multiplication) overflow", "a number is out of range", _OUT_OF_RANGE),
    (r"out of range for the destination|^Out of range for", "a number is out of range", _OUT_OF_RANGE),
    (
        r"Could not c(ast|onvert)|Cannot cast|cannot be cast|[Ii]nvalid input.*cast|field value",
        "a value cannot be cast",
        "TRY_CAST gives NULL where a value cannot be cast.",
    ),
    (
        r"More than one row returned|has returned multiple rows",
        "a subquery gives more than one row",
        "Add LIMIT 1 or an aggregate.",
    ),
    *((re.escape(fault), fault, remedy) for fault, remedy in REMEDIES.items()),
)
SHARED_REMEDIES = frozenset(remedy for _, _, remedy in _FAULTS)
"""What a person is told whichever engine answered."""


def out_of_range(column: str) -> tuple[str, str]:
    """Fault and remedy of a sum that no bigint holds."""
    return f"a number is out of range: {column} is greater than a bigint", _OUT_OF_RANGE


def same_words(fault: str) -> tuple[str, str] | None:
    """Fault and remedy in the words of both engines; None for what each says in its own."""
    for pattern, words, remedy in _FAULTS:
        if re.search(pattern, fault):
            detail = "" if words in REMEDIES or words == "division by zero" else f": {fault}"
            return words + detail, remedy
    return None

"""What each engine would answer differently and neither can be taught: refused by both, with what to write instead.

Belongs here: the rules, read off the statement's tokens. Not here: what is written anew (portable.py) or taught
(meanings.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from homelab_platform.readings.query.meanings import DECIMAL_DIVISION, DOUBLE_TEXT
from homelab_platform.readings.query.statement import ZONED, Statement, Token
from homelab_platform.wire.contract import CONTRACT_COLUMNS

REMEDIES = {
    DECIMAL_DIVISION: "Make one side a double: write 3e0, or CAST(x AS double).",
    DOUBLE_TEXT: "Write CAST(CAST(x AS decimal(18, 3)) AS varchar).",
}
_LOCAL = {
    *("HOUR", "MINUTE", "SECOND", "DAY", "MONTH", "YEAR", "WEEK", "QUARTER", "EXTRACT", "CAST", "DATE_FORMAT"),
    *("DAY_OF_WEEK", "DAY_OF_YEAR", "DATE_PART", "STRFTIME", "TRY_CAST", "ISODOW"),
}
"""Functions to which a moment at a time zone is its local time in both engines."""
_COMPARES = {"=", "<>", "!=", "<", ">", "<=", ">="}
_SHORT_UNITS = {"HOUR", "MINUTE", "SECOND", "HOURS", "MINUTES", "SECONDS"}
_DAYS_OF_WEEK = {"DOW", "DAYOFWEEK", "WEEKDAY"}


def refuse_ambiguous(sql: str) -> None:
    """Raise HomelabError at the place of what the engines answer differently, with what to write instead."""
    statement = Statement(sql)
    for rule in _RULES:
        rule(statement)


def _functions(s: Statement) -> None:
    for number in s.calls("MEDIAN"):
        raise s.refuse(number, "median is known to one engine only", "Write approx_percentile(x, 0.5).")
    for number in s.calls("NAN"):
        raise s.refuse(number, "NaN equals itself in one engine only", "Use NULL for what is no number.")
    for number in s.calls("DAYOFWEEK", "WEEKDAY"):
        raise s.refuse(number, "days of the week begin with another number in each engine", "Write day_of_week(x).")
    for number in s.calls("LOG"):
        inside = range(number + 2, s.closing[number + 1])
        if not any(s.tokens[i].upper == "," and s.opener[i] == number + 1 for i in inside):
            raise s.refuse(number, "log of one number has another base in each engine", "Write log10(x) or ln(x).")
    for number in s.calls("EXTRACT", "DATE_PART"):
        part = s.at(number + 2)
        if part.text.strip("'").upper() in _DAYS_OF_WEEK:
            raise s.refuse(
                number + 2, "days of the week begin with another number in each engine", "Write day_of_week(x)."
            )


def _casts(s: Statement) -> None:
    for number, as_, closing in s.casts():
        kind = s.at(as_ + 1).upper
        if kind == "JSON":
            raise s.refuse(as_ + 1, "a text cast to JSON is parsed by one engine only", "Write json_parse(x).")
        if kind == "CHAR":
            raise s.refuse(as_ + 1, "char(n) keeps its blanks in one engine only", "Write varchar.")
        if kind == "VARCHAR" and s.at(as_ + 2).upper == "(":
            raise s.refuse(as_ + 1, "varchar(n) cuts in one engine only", "Write substr(x, 1, n).")
        operand = s.tokens[number + 2 : as_]
        if kind == "VARCHAR" and closing == as_ + 2 and len(operand) == 1 and _is_double(operand[0]):
            raise s.refuse(number, DOUBLE_TEXT, REMEDIES[DOUBLE_TEXT])


def _is_double(token: Token) -> bool:
    return token.upper == "VALUE" or (token.kind == "number" and "e" in token.text.lower())


def _numbers(s: Statement) -> None:
    for _, as_, closing in s.casts():
        if s.at(as_ + 1).upper == "DECIMAL" and s.at(closing + 1).upper == "/" and "e" not in s.at(closing + 2).text:
            raise s.refuse(closing + 1, DECIMAL_DIVISION, REMEDIES[DECIMAL_DIVISION])
    for number, token in enumerate(s.tokens):
        left, right = s.at(number - 1), s.at(number + 1)
        if token.upper == "/" and left.kind == right.kind == "number":
            exact = [x for x in (left, right) if "e" not in x.text.lower()]
            if len(exact) == 2 and any("." in x.text for x in exact):
                raise s.refuse(number, DECIMAL_DIVISION, REMEDIES[DECIMAL_DIVISION])
        if token.upper in _COMPARES and {left.kind, right.kind} == {"text", "number"}:
            raise s.refuse(number, "a text is compared with a number", "Write both in the same type.")


def _subscripts(s: Statement) -> None:
    for number, token in enumerate(s.tokens):
        before = s.at(number - 1)
        if token.upper != "[" or s.at(number + 1).upper == "]":
            continue
        if before.upper in {")", "]"} or before.kind == "name" or (before.kind == "word" and before.upper != "ARRAY"):
            raise s.refuse(
                number,
                "a subscript beyond the end is an error in one engine, NULL in the other",
                "Write element_at(x, n).",
            )


def _clauses(s: Statement) -> None:
    for number, token in enumerate(s.tokens):
        if s.words(number, "ASOF"):
            raise s.refuse(
                number, "ASOF JOIN is known to one engine only", "Write max_by(value, ts) of what is before."
            )
        if token.upper == "QUALIFY" and any(t.upper in {"ORDER", "LIMIT"} for t in s.tokens[number:]):
            raise s.refuse(number, "QUALIFY loses the order of rows in one engine", "Write a subquery with WHERE.")
        if s.words(number, "GROUP", "BY", "ALL"):
            raise s.refuse(number + 2, "GROUP BY ALL is known to one engine only", "Name the columns: GROUP BY 1, 2.")
        if token.upper == "*" and s.at(number + 1).upper in {"EXCLUDE", "EXCEPT", "REPLACE"}:
            if s.at(number + 2).upper != "(":
                continue
            raise s.refuse(number + 1, "* EXCLUDE is known to one engine only", "Name the columns.")


def _aliases(s: Statement) -> None:
    """Names of the select list in WHERE, HAVING and GROUP BY, unless they may be columns as well."""
    for begin, token in enumerate(s.tokens):
        if token.upper != "SELECT":
            continue
        level = s.opener[begin]
        clause, named = "SELECT", set[str]()
        sources: set[str] = {name.upper() for name in CONTRACT_COLUMNS}
        for number in range(begin + 1, len(s.tokens)):
            word = s.at(number)
            if s.opener[number] != level and clause in {"SELECT", "FROM"}:
                if clause == "FROM" and word.kind == "word":
                    sources.add(word.upper)
                continue
            if level is not None and number == s.closing.get(level):
                break
            if s.opener[number] == level and word.upper in _CLAUSES:
                clause = word.upper
                if clause in _ENDS:
                    break
            elif clause == "SELECT" and s.at(number - 1).upper == "AS" and word.kind == "word":
                named.add(word.upper)
            elif clause in {"WHERE", "HAVING", "GROUP"} and _is_bare(s, number) and word.upper in named - sources:
                remedy = "Write its expression." if clause != "GROUP" else "Write its number: GROUP BY 1."
                raise s.refuse(number, f"{word.text} is a name of the select list, not a column", remedy)


_CLAUSES = {"SELECT", "FROM", "WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "QUALIFY"}
_ENDS = {"ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "QUALIFY"}


def _is_bare(s: Statement, number: int) -> bool:
    token = s.at(number)
    return token.kind == "word" and s.at(number - 1).upper != "." and s.at(number + 1).upper not in {"(", "."}


def _times(s: Statement) -> None:
    for number, token in enumerate(s.tokens):
        following = s.at(number + 1)
        if token.upper == "INTERVAL" and following.kind == "text" and re.search("[a-zA-Z]", following.text):
            raise s.refuse(number, "an interval in words is known to one engine only", "Write INTERVAL '3' DAY.")
        if s.words(number, "AT", "TIME", "ZONE"):
            _zone(s, number)


def _zone(s: Statement, number: int) -> None:
    if s.at(number - 2).upper == "TIMESTAMP" and not ZONED.search(s.at(number - 1).text):
        raise s.refuse(
            number, "a time without a zone moves another way in each engine", "Write with_timezone(x, 'Europe/Berlin')."
        )
    bracket = s.opener[number]
    cast = bracket is not None and s.at(s.closing.get(bracket, -2) + 1).upper == "::"
    if not cast and (bracket is None or s.at(bracket - 1).upper not in _LOCAL):
        raise s.refuse(
            number,
            "AT TIME ZONE gives a local time in one engine, an instant in the other",
            "Write CAST(x AT TIME ZONE 'Europe/Berlin' AS timestamp).",
        )


def _dates(s: Statement) -> None:
    for _, end in s.dates():
        sign, following = s.at(end), s.at(end + 1)
        if sign.upper not in {"+", "-"}:
            continue
        if following.kind == "number":
            raise s.refuse(end, "a date and a number cannot be added", "Write INTERVAL '1' DAY.")
        if following.upper == "INTERVAL" and s.at(end + 3).upper in _SHORT_UNITS:
            raise s.refuse(end, "hours, minutes or seconds cannot be added to a date", "Cast it to a timestamp.")
        if sign.upper == "-" and any(other == end + 1 for other, _ in s.dates()):
            raise s.refuse(
                end, "the difference of dates is a number in one engine only", "Write date_diff('day', a, b)."
            )


def _cases(s: Statement) -> None:
    for number, token in enumerate(s.tokens):
        if token.upper != "CASE":
            continue
        kinds = {
            s.at(i + 1).kind
            for i in range(number, len(s.tokens))
            if s.opener[i] == s.opener[number]
            and s.at(i).upper in {"THEN", "ELSE"}
            and s.at(i + 2).upper in {"WHEN", "ELSE", "END"}
        }
        if {"text", "number"} <= kinds:
            raise s.refuse(number, "CASE gives texts and numbers", "Cast them to the same type.")


_RULES: tuple[Callable[[Statement], None], ...] = (
    _functions,
    _casts,
    _numbers,
    _subscripts,
    _clauses,
    _aliases,
    _times,
    _dates,
    _cases,
)

"""What DuckDB is taught so that a name means there what it means to Trino: functions and operators as macros.

Belongs here: the macros that a query's connection gets. Where both engines know a name and mean different things,
Trino's meaning holds: it is the SQL standard's more often. Not here: what is refused or written anew in the statement
(portable.py).

DuckDB's own function stays reachable as `system.main.<name>`. A macro has one body for all types (DuckDB chooses among
typed variants before it knows the types of aggregates), and branches on `typeof`, which costs nothing per row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DIVISION_BY_ZERO = "Division by zero"
DECIMAL_DIVISION = "a division of decimals has other digits in each engine"
DOUBLE_TEXT = "a double as text has another form in each engine"

_FLOATS = "('DOUBLE', 'FLOAT')"
_UNITS = ("millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")
_LETTERS = "abcdefgh"


def _own(name: str, arguments: str) -> str:
    return f'system.main."{name}"({arguments})'


def _variants(least: int, most: int, body: str, *, nulls: bool = False, first: str = "") -> str:
    """One variant for each number of arguments: `{0}` in the body is their list, `{1}` their concatenation.

    `nulls`: NULL when any argument is NULL.
    """
    made = []
    for count in range(least, most + 1):
        given = ", ".join(_LETTERS[:count])
        inner = body.format(given, " || ".join(_LETTERS[:count]))
        if nulls:
            inner = f"CASE WHEN {' OR '.join(f'{x} IS NULL' for x in _LETTERS[:count])} THEN NULL ELSE {inner} END"
        made.append(f"({first}{given}) AS {inner}")
    return ", ".join(made)


_EXACT = " OR ".join(
    f"(typeof({x}) LIKE 'DECIMAL%' AND typeof({y}) NOT IN {_FLOATS})" for x, y in (("a", "b"), ("b", "a"))
)
_NOT_ZERO = f"CASE WHEN b = 0 THEN error('{DIVISION_BY_ZERO}') ELSE b END"
_OPERATORS = (
    f"\"/\"(a, b) AS CASE WHEN {_EXACT} THEN error('{DECIMAL_DIVISION}')"
    f" WHEN typeof(divide(a, b)) IN {_FLOATS} AND b = 0 THEN cast_to_type({_own('/', 'a, b')}, divide(a, b))"
    f" ELSE divide(a, CASE WHEN typeof(b) IN {_FLOATS} THEN b ELSE {_NOT_ZERO} END) END",
    *(
        f"{name}(a, b) AS CASE WHEN b = 0 AND typeof({_own('%', 'a, b')}) NOT IN {_FLOATS}"
        f" THEN error('{DIVISION_BY_ZERO}') ELSE {_own('%', 'a, b')} END"
        for name in ('"%"', "mod")
    ),
)
_STEPS = " ".join(f"WHEN '{unit}' THEN to_{unit}s(n)" for unit in _UNITS)
_STEP = f"CASE lower(part) {_STEPS} END"
_DATES = (
    f"date_trunc(part, t) AS cast_to_type({_own('date_trunc', 'part, t')}, t)",
    f"date_diff(part, a, b) AS {_own('date_sub', 'part, a, b')}",
    f"date_add(t, i) AS {_own('date_add', 't, i')}, (part, n, t) AS cast_to_type(t + {_STEP}, t)",
    "with_timezone(t, zone) AS timezone(zone, t)",
)
_NUMBERS = (
    f"sign(x) AS cast_to_type({_own('sign', 'x')}, x)",
    f"sqrt(x) AS CASE WHEN x < 0 THEN 'NaN'::DOUBLE ELSE {_own('sqrt', 'x')} END",
    *(
        f"{name}(x) AS CASE WHEN x < 0 THEN 'NaN'::DOUBLE WHEN x = 0 THEN '-Infinity'::DOUBLE"
        f" ELSE {_own(name, 'x')} END"
        for name in ("ln", "log10", "log2")
    ),
    "width_bucket(x, low, high, n) AS CASE WHEN x < low THEN 0 WHEN x >= high THEN n + 1"
    f" ELSE CAST(floor({_own('/', '(x - low) * n, high - low')}) AS BIGINT) + 1 END",
    *(f"{name}{_variants(2, 6, _own(name, '{0}'), nulls=True)}" for name in ("greatest", "least")),
)
_GROUPS = r"system.main.regexp_replace(r, '\$([0-9])', '\\\1', 'g')"
_TEXT = (
    f"upper(s) AS replace({_own('upper', 'replace(s, chr(223), chr(57344))')}, chr(57344), chr(223))",
    *(
        f"{name}(s, n) AS CASE WHEN n = 0 THEN '' ELSE {_own(name, 's, n')} END,"
        f" (s, n, m) AS CASE WHEN n = 0 THEN '' ELSE {_own(name, 's, n, m')} END"
        for name in ("substr", "substring")
    ),
    f"split_part(s, d, n) AS CASE WHEN n <= len(string_split(s, d)) THEN {_own('split_part', 's, d, n')} END",
    f"regexp_extract(s, p) AS CASE WHEN regexp_matches(s, p) THEN {_own('regexp_extract', 's, p')} END,"
    f" (s, p, n) AS CASE WHEN regexp_matches(s, p) THEN {_own('regexp_extract', 's, p, n')} END",
    "regexp_replace(s, p) AS system.main.regexp_replace(s, p, '', 'g'),"
    f" (s, p, r) AS system.main.regexp_replace(s, p, {_GROUPS}, 'g')",
    "codepoint(s) AS CAST(unicode(s) AS INTEGER)",
    f"concat{_variants(2, 8, '{1}')}",
    f"format{_variants(1, 8, 'printf(f0, {0})', first='f0, ')}",
)
_NESTED = (
    "json_extract_scalar(j, p) AS CASE WHEN json_type(CASE WHEN json_valid(j) THEN j END, p)"
    " NOT IN ('OBJECT', 'ARRAY') THEN json_extract_string(CASE WHEN json_valid(j) THEN j END, p) END",
    "element_at(x, k) AS x[k]",
    "slice(x, a, n) AS list_slice(x, a, a + n - 1)",
    "array_position(x, v) AS CASE WHEN x IS NULL OR v IS NULL THEN NULL ELSE"
    " coalesce(CAST(list_position(x, v) AS BIGINT), 0) END",
)
_WHOLE = r"regexp_full_match(CAST(x AS VARCHAR), '\s*[+-]?[0-9]+\s*')"
_NO_WHOLE = "error('Could not convert string ' || chr(39) || CAST(x AS VARCHAR) || chr(39) || ' to INTEGER')"
_ROUNDED = f"WHEN typeof(x) IN {_FLOATS} THEN cast_to_type({_own('round', 'TRY_CAST(x AS DOUBLE)')}, x) ELSE x END"
_ZONE = r"system.main.regexp_replace(CAST(x AS VARCHAR), '\+00$', ' UTC')"
_CASTS = (  # what portable.py puts around the operand of a cast
    f"homelab_whole(x) AS CASE WHEN typeof(x) = 'VARCHAR' AND NOT {_WHOLE} THEN {_NO_WHOLE} {_ROUNDED}",
    f"homelab_maybe_whole(x) AS CASE WHEN typeof(x) = 'VARCHAR' AND NOT {_WHOLE} THEN NULL {_ROUNDED}",
    "homelab_exact(x) AS CAST(x AS VARCHAR)",  # its shortest digits, not its binary ones
    f"homelab_text(x) AS CASE WHEN typeof(x) IN {_FLOATS} THEN error('{DOUBLE_TEXT}')"
    f" WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE' THEN {_ZONE} ELSE CAST(x AS VARCHAR) END",
)
MACROS = (*_OPERATORS, *_DATES, *_NUMBERS, *_TEXT, *_NESTED, *_CASTS)


def teach(connection: DuckDBPyConnection) -> None:
    """Give the connection Trino's meanings. They hold for its current schema, and for this connection only."""
    connection.execute("".join(f"CREATE MACRO {macro};" for macro in MACROS))

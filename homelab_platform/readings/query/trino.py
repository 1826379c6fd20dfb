"""The same query by Trino: what may be run, both dialects, and errors as the other engine words them.

Belongs here: `run_on_trino`, the counterpart of query.run_query. Not here: the client (tools/trino/client.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.readings.query import portable, refusals
from homelab_platform.readings.query.run import suggestion
from homelab_platform.tools.endpoints import TrinoEndpoint
from homelab_platform.tools.trino import client as trino
from homelab_platform.tools.trino.client import TrinoFailed, TrinoResult

READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "(", "SHOW", "DESCRIBE", "DESC"})
"""How a statement begins that only reads, in Trino's grammar (SqlBase.g4)."""
OTHER_DIALECT = frozenset({"FROM", "PIVOT", "UNPIVOT", "SUMMARIZE"})
"""How reading statements begin that only DuckDB knows."""
_EXPLAIN = re.compile(r"^\s*explain(\s+analyze)?(\s+verbose)?(\s*\(\s*(type|format)\b[^)]*\))?\s+", re.IGNORECASE)
"""What stands before the statement that is explained; EXPLAIN ANALYZE runs it."""
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_FIRST = re.compile(r"\s*(\(|\w+)")
_MAY_BE_DIALECT = frozenset(
    {"SYNTAX_ERROR", "FUNCTION_NOT_FOUND", "TYPE_MISMATCH", "NOT_SUPPORTED", "INVALID_FUNCTION_ARGUMENT"}
)
_QUOTED = re.compile(r"'([^']+)'")


def run_on_trino(
    endpoint: TrinoEndpoint, sql: str, *, limit: int | None = None, timeout: float | None = None
) -> TrinoResult:
    """Run one reading statement and return its rows as a stream, as query.run_query does it on DuckDB.

    What Trino does not understand is tried once more as DuckDB's dialect. `limit` bounds the rows returned, `timeout`
    is in seconds. Raises HomelabError that points at line and column for whatever is wrong with the statement.
    """
    text = one_statement(sql)
    refusals.refuse_ambiguous(text)
    try:
        return _typed(endpoint, text, limit, timeout)
    except TrinoFailed as error:
        meaning = _explained(endpoint, error)
        translated = _from_duckdb(text) if error.name in _MAY_BE_DIALECT else None
        if translated is None:
            raise meaning from None
    try:
        return _typed(endpoint, one_statement(translated), limit, timeout)
    except TrinoFailed as error:
        raise (meaning if error.name in _MAY_BE_DIALECT else _explained(endpoint, error)) from None


def _typed(endpoint: TrinoEndpoint, sql: str, limit: int | None, timeout: float | None) -> TrinoResult:
    """Run a statement; a text that it compares with a date or time is read as one, as DuckDB does it."""
    sql = portable.for_trino(sql)
    while True:
        try:
            return _open(endpoint, sql, limit, timeout)
        except TrinoFailed as error:
            place, fault = error.problems[0].where, error.problems[0].what
            typed = portable.with_typed_text(sql, fault, place) if isinstance(place, Position) else None
            if typed is None:
                raise
            sql = typed


class _Result(TrinoResult):
    """The rows; what fails while they are read is told in the words of both engines."""

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of Python values. Raises HomelabError if the query fails half way."""
        try:
            yield from super().rows
        except TrinoFailed as error:
            raise _in_same_words(error) from None


def _open(endpoint: TrinoEndpoint, sql: str, limit: int | None, timeout: float | None) -> TrinoResult:
    connection = trino.connect(endpoint)
    try:
        return _Result(connection, endpoint, sql, limit, timeout)
    except BaseException:
        connection.close()
        raise


def _in_same_words(error: TrinoFailed) -> HomelabError:
    shared = portable.same_words(error.problems[0].what)
    return error if shared is None else HomelabError.of("query", *shared)


def one_statement(sql: str) -> str:
    """The statement without the semicolon that Trino does not take. Raises HomelabError unless it is exactly one, and
    one that only reads.
    """
    from sqlglot.errors import TokenError
    from sqlglot.tokens import Tokenizer

    try:
        found = Tokenizer(dialect="trino").tokenize(sql)
    except TokenError:
        return sql  # running it gives the better message
    parts: list[list[Any]] = [[]]
    for token in found:
        if token.token_type.name == "SEMICOLON":
            parts.append([])
        else:
            parts[-1].append(token)
    statements = [part for part in parts if part]
    if not statements:
        raise HomelabError.of("query", "there is no statement in it", "Write one, e.g. SELECT * FROM sensor_data.")
    for statement in statements:
        _refuse_writes(sql[statement[0].start : statement[-1].end + 1])
    if len(statements) > 1:
        raise HomelabError.of("query", f"{len(statements)} statements were given", "Run one statement at a time.")
    return sql[: statements[0][-1].end + 1]


def _refuse_writes(statement: str) -> None:
    explained = _EXPLAIN.sub("", statement, count=1)
    found = _FIRST.match(_COMMENT.sub(" ", explained))
    kind = found[1].upper() if found else ""
    if kind not in READING | OTHER_DIALECT:
        raise HomelabError.of(
            "query",
            f"{kind or 'this'} is refused: SQL only reads here",
            "Readings enter through `homelab ingest`; tables change with the lab file and `homelab apply`.",
        )


def _from_duckdb(sql: str) -> str | None:
    """The statement in Trino's words if it is valid in DuckDB's dialect and differs; else None."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        made = sqlglot.transpile(sql, read="duckdb", write="trino", unsupported_level=sqlglot.ErrorLevel.IGNORE)
    except SqlglotError:
        return None
    return made[0] if len(made) == 1 and made[0] != sql else None


# What was meant


def _explained(endpoint: TrinoEndpoint, error: TrinoFailed) -> HomelabError:
    """The error with what was meant, looked up where the name does not exist. Only what this user may see counts."""
    problem = error.problems[0]
    named = _QUOTED.search(problem.what)
    if named is None or error.name not in _LOOKED_UP:
        return _in_same_words(error)
    try:
        return _LOOKED_UP[error.name](endpoint, problem.where, named[1])
    except HomelabError:
        return error  # the server went away meanwhile: what it said first is what matters


def _no_table(endpoint: TrinoEndpoint, place: Position | str, name: str) -> HomelabError:
    short = name.removeprefix(f"{endpoint.catalog}.")
    shown = short.removeprefix("default.")
    rows = trino.execute(
        endpoint,
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema <> 'information_schema' ORDER BY 1",
    )
    tables = [str(row[0]) for row in rows]
    if not tables:
        return HomelabError.of(
            place, f"no table {shown}: the lake has no tables yet", "Make them with `homelab apply`."
        )
    closest = suggestion(shown, tables)
    return HomelabError.of(place, f"no table {shown}", closest or f"There are: {', '.join(tables)}.")


def _no_column(endpoint: TrinoEndpoint, place: Position | str, name: str) -> HomelabError:
    rows = trino.execute(
        endpoint,
        "SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema <> 'information_schema'",
    )
    columns = sorted(str(row[0]) for row in rows)
    listed = suggestion(name, columns) or "`DESCRIBE <table>` lists its columns."
    return HomelabError.of(place, f"no column {name}", listed)


def _no_function(endpoint: TrinoEndpoint, place: Position | str, name: str) -> HomelabError:
    functions = sorted({str(row[0]) for row in trino.execute(endpoint, "SHOW FUNCTIONS")})
    return HomelabError.of(place, f"no function {name}", suggestion(name, functions))


_LOOKED_UP = {
    "TABLE_NOT_FOUND": _no_table,
    "SCHEMA_NOT_FOUND": _no_table,
    "COLUMN_NOT_FOUND": _no_column,
    "FUNCTION_NOT_FOUND": _no_function,
}

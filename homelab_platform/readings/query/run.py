"""Running one person's query: the result as a stream of rows, and errors that point into the query.

Belongs here: `run_query`, the fallback from Trino's dialect, deadlines, and what an engine error means to a person.
Not here: how DuckDB sees the lake (tools/duckdb.py), the same query by Trino
(tools/trino/client.py), or how rows are printed (output.py).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.readings.query import meanings, portable, refusals
from homelab_platform.tools.duckdb import MEMORY_LIMIT, StateGone, connect, refuse_writes, restrict
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.interrupts import ctrl_c

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

BATCH = 2048  # rows fetched at a time; DuckDB's own vector size
WIDEST = 2**63 - 1  # the greatest whole number of both engines' bigint
_WIDE = re.compile(r"\bU?HUGEINT\b|\bU(BIG|SMALL|TINY)?INT(EGER)?\b")  # DuckDB's own whole numbers
NEAR = 60  # similarity in percent from which a name is offered as what was meant


class QueryResult:
    """The rows of one query, fetched as they are asked for; they can be read once. Close it or use it with `with`."""

    def __init__(self, connection: DuckDBPyConnection, sql: str, *, ran: str, limit: int | None, clock: _Clock) -> None:
        self._connection = connection
        self._sql = sql
        self._limit = limit
        self._clock = clock
        self.ran = ran  # the statement that the engine ran: `sql`, or its translation from Trino's dialect
        self.truncated = False  # after reading: whether `limit` held rows back
        described = connection.description or []
        self.columns: tuple[str, ...] = tuple(str(column[0]) for column in described)
        kinds = tuple(str(column[1]) for column in described)
        self.types: tuple[str, ...] = tuple(_WIDE.sub("BIGINT", kind) for kind in kinds)
        self._wide = [number for number, kind in enumerate(kinds) if kind == "HUGEINT"]  # sums, which Trino bounds

    def __enter__(self) -> QueryResult:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.rows

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of Python values. Raises HomelabError if the engine fails half way."""
        left = self._limit
        while rows := self._fetch(BATCH if left is None else min(BATCH, left + 1)):
            if left is not None:
                self.truncated = len(rows) > left
                rows = rows[:left]
                left -= len(rows)
            for number in self._wide:
                if any(row[number] is not None and abs(row[number]) > WIDEST for row in rows):
                    raise HomelabError.of("query", *portable.out_of_range(self.columns[number]))
            yield from rows
            if self.truncated:
                break
        self.close()

    def _fetch(self, count: int) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            with ctrl_c():
                return list(self._connection.fetchmany(count))
        except duckdb.Error as error:
            raise _meaning(error, self._sql, self._connection, self._clock) from None

    def arrow(self) -> pa.RecordBatchReader:
        """The rows as a stream of Arrow record batches, instead of `rows`; `limit` does not hold for it."""
        return self._connection.to_arrow_reader(100_000)

    def close(self) -> None:
        """Stop the query and give its memory back."""
        self._clock.stop()
        _end(self._connection)


def _end(connection: DuckDBPyConnection) -> None:
    """Close a connection whatever it is doing. Without the interrupt, closing waits for threads still at work."""
    import duckdb

    with suppress(duckdb.Error):  # closed already
        connection.interrupt()
    connection.close()


class _Clock:
    """Interrupts the connection after `seconds`, again and again until it is stopped; None never does.

    Once is not enough: DuckDB forgets an interrupt that comes between two statements.
    """

    def __init__(self, connection: DuckDBPyConnection, seconds: float | None) -> None:
        self.seconds = seconds
        self.expired = False
        self._connection = connection
        self._stopped = threading.Event()
        if seconds is not None:
            threading.Thread(target=self._run, args=(seconds,), daemon=True).start()

    def _run(self, seconds: float) -> None:
        import duckdb

        wait = seconds
        while not self._stopped.wait(wait):
            self.expired = True
            wait = 0.1
            with suppress(duckdb.Error):  # closed in the same moment
                self._connection.interrupt()

    def stop(self) -> None:
        self._stopped.set()


def run_query(
    lakehouse: Lakehouse,
    sql: str,
    *,
    limit: int | None = None,
    timeout: float | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> QueryResult:
    """Run one reading statement over the lake and return its rows as a stream.

    The whole query reads one state of all tables. What DuckDB does not understand is tried once more as Trino's
    dialect. `limit` bounds the rows returned, `timeout` is in seconds. Ctrl-C interrupts it.
    Raises HomelabError that points at line and column for whatever is wrong with the statement or the servers.
    """
    try:
        return _open_and_execute(lakehouse, sql, limit, timeout, memory_limit)
    except StateGone:  # expired between asking the catalog and reading: the catalog has moved on by now
        return _open_and_execute(lakehouse, sql, limit, timeout, memory_limit)


def _open_and_execute(
    lakehouse: Lakehouse, sql: str, limit: int | None, timeout: float | None, memory_limit: str
) -> QueryResult:
    with ctrl_c():
        connection = connect(lakehouse, memory_limit=memory_limit)
        clock = _Clock(connection, timeout)
        try:
            connection.execute("SET errors_as_json = true")
            meanings.teach(connection)
            restrict(connection, lakehouse)
            return _execute(connection, sql, limit, clock)
        except BaseException:
            clock.stop()
            _end(connection)
            raise


def _execute(connection: DuckDBPyConnection, sql: str, limit: int | None, clock: _Clock) -> QueryResult:
    import duckdb

    refuse_writes(connection, sql)
    refusals.refuse_ambiguous(sql)
    try:
        connection.execute(portable.for_duckdb(sql))
        return QueryResult(connection, sql, ran=sql, limit=limit, clock=clock)
    except duckdb.Error as error:
        meaning = _as_written(error, sql, connection, clock)
        translated = _from_trino(sql) if _may_be_dialect(error) else None
        if translated is None:
            raise meaning from None
    try:
        refuse_writes(connection, translated)
        connection.execute(portable.for_duckdb(translated))
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException):
        raise meaning from None
    except duckdb.Error as error:
        raise _meaning(error, translated, connection, clock) from None
    return QueryResult(connection, translated, ran=translated, limit=limit, clock=clock)


def _as_written(error: Exception, sql: str, connection: DuckDBPyConnection, clock: _Clock) -> HomelabError:
    """What the error means at its place in the statement as the person wrote it, not as the engine was given it."""
    import duckdb

    if portable.for_duckdb(sql) == sql or _details(error).get("position") is None:
        return _meaning(error, sql, connection, clock)
    try:
        connection.execute(sql)
    except duckdb.Error as original:
        return _meaning(original, sql, connection, clock)
    return _meaning(error, "", connection, clock)  # a cast that is stricter than DuckDB's own


def _may_be_dialect(error: Exception) -> bool:
    import duckdb

    if not isinstance(error, duckdb.ParserException | duckdb.CatalogException | duckdb.BinderException):
        return False
    details = _details(error)
    return details.get("type") != "Table" and details.get("error_subtype") != "COLUMN_NOT_FOUND"


def _from_trino(sql: str) -> str | None:
    """The statement in DuckDB's words if it is valid in Trino's dialect and differs; else None."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        made = sqlglot.transpile(sql, read="trino", write="duckdb", unsupported_level=sqlglot.ErrorLevel.IGNORE)
    except SqlglotError:
        return None
    return made[0] if len(made) == 1 and made[0] != sql else None


# What an error means


def _details(error: Exception) -> dict[str, str]:
    """DuckDB's own account of the error (`errors_as_json`); for the few that come as plain text, their message."""
    text = str(error)
    with suppress(ValueError):
        found = json.loads(text[text.index("{") :])
        if isinstance(found, dict):
            return {str(key): str(value) for key, value in found.items()}
    return {"exception_message": text.strip()}


def _meaning(error: Exception, sql: str, connection: DuckDBPyConnection, clock: _Clock) -> HomelabError:
    import duckdb

    details = _details(error)
    place = _place(sql, details.get("position"))
    message = details.get("exception_message", "").splitlines()[0] if details.get("exception_message") else str(error)
    if isinstance(error, duckdb.InterruptException):
        return _interrupted(clock)
    if isinstance(error, duckdb.OutOfMemoryException):
        return HomelabError.of(place, "the query needs more memory than it may use", "Read fewer days or columns.")
    if isinstance(error, duckdb.HTTPException | duckdb.IOException):
        kind = StateGone if "404" in message else HomelabError
        return kind.of(
            place, f"the lake cannot be read: {message[:300]}", "See that the S3 server runs: `homelab status`."
        )
    return _of_the_statement(place, message, details, connection)


def _of_the_statement(
    place: Position | str, message: str, details: dict[str, str], connection: DuckDBPyConnection
) -> HomelabError:
    if details.get("error_subtype") == "MISSING_ENTRY" and details.get("type") == "Table":
        return _no_table(place, details.get("name", ""), connection)
    if details.get("error_subtype") == "COLUMN_NOT_FOUND":
        return _no_column(place, details)
    if (shared := portable.same_words(message)) is not None:
        return HomelabError.of("query", *shared)
    return HomelabError.of(place, message, suggestion(details.get("name", ""), _candidates(details)))


def _interrupted(clock: _Clock) -> HomelabError:
    if clock.expired:
        return HomelabError.of("query", f"stopped after {clock.seconds:g} s", "Give it more time or read fewer days.")
    return HomelabError.of("query", "interrupted", "Nothing was changed.")


def _no_table(place: Position | str, name: str, connection: DuckDBPyConnection) -> HomelabError:
    rows = connection.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE database_name = 'hive' AND NOT internal "
        "ORDER BY 1"
    ).fetchall()
    tables = [str(row[0]) for row in rows]
    if not tables:
        return HomelabError.of(place, f"no table {name}: the lake has no tables yet", "Make them with `homelab apply`.")
    closest = suggestion(name, tables)
    return HomelabError.of(place, f"no table {name}", closest or f"There are: {', '.join(tables)}.")


def _no_column(place: Position | str, details: dict[str, str]) -> HomelabError:
    name = details.get("name", "")
    candidates = _candidates(details)
    listed = f"Near it: {', '.join(candidates)}." if candidates else "`DESCRIBE <table>` lists its columns."
    return HomelabError.of(place, f"no column {name}", suggestion(name, candidates) or listed)


def _candidates(details: dict[str, str]) -> list[str]:
    return [part.strip() for part in details.get("candidates", "").split(",") if part.strip()]


def suggestion(name: str, candidates: list[str]) -> str:
    """`Did you mean X?` for the nearest of the candidates; empty when none is near. Qualifiers do not count."""
    from rapidfuzz import fuzz, process

    if not name or not candidates:
        return ""
    wanted = name.rsplit(".", 1)[-1].lower()
    found = process.extractOne(
        wanted, candidates, scorer=fuzz.ratio, processor=lambda text: text.rsplit(".", 1)[-1].lower(), score_cutoff=NEAR
    )
    return f"Did you mean {found[0]}?" if found else ""


def _place(sql: str, position: str | None) -> Position | str:
    """Line and column of a byte offset into the statement."""
    if position is None or not position.isdigit():
        return "query"
    before = sql.encode()[: int(position)].decode(errors="ignore")
    return Position("query", before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)

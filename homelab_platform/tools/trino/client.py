"""Trino as a client sees it: one statement in, typed rows out as a stream, and errors that say what Trino says.

Belongs here: connecting, running one statement, turning it off, the names of types, and what an error means. Not
here: which statements a person may run and dialects (readings/query/trino.py), the server's configuration
(plan/trino/config.py).

Types are named, and values given, as tools/duckdb.py's engine does it, so that one query looks the same from both.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from homelab_platform.errors import HomelabError, Position
from homelab_platform.tools.endpoints import TrinoEndpoint

if TYPE_CHECKING:
    from trino.dbapi import Connection
    from trino.exceptions import TrinoQueryError

T = TypeVar("T")
SOURCE = "homelab"
SCHEMA = "default"
REQUEST_TIMEOUT = 60.0
ATTEMPTS = 3
COMMIT_LOST, CONCURRENT = "ICEBERG_COMMIT_ERROR", "concurrent"
DAYS_OF_MONTH = 30  # of an interval of months, which is no fixed time; DuckDB's own conversion


class TrinoFailed(HomelabError):
    """A statement that Trino refused or could not finish; `name` is Trino's own name of the error."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.name = ""


def connect(endpoint: TrinoEndpoint, *, schema: str = SCHEMA) -> Connection:
    """A connection with time zone UTC; the caller closes it. Nothing is sent before the first statement.

    Only `endpoint.ca` vouches for the server: certificates and proxies that the environment names
    (REQUESTS_CA_BUNDLE, HTTPS_PROXY) do not count.
    """
    import requests
    from trino.auth import BasicAuthentication
    from trino.dbapi import connect as connect_trino

    parts = urlsplit(endpoint.url)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(endpoint.ca) if endpoint.ca is not None else True
    made: Connection = connect_trino(
        host=parts.hostname,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        http_scheme=parts.scheme,
        user=endpoint.user,
        auth=BasicAuthentication(endpoint.user, endpoint.password) if endpoint.password is not None else None,
        source=SOURCE,
        catalog=endpoint.catalog,
        schema=schema,
        timezone="UTC",
        http_session=session,
        max_attempts=ATTEMPTS,
        request_timeout=REQUEST_TIMEOUT,
    )
    return made


def query(endpoint: TrinoEndpoint, sql: str, *, limit: int | None = None, timeout: float | None = None) -> TrinoResult:
    """Run one statement and return its rows as a stream; `limit` bounds the rows, `timeout` is in seconds.

    Raises TrinoFailed at line and column for what is wrong with the statement, HomelabError for the server. Nothing is
    asked of what the statement does: who may write is the server's to say.
    """
    connection = connect(endpoint)
    try:
        return TrinoResult(connection, endpoint, sql, limit, timeout)
    except BaseException:
        connection.close()
        raise


def execute(
    endpoint: TrinoEndpoint, sql: str, *, timeout: float | None = None, attempts: int = 1
) -> list[tuple[Any, ...]]:
    """Run one statement to its end and return its rows: maintenance, DDL, a few values. Raises as `query` does.

    Trino gives up a change when another engine commits to the same table meanwhile; with `attempts` it is tried again
    then, which is safe because nothing was changed.
    """
    for left in range(attempts - 1, -1, -1):
        try:
            with query(endpoint, sql, timeout=timeout) as result:
                return list(result.rows)
        except TrinoFailed as error:
            if not left or error.name != COMMIT_LOST or CONCURRENT not in error.problems[0].what:
                raise
            time.sleep(random.uniform(0.1, 1.0))  # noqa: S311  spreads rivals, no secret
    raise AssertionError("attempts must be at least 1")


class TrinoResult:
    """The rows of one statement, fetched as they are asked for; they can be read once. Close it or use it with `with`.

    The same shape as readings/query/run.py's QueryResult.
    """

    def __init__(
        self, connection: Connection, endpoint: TrinoEndpoint, sql: str, limit: int | None, timeout: float | None
    ) -> None:
        self.ran = sql
        self.truncated = False  # after reading: whether `limit` held rows back
        self._connection = connection
        self._endpoint = endpoint
        self._limit = limit
        self._seconds = timeout
        self._expired = False
        self._cursor = connection.cursor()
        self._clock = threading.Timer(timeout, self._expire) if timeout is not None else None
        if self._clock is not None:
            self._clock.daemon = True
            self._clock.start()
        try:
            self._guard(lambda: self._cursor.execute(sql))
            described = self._guard(lambda: self._cursor.description) or []
        except BaseException:
            self.close()
            raise
        self.columns: tuple[str, ...] = tuple(str(column[0]) for column in described)
        self.types: tuple[str, ...] = tuple(type_name(str(column[1])) for column in described)

    def __enter__(self) -> TrinoResult:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.rows

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of Python values, times in UTC. Raises TrinoFailed if the query fails half way."""
        count = 0
        while (row := self._guard(self._cursor.fetchone)) is not None:
            if self._limit is not None and count == self._limit:
                self.truncated = True
                break
            count += 1
            yield tuple(plain(value) for value in row)
        self.close()

    @property
    def query_id(self) -> str:
        """Trino's name of the query, as its own pages show it."""
        return str(self._cursor.query_id or "")

    @property
    def stats(self) -> dict[str, object]:
        """Trino's own figures of the query so far: cpuTimeMillis, processedRows, processedBytes, peakMemoryBytes, …"""
        return dict(self._cursor.stats or {})

    def close(self) -> None:
        """Stop the query on the server, if it still runs, and end the connection."""
        if self._clock is not None:
            self._clock.cancel()
        self._cancel()
        self._connection.close()

    def _expire(self) -> None:
        self._expired = True
        self._cancel()

    def _cancel(self) -> None:
        import requests
        from trino.exceptions import Error, HttpError

        with suppress(Error, HttpError, requests.RequestException):  # it ended in the same moment, or the server did
            self._cursor.cancel()

    def _guard(self, call: Callable[[], T]) -> T:
        """Call Trino's client, and say what its errors mean."""
        import requests
        from trino.exceptions import Error, HttpError, TrinoQueryError

        try:
            found = call()
        except TrinoQueryError as error:
            if self._expired:
                raise self._too_late() from None
            raise meaning(error) from None
        except (Error, HttpError, requests.RequestException) as error:
            if self._expired:
                raise self._too_late() from None
            raise unreachable(self._endpoint, error) from None
        if self._expired:
            raise self._too_late()
        return found

    def _too_late(self) -> HomelabError:
        return HomelabError.of("query", f"stopped after {self._seconds:g} s", "Give it more time or read fewer days.")


_LOCATED = re.compile(r"^(io\.trino\.\S+: )?line \d+:\d+: ")
_REMEDIES = {
    "EXCEEDED_TIME_LIMIT": "Read fewer days, or ask an admin for more time (workload trino, limits).",
    "EXCEEDED_SCAN_LIMIT": "Read fewer days or columns, or ask an admin for more (workload trino, limits).",
    "EXCEEDED_LOCAL_MEMORY_LIMIT": "Read fewer days or columns, or group by less.",
    "EXCEEDED_GLOBAL_MEMORY_LIMIT": "Read fewer days or columns, or group by less.",
    "PERMISSION_DENIED": "Roles and their rights are in docs/trino.md; `people:` in the lab file says who has which.",
    "QUERY_QUEUE_FULL": "Wait for your other queries to end.",
    "QUERY_REJECTED": "Only people of the lab may query: add the person to `people:`.",
    COMMIT_LOST: "Another engine committed at the same moment and nothing was changed: run it again.",
    "ADMINISTRATIVELY_KILLED": "An admin ended it.",
}


def meaning(error: TrinoQueryError) -> TrinoFailed:
    """A refused statement, in Trino's own words, at its place."""
    name, location = str(error.error_name or ""), error.error_location
    place: Position | str = Position("query", *location) if location else "query"
    what = _LOCATED.sub("", str(error.message)).strip()
    found = TrinoFailed.of(place, what.splitlines()[0] if what else name, _REMEDIES.get(name, ""))
    found.name = name
    return found


def unreachable(endpoint: TrinoEndpoint, error: Exception) -> HomelabError:
    """What it means when no answer came, or none that Trino gives to a query."""
    said = str(error)
    where = f"Trino at {endpoint.url}"
    if "401" in said:
        return HomelabError.of(
            where, f"does not know the user {endpoint.user} or the password", "docs/trino.md says where passwords are."
        )
    if "403" in said:
        return HomelabError.of(where, f"does not let {endpoint.user} in", "docs/trino.md says who may do what.")
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return HomelabError.of(
            where,
            f"shows a certificate that {endpoint.ca or 'this machine'} does not vouch for",
            "See that the address is right; `homelab up` makes the certificate.",
        )
    reason = said.rsplit("Caused by ", maxsplit=1)[-1][:200]
    return HomelabError.of(where, f"does not answer: {reason}", "See that it runs: `homelab status`.")


def type_name(name: str) -> str:
    """A type of Trino by DuckDB's name for the same thing: `timestamp(6) with time zone` → TIMESTAMP WITH TIME ZONE."""
    text = name.strip()
    inner = _parameters(text)
    base = text.split("(", 1)[0].strip().lower()
    if base == "array":
        return f"{type_name(inner[0])}[]"
    if base == "map":
        return f"MAP({type_name(inner[0])}, {type_name(inner[1])})"
    if base == "row":
        return f"STRUCT({', '.join(_field(field) for field in inner)})"
    if base == "decimal":
        return f"DECIMAL({','.join(inner or ['38', '0'])})"
    if base in {"timestamp", "time"} and text.lower().endswith("with time zone"):
        return f"{base.upper()} WITH TIME ZONE"
    return _NAMES.get(base, base.upper())


_NAMES = {
    "char": "VARCHAR",
    "real": "FLOAT",
    "varbinary": "BLOB",
    "interval day to second": "INTERVAL",
    "interval year to month": "INTERVAL",
}


def _field(text: str) -> str:
    quoted = re.match(r'"((?:[^"]|"")*)"\s+(.+)', text, re.DOTALL)
    name, kind = quoted.groups() if quoted else (text.split(" ", 1) if " " in text else ("", text))
    return f"{name} {type_name(kind)}".strip()


def _parameters(text: str) -> list[str]:
    """What stands between the outer parentheses, split at its own commas."""
    if "(" not in text:
        return []
    inside = text[text.index("(") + 1 : text.rindex(")")]
    found, depth, start = [], 0, 0
    for place, letter in enumerate(inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append(inside[start:place].strip())
            start = place + 1
    return [*found, inside[start:].strip()]


def plain(value: object) -> object:
    """A value of Trino's client as DuckDB gives the same: times in UTC, rows as mappings, intervals as time spans."""
    from dateutil.relativedelta import relativedelta

    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        names: Sequence[str | None] = value.__annotations__["names"]  # trino.types.NamedRowTuple
        return {str(name): plain(item) for name, item in zip(names, value, strict=True)}
    if isinstance(value, relativedelta):
        return timedelta(days=DAYS_OF_MONTH * (12 * value.years + value.months))
    return value

"""What a mart's SQL reads by bare names, and the functions that it may use beyond what both SQL engines have.

Belongs here: the text of those relations and functions for DuckDB and for Trino. The SQL of a mart itself is the same
text for both. Not here: running it (refresh.py).

| relation | rows |
|---|---|
| `readings` | every table of readings as one, on the days to compute; with `stream`, the first part of `source` |
| `history` | the same on those days and on the `lookback` days before each |
| `rejected` | `source` of lines that were no readings |
| `days` | days to compute: `date`, `begins` (s since 1970), `seconds` of it that are over now |
| `sensors` | what the lab expects: `stream`, `sensor`, `every` in s or NULL |
| `devices` | what the lab lists: `stream`, `device`, `site` |

| function | is |
|---|---|
| `total(xs)` | the sum of an array of doubles, added from the first to the last |
| `squares(xs, centre)` | the sum of the squared distances from `centre`, in the same order |
| `percentile_of(xs, share)` | the percentile of a sorted array, interpolated between neighbours (R's type 7) |
| `to_unixtime(moment)` | seconds since 1970, as Trino has it |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.names import CATALOG
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.marts.tables import DETECTED, Mart

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ = "ts, date, site, device, sensor, value, unit, quality, source, split_part(source, '/', 1) AS stream"
DAY_SECONDS = 86_400

DUCKDB_MACROS = (
    "CREATE OR REPLACE TEMP MACRO total(xs) AS list_sum(xs)",
    "CREATE OR REPLACE TEMP MACRO squares(xs, centre) AS"
    " list_sum(list_transform(xs, lambda x: (x - centre) * (x - centre)))",
    "CREATE OR REPLACE TEMP MACRO percentile_of(xs, share) AS"
    " xs[CAST(floor((len(xs) - 1) * share) AS BIGINT) + 1]"
    " + ((len(xs) - 1) * share - floor((len(xs) - 1) * share))"
    " * (xs[least(len(xs), CAST(floor((len(xs) - 1) * share) AS BIGINT) + 2)]"
    " - xs[CAST(floor((len(xs) - 1) * share) AS BIGINT) + 1])",
    "CREATE OR REPLACE TEMP MACRO to_unixtime(moment) AS epoch(moment)",
)

TRINO_FUNCTIONS = """WITH
FUNCTION total(xs array(double)) RETURNS double
BEGIN
  DECLARE i bigint DEFAULT 1;
  DECLARE s double DEFAULT 0e0;
  WHILE i <= cardinality(xs) DO
    SET s = s + xs[i];
    SET i = i + 1;
  END WHILE;
  RETURN s;
END,
FUNCTION squares(xs array(double), centre double) RETURNS double
BEGIN
  DECLARE i bigint DEFAULT 1;
  DECLARE s double DEFAULT 0e0;
  WHILE i <= cardinality(xs) DO
    SET s = s + (xs[i] - centre) * (xs[i] - centre);
    SET i = i + 1;
  END WHILE;
  RETURN s;
END,
FUNCTION percentile_of(xs array(double), share double) RETURNS double
BEGIN
  DECLARE place double DEFAULT (cardinality(xs) - 1) * share;
  DECLARE low bigint DEFAULT CAST(floor(place) AS bigint) + 1;
  RETURN xs[low] + (place - floor(place)) * (xs[least(cardinality(xs), low + 1)] - xs[low]);
END
"""


@dataclass(frozen=True)
class Sources:
    """What marts are computed from: tables of readings and of rejected lines (`namespace.name`), what the lab expects
    of its streams, and which moment is now.
    """

    tables: tuple[str, ...] = (READINGS,)
    rejected: tuple[str, ...] = ()
    streams: Mapping[str, ResolvedStream] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def on_days(days: Iterable[date]) -> str:
    """A condition on `date` that Iceberg can use to leave files unread."""
    found = sorted(set(days))
    listed = ", ".join(f"DATE '{day.isoformat()}'" for day in found)
    return f"(date >= DATE '{found[0]}' AND date <= DATE '{found[-1]}' AND date IN ({listed}))"


def relations(sources: Sources, days: Sequence[date], lookback: int = 0) -> dict[str, str]:
    """The query of each relation, in SQL that both engines read; `days` are those to compute, at least one."""
    back = [day - timedelta(days=n) for day in days for n in range(lookback + 1)]
    return {
        "readings": _union(READ, sources.tables, on_days(days)),
        "history": _union(READ, sources.tables, on_days(back)),
        "rejected": _union("source", sources.rejected) if sources.rejected else _rows((("source", "varchar"),), ()),
        "days": _rows(
            (("date", "date"), ("begins", "double"), ("seconds", "double")), [_day(day, sources.now) for day in days]
        ),
        "sensors": _rows(
            (("stream", "varchar"), ("sensor", "varchar"), ("every", "double")),
            [
                (_text(s.name), _text(one.name), _number(one.every))
                for s in _sorted(sources)
                for one in s.sensors.values()
            ],
        ),
        "devices": _rows(
            (("stream", "varchar"), ("device", "varchar"), ("site", "varchar")),
            [
                (_text(s.name), _text(device), _text(s.source_settings.get("site")))
                for s in _sorted(sources)
                for device in s.devices
            ],
        ),
    }


def _sorted(sources: Sources) -> list[ResolvedStream]:
    return [sources.streams[name] for name in sorted(sources.streams)]


def _union(columns: str, tables: Iterable[str], where: str = "true") -> str:
    parts = [f"SELECT {columns} FROM {CATALOG}.{quoted(table)} WHERE {where}" for table in tables]  # noqa: S608
    return " UNION ALL ".join(parts)


def _rows(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> str:
    """Literal rows with typed columns; none at all gives the columns without a row."""
    listed = [f"({', '.join(row)})" for row in rows]
    values = ", ".join(listed) or f"({', '.join('NULL' for _ in columns)})"
    names = ", ".join(name for name, _ in columns)
    typed = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns)
    return f"SELECT {typed} FROM (VALUES {values}) AS v ({names})" + ("" if listed else " WHERE false")  # noqa: S608


def _day(day: date, now: datetime) -> tuple[str, str, str]:
    begins = (day - date(1970, 1, 1)).days * DAY_SECONDS
    over = min(DAY_SECONDS, max(0.0, now.astimezone(UTC).timestamp() - begins))
    return f"DATE '{day.isoformat()}'", _number(begins), _number(over)


def _number(value: float | None) -> str:
    return "NULL" if value is None else f"{float(value)!r}e0" if "e" not in repr(float(value)) else repr(float(value))


def _text(value: object) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def quoted(table: str) -> str:
    """`namespace.name` as SQL identifiers."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


@dataclass(frozen=True)
class Part:
    """One of `of` parts of the readings, told apart by `columns`; all readings of a device, or of one of its sensors,
    are in one part.
    """

    columns: tuple[str, ...] = ()
    number: int = 0
    of: int = 1

    def within(self, name: str, query: str) -> str:
        """The query of a relation, kept to this part."""
        if self.of == 1 or name not in ("readings", "history", "devices"):
            return query
        columns = ("device",) if name == "devices" else self.columns
        if name == "devices" and "sensor" in self.columns:
            return query  # a device's sensors may be in any part
        return f"SELECT * FROM ({query}) AS whole WHERE hash({', '.join(columns)}) % {self.of} = {self.number}"  # noqa: S608


WHOLE = Part()


def prepare(
    connection: DuckDBPyConnection, sources: Sources, days: Sequence[date], lookback: int, part: Part = WHOLE
) -> None:
    """Give a DuckDB connection the functions, and the relations as views: DuckDB reads through views just the columns
    that a query needs, where it would keep a common table expression whole.
    """
    for macro in DUCKDB_MACROS:
        connection.execute(macro)
    for name, query in relations(sources, days, lookback).items():
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {part.within(name, query)}")


def of_days(mart: Mart, days: Sequence[date]) -> str:
    """The mart's SQL, kept to the days to compute. The engines push the condition down to the tables it reads."""
    if mart.name == DETECTED:
        return mart.sql
    return f"SELECT * FROM (\n{mart.sql}\n) AS mart WHERE {on_days(days)}"  # noqa: S608 - the mart's own text


def standalone(mart: Mart, days: Sequence[date], sources: Sources, engine: Literal["duckdb", "trino"]) -> str:
    """One query that needs nothing prepared but, in DuckDB, the macros: functions, relations, the mart's SQL."""
    functions = TRINO_FUNCTIONS if engine == "trino" else ""
    parts = ",\n".join(f"{name} AS ({query})" for name, query in relations(sources, days, mart.affects).items())
    return f"{functions}WITH {parts}\n{of_days(mart, days)}"

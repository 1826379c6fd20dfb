"""Whether the table of readings has its columns, and whether its producers still fill them.

Belongs here: columns that another engine dropped, renamed or changed in type; fields that a producer no longer sends,
sends under another name, or sends as another kind of value. Not here: values out of range (verdicts.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.names import CATALOG
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.wire.contract import CONTRACT_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REMEDY = "what to do"
WINDOW = timedelta(days=8)
SILENT = timedelta(hours=1)  # that a device goes on without a field before the field counts as gone
_TEXT = "_text"
_TYPES = {
    "ts": "TIMESTAMP WITH TIME ZONE", "ingested_at": "TIMESTAMP WITH TIME ZONE", "date": "DATE", "value": "DOUBLE",
    "line": "BIGINT",
}  # fmt: skip
_DECLARED = {
    "boolean": "BOOLEAN", "int": "INTEGER", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR",
    "date": "DATE", "timestamptz": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
_REJECTED_COLUMNS = ("source", "line", "reason", "raw", "ingested_at", "stream")


def columns_of(sql: DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table and their types, as DuckDB names them."""
    return {str(row[0]): str(row[1]) for row in sql.execute(f"DESCRIBE {CATALOG}.{table}").fetchall()}


def contract_problems(sql: DuckDBPyConnection, streams: Mapping[str, ResolvedStream] | None = None) -> list[Problem]:
    """Columns that the tables of readings must have, and do not; with `streams`, those that the lab declares too."""
    wanted: dict[str, dict[str, str]] = {
        READINGS: {name: _TYPES.get(name, "VARCHAR") for name in CONTRACT_COLUMNS},
        REJECTED: {name: _TYPES.get(name, "VARCHAR") for name in _REJECTED_COLUMNS},
    }
    for stream in (streams or {}).values():
        if stream.table == READINGS:
            wanted[READINGS].update({name: _DECLARED[kind] for name, kind in stream.columns.items()})
    found = []
    for table, columns in wanted.items():
        have = columns_of(sql, table)
        for name, kind in columns.items():
            if have.get(name) == kind:
                continue
            what = f"column {name} is {have[name]}, not {kind}" if name in have else f"column {name} is missing"
            remedy = (
                f"Put it back (ALTER TABLE {CATALOG}.{table} …); ingest waits, and raw objects are kept until then."
            )
            found.append(Problem(f"{CATALOG}.{table}", what, remedy, "contract"))
    return found


def demand_contract(sql: DuckDBPyConnection) -> None:
    """Raise HomelabError if the tables of readings lack a column that every measurement needs."""
    problems = contract_problems(sql)
    if problems:
        raise HomelabError(problems)


@dataclass(frozen=True)
class Field:
    """A producer's field over the last week: since when and until when devices filled it, and how many of those devices
    went on for an hour and more without it.
    """

    stream: str
    column: str
    first: datetime
    last: datetime
    devices: int
    gone_on: int
    recent_rows: int = 0


def measure_fields(sql: DuckDBPyConnection, now: datetime) -> list[Field]:
    """Every column beyond the contract, by the stream that fills it; reads the last eight days of those columns."""
    extras = [name for name in columns_of(sql, READINGS) if name not in CONTRACT_COLUMNS]
    found: list[Field] = []
    for name in extras:
        column = '"' + name.replace('"', '""') + '"'
        rows = sql.execute(
            f"WITH d AS (SELECT split_part(source, '/', 1) AS stream, device, max(ts) AS newest,"  # noqa: S608
            f" min(ts) FILTER ({column} IS NOT NULL) AS first, max(ts) FILTER ({column} IS NOT NULL) AS last,"
            f" count(*) FILTER ({column} IS NOT NULL AND ingested_at > $recent::TIMESTAMPTZ) AS recent"
            " FROM sensor_data WHERE date >= $since::DATE AND ts <= $now::TIMESTAMPTZ GROUP BY 1, 2)"
            " SELECT stream, min(first), max(last), count(last),"
            " count(*) FILTER (last IS NOT NULL AND newest > last + to_seconds($silent)), sum(recent)::BIGINT"
            " FROM d GROUP BY stream HAVING count(last) > 0 ORDER BY stream",
            {
                "since": now - WINDOW,
                "now": now,
                "recent": now - timedelta(days=1),
                "silent": SILENT.total_seconds(),
            },
        ).fetchall()
        found += [Field(str(row[0]), name, *row[1:]) for row in rows]
    return found


def columns(problems: Sequence[Problem], fields: Iterable[Field] = ()) -> CheckResult:
    """Whether every column is there and still filled."""
    if problems:
        rows = [{"table": str(p.where), "what is wrong": p.what} for p in problems]
        text = f"{problems[0].where}: {problems[0].what}. Nothing is ingested until it is back; raw objects wait."
        return CheckResult("columns", False, "error", text, {"columns": rows, REMEDY: problems[0].remedy})
    known = list(fields)
    gone = [one for one in known if one.devices and one.gone_on == one.devices and not one.column.endswith(_TEXT)]
    texts = [one for one in known if one.column.endswith(_TEXT) and one.recent_rows]
    facts: dict[str, Any] = {"fields": len(known), "gone": len(gone), "changed_kind": len(texts)}
    if not gone and not texts:
        return CheckResult("columns", True, "error", f"Every column is there; {len(known)} fields are filled.", facts)
    said = [_gone(one, known) for one in gone]
    said += [
        f"{one.column.removesuffix(_TEXT)} of {one.stream} came as another kind of value {one.recent_rows:,} times in "
        f"a day; those are in {one.column}"
        for one in texts
    ]
    facts["fields that changed"] = [
        {"stream": one.stream, "field": one.column, "last": f"{one.last:%Y-%m-%d %H:%M}"} for one in (*gone, *texts)
    ]
    facts[REMEDY] = (
        "Nothing is lost. If the producer was changed on purpose, read both columns: coalesce(new, old). Otherwise "
        "mend the producer."
    )
    return CheckResult("columns", False, "warn", f"{'; '.join(said[:3])}.", facts)


def _gone(one: Field, known: Sequence[Field]) -> str:
    text = f"{one.stream} no longer sends {one.column} (last at {one.last:%Y-%m-%d %H:%M} UTC)"
    near = [
        other.column
        for other in known
        if other.stream == one.stream and other.column != one.column and abs(other.first - one.last) < SILENT
    ]
    return f"{text}; {near[0]} began then: was it renamed?" if near else text


def check_columns(
    lakehouse: Lakehouse, streams: Mapping[str, ResolvedStream], *, now: datetime | None = None
) -> CheckResult:
    """The verdict on the columns of the tables of readings. Raises HomelabError if the lake cannot be read."""
    moment = now or datetime.now(UTC)
    with closing(engine.connect(lakehouse)) as sql:
        problems = contract_problems(sql, streams)
        return columns(problems, [] if problems else measure_fields(sql, moment))

"""Every query of the project on both SQL engines: the same rows, the same types. A new query cannot stay out of it."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.cli import first_readings, readings_commands, status_screen
from homelab_platform.errors import HomelabError
from homelab_platform.paths import PROJECT
from homelab_platform.readings import contract
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh_mart
from homelab_platform.readings.marts.checks import _queries as mart_tests
from homelab_platform.readings.marts.relations import DUCKDB_MACROS, Sources, standalone
from homelab_platform.readings.quality import measures
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.query.trino import run_on_trino
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform.tools.trino import client as trino
from homelab_platform_tests.readings.lake import add_readings, catalog_of
from homelab_platform_tests.readings.marts.test_marts import STREAMS

Engines = tuple[TrinoEndpoint, Lakehouse]
TODAY = datetime.now(UTC).date()
ENGINE_ONLY = {
    "layers/marts/adapter.py": "SELECT * of a mart, as in the list",
    "readings/upkeep/compaction.py": "DuckDB's part of a rewrite: whole rows with a parameter",
    "readings/commit/spans.py": "DuckDB's part of a commit: the bounds of series, with parameters",
    "readings/upkeep/rollback.py": "DuckDB's part of a repair: what the table holds of each object",
    "readings/plots.py": "a picture's points, with parameters",
    "readings/marts/checks.py": "tests of marts, in the list as they are made of each mart",
    "readings/quality/columns.py": "a verdict's measure over whatever columns there are, with parameters",
    "readings/quality/arrivals.py": "a verdict's measure with parameters, and an example in a remedy",
    "lab/model/marts.py": "an example in a description",
    "readings/query/trino.py": "an example in an error",
    "tools/duckdb.py": "an example in an error",
}
"""Where SQL over the lake stands that no person runs and one engine alone ever does, and why."""
_OVER_THE_LAKE = re.compile(r'\b(FROM|JOIN)\s+("?hive\b|sensor_data|this\b|marts\.)')
_COMMANDS = re.compile(r'homelab query (?:-\S+ \S+ )*\\?\s*"([^"]+)"')
_SQL_BLOCKS = re.compile(r"```sql\n(.*?)```", re.DOTALL)


def documents() -> list[Path]:
    """What people read."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def documented() -> dict[str, str]:
    """The queries of README and docs: commands and blocks. Those on the lab's state are Trino's alone."""
    found: dict[str, str] = {}
    for file in documents():
        text = file.read_text()
        queries = [" ".join(sql.split()) for sql in _COMMANDS.findall(text)]
        queries += [one.strip() for block in _SQL_BLOCKS.findall(text) for one in block.split(";\n") if one.strip()]
        found |= {f"{file.name} {n}": sql for n, sql in enumerate(queries, 1) if "postgresql." not in sql}
    return found


def of_notebooks() -> dict[str, str]:
    """The queries of the notebooks: strings that begin with SELECT or WITH."""
    found = {}
    for file in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = [
            "".join(cell["source"]) for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"
        ]
        for number, text in enumerate(text for cell in cells for text in _strings(ast.parse(cell))):
            if text.strip().startswith(("SELECT", "WITH")):
                found[f"{file.name} {number}"] = text
    return found


def of_the_code() -> dict[str, str]:
    """Queries that commands and checks of quality run, with the values that they are given."""
    moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    week, day = f"{TODAY - timedelta(days=7)} 00:00:00 UTC", f"{TODAY - timedelta(days=1)} 00:00:00 UTC"
    given = {"since": week, "until": moment, "recent": day, "oldest": "2020-01-01 00:00:00 UTC"}

    def filled(sql: str) -> str:
        for name, value in given.items():
            sql = sql.replace(f"${name}::DATE", f"CAST(TIMESTAMP '{value}' AS DATE)")
            sql = sql.replace(f"${name}::TIMESTAMPTZ", f"TIMESTAMP '{value}'")
        return sql

    paces = "WITH paces AS (SELECT 'air' AS stream, 'temperature' AS sensor, 600e0 AS every),"
    return {
        "the first query": first_readings.FIRST_QUERY,
        "readings rejected": readings_commands.REJECTED,
        "status: streams": status_screen.STREAMS,
        "status: rejected": status_screen.REJECTED,
        "quality: series": filled(measures._SERIES).replace("WITH", paces, 1),
        "quality: rejected": filled(measures._REJECTED),
        "quality: rows": f"SELECT count(*) FROM hive.{contract.READINGS}",
    }


def of_marts() -> dict[str, str]:
    """Each mart's table, and each of its tests on it."""
    found = {f"mart {name}": f"SELECT * FROM hive.marts.{name}" for name in MARTS}
    for name, mart in MARTS.items():
        for test, sql in mart_tests(mart):
            found[f"mart {name}, test {test}"] = (
                f"SELECT count(*) FROM (WITH this AS (SELECT * FROM hive.marts.{name}) {sql}) AS wrong"
            )
    return found


def seeds() -> dict[str, str]:
    """What the lab's users began with, and what Trino's and DuckDB's dialects say differently."""
    return {
        "seed": "SELECT * FROM hive.default.sensor_data WHERE date > CURRENT_DATE - INTERVAL '7' DAY",
        "types": (
            "SELECT CAST(1.25 AS decimal(5,2)) AS d, true AS b, 'x' AS s, 1.5e0 AS f, CAST(7 AS bigint) AS n, "
            "DATE '2026-01-02' AS day, ARRAY[1.5e0, 2.5e0] AS xs, "
            "CAST(NULL AS varchar) AS nothing"
        ),
        "duckdb's words": "SELECT device, arg_max(value, ts) AS newest FROM sensor_data GROUP BY device",
        "trino's words": "SELECT device, max_by(value, ts) AS newest FROM sensor_data GROUP BY device",
    }


def every_query() -> dict[str, str]:
    """All queries that must give the same on both engines, by name."""
    return {**seeds(), **documented(), **of_notebooks(), **of_the_code(), **of_marts()}


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_query_in_the_code_is_in_the_list_or_says_why_not() -> None:
    listed = {" ".join(sql.split()) for sql in every_query().values()}
    listed |= {" ".join(sql.split()) for sql in (measures._SERIES, measures._REJECTED)}
    package = PROJECT / "homelab_platform"
    astray = []
    for file in sorted(package.rglob("*.py")):
        where = str(file.relative_to(package))
        for text in _strings(ast.parse(file.read_text())):
            sql = " ".join(text.split())
            if "SELECT" not in sql or not _OVER_THE_LAKE.search(sql) or where in ENGINE_ONLY:
                continue
            if not any(sql in one or one in sql for one in listed):
                astray.append(f"{where}: {sql[:100]}")
    assert not astray, "add them to of_the_code(), or say in ENGINE_ONLY why one engine is enough"


def test_every_document_with_a_query_is_in_the_list() -> None:
    listed = set(documented().values())
    for file in documents():
        for line in file.read_text().splitlines():
            if "SELECT " in line and "hive." in line:
                sql = line.split('"')[1] if line.count('"') >= 2 else line.strip().strip('"')
                assert any(" ".join(sql.split())[:40] in one for one in listed), f"{file.name}: {line}"


# On real servers


def family(kind: str) -> str:
    """Types that mean the same to a reader: integers of any width, numbers with a point of any precision."""
    if re.fullmatch(r"(TINY|SMALL|BIG|HUGE|U\w+)?INT(EGER)?", kind):
        return "integer"
    return re.sub(r"\(.*\)", "", {"FLOAT": "DOUBLE"}.get(kind, kind))


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same; sums of doubles may be added in another order."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _key(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row)


def _difference(name: str, ours: Any, theirs: Any) -> str | None:
    with ours, theirs:
        if [n.lower() for n in ours.columns] != [n.lower() for n in theirs.columns] and "count" not in name:
            named = [(a, b) for a, b in zip(ours.columns, theirs.columns, strict=True) if a.lower() != b.lower()]
            if any(not b.startswith("_col") for _, b in named):
                return f"{name}: columns {named}"
        kinds = [(a, b) for a, b in zip(ours.types, theirs.types, strict=True) if family(a) != family(b)]
        if kinds and not all("UNKNOWN" in pair or "NULL" in "".join(pair) for pair in kinds):
            return f"{name}: types {kinds}"
        a, b = sorted(ours.rows, key=_key), sorted(theirs.rows, key=_key)
    if len(a) != len(b):
        return f"{name}: {len(a)} rows and {len(b)}"
    wrong = [(x, y) for x, y in zip(a, b, strict=True) if not same(x, y)]
    return f"{name}: {wrong[0]}" if wrong else None


def _fill(lake: Lakehouse) -> None:
    """Ten days of readings in steps of ten minutes, with gaps, a refused line, and all marts computed."""
    contract.ensure_tables(lake)
    now = datetime.now(UTC).replace(microsecond=123456)
    rows = [
        {
            "ts": now - timedelta(minutes=10 * n),
            "device": device,
            "sensor": "temperature",
            "value": 20 + 5 * math.sin(n / 20) + (30 if n == 77 else 0),
            "unit": "°C" if n % 3 else None,
            "quality": "out_of_range" if n == 77 else "ok",
            "source": "air/2026-11-18/x/1.ndjson.gz",
            "ingested_at": now,
        }
        for device in ("kitchen", "attic")
        for n in range(1440)
        if not 200 < n < 230
    ]
    catalog = catalog_of(lake)
    add_readings(catalog.load_table(contract.READINGS), rows)
    import pyarrow as pa

    refused = catalog.load_table(contract.REJECTED)
    line = {"source": "air/2026-11-18/x/1.ndjson.gz", "line": 3, "reason": "not JSON: ä", "raw": "{", "stream": "air"}
    refused.append(pa.Table.from_pylist([{**line, "ingested_at": now}], schema=refused.schema().as_arrow()))
    ensure_mart_tables(lake)
    for name in MARTS:
        refresh_mart(lake, name, None, STREAMS)


@pytest.mark.servers
@pytest.mark.slow
def test_every_query_gives_the_same_rows_and_types_on_both_engines(trino_lake: Engines) -> None:
    endpoint, lake = trino_lake
    _fill(lake)
    wrong = []
    for name, sql in every_query().items():
        try:
            difference = _difference(name, run_query(lake, sql), run_on_trino(endpoint, sql))
        except HomelabError as error:
            difference = f"{name}: {error}"
        if difference:
            wrong.append(difference)
    wrong += _marts_differ(endpoint, lake)
    assert not wrong, "\n".join(wrong)


def _marts_differ(endpoint: TrinoEndpoint, lake: Lakehouse) -> list[str]:
    """Each mart computed by both engines from the same SQL."""
    days = [TODAY - timedelta(days=n) for n in range(3)]
    sources = Sources((contract.READINGS,), (contract.REJECTED,), STREAMS, datetime.now(UTC))
    wrong = []
    for name, mart in MARTS.items():
        with closing(duckdb.connect(lake)) as engine:
            for macro in DUCKDB_MACROS:
                engine.execute(macro)
            ours = engine.execute(standalone(mart, days, sources, "duckdb")).fetchall()
        theirs = trino.execute(endpoint, standalone(mart, days, sources, "trino"))
        a, b = sorted(map(tuple, ours), key=_key), sorted(theirs, key=_key)
        if len(a) != len(b) or not all(map(same, a, b)):
            first = next((pair for pair in zip(a, b, strict=False) if not same(*pair)), "")
            wrong.append(f"mart {name}: {len(a)} and {len(b)} rows, {first}")
    return wrong

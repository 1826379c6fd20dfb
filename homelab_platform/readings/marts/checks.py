"""A mart's tests on its table as it is now.

Belongs here: turning `tests:` of a mart into queries, and their answers into verdicts. Not here: when they run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from homelab_platform.names import CATALOG
from homelab_platform.readings.marts.relations import quoted
from homelab_platform.readings.marts.tables import Mart
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SHOWN = 10
REMEDY = "what to do"


def test_names(mart: Mart) -> dict[str, str]:
    """The checks that a mart's tests become, with what each demands."""
    tests = mart.tests
    found: dict[str, str] = {}
    if tests.get("unique"):
        found["unique"] = f"{', '.join(tests['unique'])} together name a row once."
    if tests.get("not_null"):
        found["not_null"] = f"{', '.join(tests['not_null'])} always have a value."
    if tests.get("range"):
        limits = (f"{name} lies in {low:g} to {high:g}" for name, (low, high) in tests["range"].items())
        found["range"] = f"{'; '.join(limits)}."
    for name, sql in (tests.get("no_rows") or {}).items():
        found[name] = f"Expects no rows from: {' '.join(str(sql).split())}"
    return found


test_names.__test__ = False  # type: ignore[attr-defined]  # not a test of pytest's


def check_mart(lakehouse: Lakehouse, mart: Mart) -> list[CheckResult]:
    """The verdict of each test over the whole table. Raises HomelabError if the lake cannot be read.

    The whole table each time: a verdict on the newest days alone would turn green while an older day is still wrong.
    """
    with closing(engine.connect(lakehouse)) as sql:
        table = f"{CATALOG}.{quoted(mart.identifier)}"
        sql.execute(f"CREATE TEMP VIEW this AS SELECT * FROM {table}")  # noqa: S608
        return [_judged(sql, mart, name, query) for name, query in _queries(mart)]


def _queries(mart: Mart) -> Iterator[tuple[str, str]]:
    tests: Mapping[str, Any] = mart.tests
    if tests.get("unique"):
        names = ", ".join(f'"{name}"' for name in tests["unique"])
        yield "unique", f"SELECT {names}, count(*) AS rows FROM this GROUP BY {names} HAVING count(*) > 1"  # noqa: S608
    if tests.get("not_null"):
        empty = " OR ".join(f'"{name}" IS NULL' for name in tests["not_null"])
        yield "not_null", f"SELECT * FROM this WHERE {empty}"  # noqa: S608
    if tests.get("range"):
        outside = " OR ".join(
            f'NOT ("{name}" >= {float(low)!r} AND "{name}" <= {float(high)!r})'
            for name, (low, high) in tests["range"].items()
        )
        yield "range", f"SELECT * FROM this WHERE {outside}"  # noqa: S608
    yield from (tests.get("no_rows") or {}).items()


def _judged(sql: DuckDBPyConnection, mart: Mart, name: str, query: str) -> CheckResult:
    import duckdb

    demand = test_names(mart)[name]
    try:
        counted = sql.execute(f"SELECT count(*) FROM ({query}) AS wrong").fetchone()  # noqa: S608 - the lab's own text
        found = int(counted[0]) if counted else 0
        if not found:
            return CheckResult(name, True, "error", demand)
        result = sql.execute(f"SELECT * FROM ({query}) AS wrong LIMIT {SHOWN}")  # noqa: S608
        names = [column[0] for column in result.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    except duckdb.IOException:
        raise
    except duckdb.Error as error:
        what = str(error).strip().split("\n\n", maxsplit=1)[0].replace("\n", " ")[:500]
        remedy = f"Correct it in {mart.file.removesuffix('.sql')}.yaml."
        return CheckResult(name, False, "error", f"The test cannot be run: {what}", {REMEDY: remedy})
    text = f"{found:,} row(s) of {mart.identifier} are wrong. {demand}"
    remedy = f"Look at the rows below; correct {mart.file}, or the test beside it, or the readings they come from."
    return CheckResult(name, False, "error", text, {"rows": found, "wrong": rows, REMEDY: remedy})

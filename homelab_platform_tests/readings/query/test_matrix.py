"""SQL whose meaning differs between engines: answered alike by both, or refused by both with the same words.

`matrix.sql` holds the queries. The real Trino's answers are recorded (`pytest --record`), so that DuckDB's are held
against them in seconds; the slow test holds the recording against the real Trino, exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.errors import HomelabError, Position
from homelab_platform.readings.query.portable import SHARED_REMEDIES
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.query.trino import run_on_trino
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform_tests.readings.query.test_engines import family
from homelab_platform_tests.suite.recording import Recordings

RECORDING = "trino_matrix"
READINGS = (
    "(SELECT CAST(ts AS timestamp with time zone) AS ts, device, value, n, unit FROM (VALUES"
    " ('2026-03-28 22:30:00 UTC', 'kitchen', 20.5e0, 1, '°C'), ('2026-03-28 23:30:00 UTC', 'attic', 7.25e0, 2, '°C'),"
    " ('2026-03-29 00:30:00 UTC', 'kitchen', NULL, 3, NULL), ('2026-03-29 01:30:00 UTC', 'attic', 7.75e0, 4, '°C'),"
    " ('2026-03-29 02:30:00 UTC', 'kitchen', 21e0, 5, 'K'), ('2026-03-29 22:30:00 UTC', 'kitchen', -3.5e0, 6, NULL))"
    " AS raw(ts, device, value, n, unit))"
)


_NAMED = re.compile(r"^-- (.+)\n([^-\n].*)$", re.MULTILINE)


def matrix() -> dict[str, str]:
    """The queries by name, with the six readings of the night in which Berlin's clocks go forward."""
    text = (Path(__file__).parent / "matrix.sql").read_text()
    return {name: sql.replace("{readings}", READINGS) for name, sql in _NAMED.findall(text)}


def _plain(value: Any) -> Any:
    """A value as JSON keeps it, with its type where JSON has none."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, bytes | bytearray):
        return f"bytes {bytes(value).hex()}"
    if isinstance(value, Decimal):
        return f"decimal {value}"
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.isoformat()


def answer(run: Callable[[str], AbstractContextManager[Any]], sql: str) -> dict[str, Any]:
    """Columns, types and rows, or place, fault and remedy."""
    try:
        with run(sql) as result:
            rows = [[_plain(value) for value in row] for row in result.rows]
            columns = ["" if name.startswith("_col") else name.lower() for name in result.columns]
            return {"columns": columns, "types": list(result.types), "rows": rows}
    except HomelabError as error:
        problem = error.problems[0]
        place = f"{problem.where.line}:{problem.where.column}" if isinstance(problem.where, Position) else ""
        return {"place": place, "fault": problem.what, "remedy": problem.remedy}


@pytest.mark.servers
@pytest.mark.slow
def test_trino_answers_as_it_was_recorded(trino_lake: tuple[TrinoEndpoint, Lakehouse], recordings: Recordings) -> None:
    endpoint, _ = trino_lake
    answers = {name: answer(lambda sql: run_on_trino(endpoint, sql), sql) for name, sql in matrix().items()}
    if recordings.record:
        recordings.hand_in(RECORDING, answers)
    known = recordings.replay(RECORDING)
    wrong = [
        name
        for name, sql in matrix().items()
        if _in_any_order(sql, json.loads(json.dumps(answers[name]))) != _in_any_order(sql, known.get(name, {}))
    ]
    assert not wrong


def _in_any_order(sql: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer; where the query asks for no order, its rows in one of ours."""
    return answer if "rows" not in answer or "ORDER BY" in sql else answer | {"rows": sorted(answer["rows"], key=str)}


def _number(text: str) -> Decimal | None:
    return Decimal(text.removeprefix("decimal ")) if text.startswith("decimal ") else None


def same(a: Any, b: Any) -> bool:
    """Whether two values of a row are the same; decimals by value, doubles but for their last digits."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12)
    if isinstance(a, str) and isinstance(b, str) and _number(a) is not None:
        return _number(a) == _number(b)
    return type(a) is type(b) and bool(a == b)


def difference(sql: str, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How the answers of the two engines differ; empty when they do not."""
    if "fault" in ours and "fault" in theirs:
        return "" if _told(ours) == _told(theirs) else f"{_told(ours)} and {_told(theirs)}"
    if "fault" in ours or "fault" in theirs:
        return f"{ours} and {theirs}"
    named = [(a, b) for a, b in zip(ours["columns"], theirs["columns"], strict=True) if b and a != b]
    rows = [_in_any_order(sql, answer)["rows"] for answer in (ours, theirs)]
    empty = [all(row[i] is None for row in rows[0]) for i in range(len(ours["types"]))]  # a NULL has any type
    kinds = [
        (a, b)
        for a, b, nothing in zip(ours["types"], theirs["types"], empty, strict=True)
        if family(a) != family(b) and not nothing
    ]
    return str(named or kinds or "") if same(*rows) else f"{rows}"


def _told(answer: dict[str, Any]) -> str:
    """Of what both engines say in the same words, those; of what each says in its own, that it is a mistake."""
    shared = answer["remedy"] in SHARED_REMEDIES
    return answer["fault"].split(":")[0] + answer["remedy"] if shared else "a mistake"


@pytest.mark.servers
@pytest.mark.slow
def test_duckdb_answers_as_trino_does(lakehouse: Lakehouse, recordings: Recordings) -> None:
    known = recordings.replay(RECORDING)
    assert set(known) == set(matrix())
    wrong = {
        name: found
        for name, sql in matrix().items()
        if (found := difference(sql, answer(lambda sql: run_query(lakehouse, sql), sql), known[name]))
    }
    assert not wrong, "\n".join(f"{name}: {found}" for name, found in wrong.items())
    answered = [name for name, answer in known.items() if "rows" in answer]
    assert len(answered) >= 60

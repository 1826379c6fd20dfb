"""SQL over the lake as a person meets it: the seed's words work, writes are refused, errors point into the query."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.types import StringType

from homelab_platform.errors import HomelabError, Position
from homelab_platform.readings.query.output import format_csv, format_json, format_table
from homelab_platform.readings.query.run import run_query
from homelab_platform.servers.scratch.servers import ScratchServers, fresh_lakehouse
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint
from homelab_platform_tests.readings.lake import add_readings, catalog_of, make_readings, make_table

pytestmark = pytest.mark.servers
SEED = "SELECT * FROM hive.default.sensor_data WHERE date > CURRENT_DATE - INTERVAL '7' DAY;"


def _rows(count: int, *, device: str = "pi-1", every: timedelta = timedelta(hours=12)) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {"ts": now - n * every, "device": device, "sensor": "temperature", "value": 20.0 + n, "unit": "°C"}
        for n in range(count)
    ]


@pytest.fixture
def changing(lakehouse: Lakehouse) -> Lakehouse:
    """A lake of the test's own, whose table holds thirty half days of one sensor."""
    make_readings(lakehouse, _rows(30))
    return lakehouse


@pytest.fixture(scope="module")
def filled(servers: ScratchServers) -> Iterator[Lakehouse]:
    """The same, shared by tests that only read."""
    with fresh_lakehouse(servers) as made:
        make_readings(made, _rows(30))
        yield made


def _problem(lakehouse: Lakehouse, sql: str, **settings: Any) -> Any:
    with pytest.raises(HomelabError) as caught:
        list(run_query(lakehouse, sql, **settings))
    return caught.value.problems[0]


def test_the_query_of_the_seed_works_as_it_stands(filled: Lakehouse) -> None:
    with run_query(filled, SEED) as result:
        rows = list(result)
    assert result.columns[:5] == ("ts", "date", "site", "device", "sensor")
    assert result.types[:2] == ("TIMESTAMP WITH TIME ZONE", "DATE")
    oldest = datetime.now(UTC).date() - timedelta(days=7)
    assert rows
    assert all(row[1] > oldest for row in rows)
    assert len(rows) == sum(1 for row in _rows(30) if row["ts"].date() > oldest)


def test_short_names_and_shows_work(filled: Lakehouse) -> None:
    assert list(run_query(filled, "SELECT count(*) FROM sensor_data")) == [(30,)]
    assert list(run_query(filled, "SHOW TABLES")) == [("sensor_data",)]
    assert ("value", "DOUBLE") in [row[:2] for row in run_query(filled, "DESCRIBE sensor_data")]
    assert list(run_query(filled, "EXPLAIN SELECT 1"))
    pivoted = list(run_query(filled, "PIVOT sensor_data ON sensor USING count(*) GROUP BY device"))
    assert pivoted == [("pi-1", 30)]


def test_trino_dialect_is_understood(filled: Lakehouse) -> None:
    sql = (
        "SELECT approx_distinct(device), max_by(value, ts) FROM hive.default.sensor_data "
        "WHERE date > date_add('day', -7, current_date)"
    )
    with run_query(filled, sql) as result:
        assert list(result) == [(1, 20.0)]
    assert result.ran != sql


def test_a_new_column_appears_with_the_next_query(changing: Lakehouse) -> None:
    table = catalog_of(changing).load_table("default.sensor_data")
    with table.update_schema() as change:
        change.add_column("battery", StringType())
    add_readings(table, [{**_rows(1, device="pi-2")[0], "battery": "low"}])
    assert list(run_query(changing, "SELECT battery FROM sensor_data WHERE battery IS NOT NULL")) == [("low",)]


def test_deleted_rows_are_gone(changing: Lakehouse) -> None:
    table = catalog_of(changing).load_table("default.sensor_data")
    table.delete("value >= 40.0")
    assert list(run_query(changing, "SELECT count(*), max(value) FROM sensor_data")) == [(20, 39.0)]


def test_one_connection_reads_one_state_of_all_tables(changing: Lakehouse) -> None:
    connection = engine.connect(changing)
    try:
        add_readings(catalog_of(changing).load_table("default.sensor_data"), _rows(5, device="late"))
        assert connection.execute("SELECT count(*) FROM sensor_data").fetchone() == (30,)
    finally:
        connection.close()
    assert list(run_query(changing, "SELECT count(*) FROM sensor_data")) == [(35,)]


def test_an_empty_table_and_an_empty_lake_answer(lakehouse: Lakehouse) -> None:
    assert "homelab apply" in _problem(lakehouse, "SELECT * FROM sensor_data").remedy
    make_readings(lakehouse, [])
    assert list(run_query(lakehouse, "SELECT count(*) FROM sensor_data")) == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO sensor_data SELECT * FROM sensor_data",
        "DELETE FROM hive.default.sensor_data",
        "DROP VIEW sensor_data",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/never-written.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/never-written.csv'",
        "ATTACH '/tmp/never-made.db'",
        "SET autoinstall_known_extensions = true",
    ],
)
def test_whatever_writes_is_refused(filled: Lakehouse, sql: str) -> None:
    assert "only reads" in _problem(filled, sql).what
    assert list(run_query(filled, "SELECT count(*) FROM sensor_data")) == [(30,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT count(*) FROM glob('/etc/*')",
        "SELECT * FROM read_text('s3://{raw}/**')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
        "SELECT * FROM '{file}'",
    ],
)
def test_a_query_reads_the_lake_and_no_file_of_this_machine(filled: Lakehouse, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secrets.csv"
    secret.write_text("cAnArY,1\n")
    with pytest.raises(HomelabError) as refused:
        list(run_query(filled, sql.format(file=secret, raw=filled.raw_bucket)))
    assert "cAnArY" not in str(refused.value)


def test_a_query_cannot_take_its_bounds_off(filled: Lakehouse) -> None:
    connection = engine.connect(filled)
    engine.restrict(connection, filled)
    try:
        for setting in ("enable_external_access = true", "allowed_directories = ['/']", "lock_configuration = false"):
            with pytest.raises(duckdb.Error):
                connection.execute(f"SET {setting}")
        assert connection.execute("SELECT count(*) FROM sensor_data").fetchone() is not None
    finally:
        connection.close()


def test_what_does_not_fit_into_memory_still_spills(filled: Lakehouse) -> None:
    sql = "SELECT count(*) FROM (SELECT range, hash(range) h FROM range(6000000) ORDER BY h)"
    assert list(run_query(filled, sql, memory_limit="60MB")) == [(6_000_000,)]


def test_two_statements_or_none_are_refused(filled: Lakehouse) -> None:
    assert "2 statements" in _problem(filled, "SELECT 1; SELECT 2").what
    assert "no statement" in _problem(filled, "  -- nothing\n").what


@pytest.mark.parametrize(
    ("sql", "line", "column", "said"),
    [
        ("SELECT devcie FROM sensor_data", 1, 8, "Did you mean device?"),
        ("SELECT *\nFROM sensor_dat", 2, 6, "Did you mean default.sensor_data?"),
        ("SELECT 1\nFROM sensor_data WHER value > 1", 2, 23, ""),
        ("SELECT 'ä', roudn(value) FROM sensor_data", 1, 13, "Did you mean round?"),
        ("SELECT value::date FROM sensor_data WHERE\n nope = 1", 2, 2, "Near it: "),
    ],
)
def test_an_error_names_line_column_and_what_was_meant(
    filled: Lakehouse, sql: str, line: int, column: int, said: str
) -> None:
    problem = _problem(filled, sql)
    assert problem.where == Position("query", line, column)
    assert said in problem.remedy


def test_a_query_is_stopped_at_its_deadline(filled: Lakehouse) -> None:
    begin = time.monotonic()
    problem = _problem(filled, "SELECT count(*) FROM range(100000000) a, range(100000) b", timeout=0.5)
    assert "stopped after 0.5 s" in problem.what
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("after", [0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 1.0])
def test_ctrl_c_stops_a_query_whenever_it_comes_while_it_is_opened_too(filled: Lakehouse, after: float) -> None:
    begin = time.monotonic()
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        list(run_query(filled, "SELECT count(*) FROM range(100000000) a, range(100000) b", timeout=30))
    assert time.monotonic() - begin < 25


def test_ctrl_c_during_the_first_import_of_the_engine_is_heard_after_it() -> None:
    """In the middle of it DuckDB's own part ends with an ImportError, or with the whole process."""
    code = (
        "import os, signal, sys, threading\n"
        "from homelab_platform.tools.duckdb import open_offline\n"
        "from homelab_platform.tools.interrupts import ctrl_c\n"
        "threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "with ctrl_c():\n    open_offline()\n"
    )
    for after in ("0.02", "0.05", "0.1"):
        done = subprocess.run([sys.executable, "-c", code, after], capture_output=True, text=True, check=False)
        assert done.returncode in {-signal.SIGINT, 0}, done.stderr  # 0: all of it was over by then
        assert "ImportError" not in done.stderr


def test_no_bar_of_progress_is_drawn_into_what_is_printed() -> None:
    """A long query in a process that DuckDB takes for a person's, as it takes `python -c`, would print one."""
    code = (
        "from homelab_platform.tools.duckdb import open_offline\n"
        "sql = open_offline()\n"
        "print(sql.execute(\"SELECT current_setting('enable_progress_bar')\").fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[(False,)]\n"


def test_the_bar_is_off_before_anything_that_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the extensions takes more than two seconds on a busy machine."""
    asked: list[str] = []

    class Listened:
        """A connection that keeps what it was asked."""

        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection = connection

        def execute(self, sql: str) -> duckdb.DuckDBPyConnection:
            asked.append(sql)
            return self.connection.execute(sql)

    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda **settings: Listened(connect(**settings)))
    cast("Listened", engine.open_offline()).connection.close()
    assert asked[0] == "SET enable_progress_bar = false"
    assert any(sql.startswith("LOAD") for sql in asked)


def test_a_limit_holds_rows_back_and_says_so(filled: Lakehouse) -> None:
    with run_query(filled, "SELECT * FROM range(5000)", limit=3000) as result:
        assert len(list(result)) == 3000
    assert result.truncated
    with run_query(filled, "SELECT * FROM range(3000)", limit=3000) as result:
        assert len(list(result)) == 3000
    assert not result.truncated


def test_a_dead_s3_server_is_named(filled: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    dead = replace(filled, objects=ObjectsEndpoint("http://127.0.0.1:9", "key", "hush-secret"))
    problem = _problem(dead, "SELECT * FROM sensor_data")
    assert "default.sensor_data" in str(problem.where)
    assert "homelab status" in problem.remedy
    assert "hush-secret" not in str(problem)


def test_the_snapshot_in_use_may_expire_before_the_query_starts(
    filled: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine.table_pointers
    gone = [engine.TablePointer("default", "sensor_data", f"s3://{filled.lake_bucket}/warehouse/gone.metadata.json")]

    def stale_once(lakehouse: Lakehouse) -> Any:
        return (gone.pop(),) if gone else real(lakehouse)

    monkeypatch.setattr(engine, "table_pointers", stale_once)
    assert list(run_query(filled, "SELECT count(*) FROM sensor_data")) == [(30,)]


class _Made:
    """A result without an engine."""

    def __init__(self, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        self.columns = columns
        self._rows = rows

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


_MADE = _Made(
    ("ts", "value", "note", "value"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), 1.5, 'a "quote", and\na line', None),
        (None, float("nan"), "µ", 2**70),
    ],
)


def test_csv_can_be_read_back() -> None:
    out = io.StringIO()
    assert format_csv(_MADE, out) == 2
    rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert rows[0] == ["ts", "value", "note", "value"]
    assert rows[1] == ["2026-01-02T03:04:05.000600+00:00", "1.5", 'a "quote", and\na line', ""]


def test_json_is_valid_whatever_the_values_are() -> None:
    out = io.StringIO()
    assert format_json(_MADE, out) == 2
    first, second = json.loads(out.getvalue())
    assert first == {
        "ts": "2026-01-02T03:04:05.000600+00:00",
        "value": 1.5,
        "note": 'a "quote", and\na line',
        "value_2": None,
    }
    assert second == {"ts": None, "value": None, "note": "µ", "value_2": 2**70}
    empty = io.StringIO()
    format_json(_Made(("a",), []), empty)
    assert json.loads(empty.getvalue()) == []


def test_a_table_is_aligned_and_keeps_each_row_on_one_line() -> None:
    out = io.StringIO()
    assert format_table(_Made(("name", "n"), [("a", 1), ("long\nname", 200)]), out) == 2
    assert out.getvalue() == "name         n\n─────────  ───\na            1\nlong name  200\n"


def test_tables_of_another_namespace_are_seen(changing: Lakehouse) -> None:
    from homelab_platform.readings.contract import readings_schema

    made = make_table(catalog_of(changing), "marts.copy", readings_schema())
    add_readings(made, _rows(2))
    assert list(run_query(changing, "SELECT count(*) FROM marts.copy")) == [(2,)]
    assert list(run_query(changing, "SELECT count(*) FROM hive.marts.copy")) == [(2,)]


def test_rows_come_as_arrow_too(filled: Lakehouse) -> None:
    with run_query(filled, "SELECT device, value FROM sensor_data ORDER BY value") as result:
        table: pa.Table = result.arrow().read_all()
    assert table.num_rows == 30
    assert table.column("value")[0].as_py() == 20.0

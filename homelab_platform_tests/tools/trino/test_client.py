"""Trino as people meet it: over TLS with a password, with the rights of their role, and errors that say what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from homelab_platform.apply.state_store import StateStore
from homelab_platform.errors import HomelabError, Position
from homelab_platform.readings import contract
from homelab_platform.readings.marts import ensure_mart_tables
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.query.trino import run_on_trino
from homelab_platform.servers import trino as server
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform.tools.trino import client as trino
from homelab_platform_tests.plan.trino.test_config import lab_with

pytestmark = [pytest.mark.servers, pytest.mark.slow]
Engines = tuple[TrinoEndpoint, Lakehouse]
REFRESHED_WITHIN = 60.0
PROBLEMS = [
    ("SELECT devcie FROM sensor_data", 1, 8, "Did you mean device?"),
    ("SELECT *\nFROM sensor_dat", 2, 6, "Did you mean default.sensor_data?"),
    ("SELECT 1\nFROM sensor_data WHER value > 1", 2, 23, ""),
    ("SELECT 'ä', roudn(value) FROM sensor_data", 1, 13, "Did you mean round?"),
]


@pytest.fixture
def lab(trino_lake: Engines) -> Engines:
    """The session's Trino over a lake with all tables and an applied state."""
    endpoint, lake = trino_lake
    contract.ensure_tables(lake)
    ensure_mart_tables(lake)
    store = StateStore(lake.postgres)
    store.applied("table/sensor_data", "abc", {}, turn=store.turn())
    server.prepare_catalog(Path(str(endpoint.ca)).parent, lake)
    return trino_lake


@pytest.fixture
def people(lab: Engines) -> dict[str, TrinoEndpoint]:
    """Ada (admin), Ben (dev) and Eve (guest), added to the server while it runs."""
    endpoint, lake = lab
    folder = Path(str(endpoint.ca)).parent
    told = (folder / "etc" / "config.properties").read_text()

    def setting(name: str) -> str:
        return re.search(rf"^{re.escape(name)}=(.*)$", told, re.MULTILINE)[1]  # type: ignore[index]

    chosen = server.TrinoPorts(int(setting("http-server.http.port")), int(setting("http-server.https.port")))
    shared = setting("internal-communication.shared-secret")
    server.prepare(
        folder, chosen, lake, password=str(endpoint.password), shared_secret=shared, lab=lab_with(), dynamic=True
    )
    secrets = {name: server.person_password(folder, name) for name in ("ada", "ben", "eve")}
    found = {name: replace(endpoint, user=name, password=secret) for name, secret in secrets.items()}
    deadline = time.monotonic() + REFRESHED_WITHIN
    for one in found.values():
        while not _may_query(one) and time.monotonic() < deadline:
            time.sleep(0.5)
    return found


def _may_query(endpoint: TrinoEndpoint) -> bool:
    try:
        return trino.execute(endpoint, "SELECT 1") == [(1,)]
    except HomelabError:
        return False


def _refused(endpoint: TrinoEndpoint, sql: str) -> bool:
    """Whether Trino refuses a statement for want of a right, or shows nothing of what it names."""
    with pytest.raises(trino.TrinoFailed) as caught:
        trino.execute(endpoint, sql)
    return caught.value.name in {"PERMISSION_DENIED", "TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND"}


def test_each_role_may_do_what_it_should_and_nothing_else(lab: Engines, people: dict[str, TrinoEndpoint]) -> None:
    ada, ben, eve = people["ada"], people["ben"], people["eve"]
    readings, mart = "SELECT count(*) FROM hive.default.sensor_data", "SELECT count(*) FROM hive.marts.readings_daily"
    state = "SELECT count(*) FROM postgresql.public.applied_state"
    assert [trino.execute(who, mart) for who in (ada, ben, eve)] == [[(0,)]] * 3
    assert trino.execute(ada, readings) == trino.execute(ben, readings) == [(0,)]
    assert trino.execute(ada, state) == trino.execute(ben, state) == [(1,)]
    assert [row[0] for row in trino.execute(eve, "SHOW SCHEMAS FROM hive")] == ["marts"]
    for sql in (readings, state, "DELETE FROM hive.marts.readings_daily", "CREATE SCHEMA hive.eve"):
        assert _refused(eve, sql), sql
    for sql in (
        "DELETE FROM hive.default.sensor_data",
        "DROP TABLE hive.marts.readings_daily",
        "SELECT * FROM postgresql.public.iceberg_tables",
        "CREATE TABLE hive.marts.mine AS SELECT 1 AS one",
        "SET SESSION query_max_memory = '1TB'",
    ):
        assert _refused(ben, sql), sql
    assert _refused(eve, "SET SESSION query_max_run_time = '9d'")
    through = "SELECT * FROM TABLE(postgresql.system.query(query => 'SELECT rolpassword FROM pg_authid'))"
    for who in (ada, ben, eve, lab[0]):
        assert _refused(who, through)
        assert _refused(who, "DELETE FROM postgresql.public.applied_state")
    trino.execute(ben, "CREATE SCHEMA hive.ben")
    try:
        trino.execute(ben, "CREATE TABLE hive.ben.mine AS SELECT 1 AS one")
        assert _refused(eve, "SELECT * FROM hive.ben.mine")
        trino.execute(ben, "DROP TABLE hive.ben.mine")
    finally:
        trino.execute(ada, "DROP SCHEMA hive.ben")


def test_lab_state_and_readings_meet_in_one_query(lab: Engines) -> None:
    sql = (
        "SELECT s.key, count(r.ts) FROM postgresql.public.applied_state s "
        "LEFT JOIN hive.default.sensor_data r ON s.key = 'table/sensor_data' GROUP BY s.key"
    )
    assert trino.execute(lab[0], sql) == [("table/sensor_data", 0)]


def test_nobody_comes_in_without_the_password_or_past_tls(
    trino: TrinoEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from homelab_platform.tools.trino.client import execute

    (tmp_path / "other.pem").write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert execute(trino, "SELECT 1") == [(1,)]
    for bad, said in (
        (replace(trino, password="wrong"), "does not know the user homelab or the password"),
        (replace(trino, user="mallory"), "does not know the user mallory or the password"),
        (replace(trino, ca=None), "certificate"),
        (replace(trino, url="https://localhost:1"), "does not answer"),
    ):
        with pytest.raises(HomelabError, match=said):
            execute(bad, "SELECT 1")
    told = (Path(str(trino.ca)).parent / "etc" / "config.properties").read_text()
    port = re.search(r"http-server.http.port=(\d+)", told)[1]  # type: ignore[index]
    with closing(requests.Session()) as session:
        session.trust_env = False
        answer = session.post(
            f"http://127.0.0.1:{port}/v1/statement", data="SELECT 1", headers={"X-Trino-User": "homelab"}, timeout=30
        )
    assert answer.status_code in (401, 403)


def _problem(run: Any, *told: Any) -> Any:
    with pytest.raises(HomelabError) as caught:
        list(run(*told))
    return caught.value.problems[0]


def test_both_engines_say_the_same_of_a_bad_query(lab: Engines) -> None:
    endpoint, lake = lab
    for sql, line, column, said in PROBLEMS:
        ours, theirs = _problem(run_query, lake, sql), _problem(run_on_trino, endpoint, sql)
        assert ours.where == theirs.where == Position("query", line, column), sql
        assert said in ours.remedy
        assert said in theirs.remedy
    for sql in ("DROP TABLE sensor_data", "INSERT INTO sensor_data SELECT 1", "SELECT 1; SELECT 2", "  -- nothing\n"):
        ours, theirs = _problem(run_query, lake, sql), _problem(run_on_trino, endpoint, sql)
        assert (ours.what, ours.remedy) == (theirs.what, theirs.remedy)
    assert "INSERT is refused" in _problem(run_on_trino, endpoint, "EXPLAIN ANALYZE INSERT INTO t SELECT 1").what


def test_rows_come_typed_and_bounded(lab: Engines) -> None:
    sql = "SELECT n, CAST(row(n, 'x') AS row(a bigint, b varchar)) AS r FROM UNNEST(sequence(1, 5000)) AS t (n)"
    with run_on_trino(lab[0], sql, limit=3) as result:
        assert result.types == ("BIGINT", "STRUCT(a BIGINT, b VARCHAR)")
        assert list(result) == [(n, {"a": n, "b": "x"}) for n in (1, 2, 3)]
        assert result.truncated


@pytest.fixture
def endless() -> Iterator[str]:
    """A query that would take hours."""
    numbers = "UNNEST(sequence(1, 10000))"
    yield f"SELECT count(*) FROM {numbers} a CROSS JOIN {numbers} b CROSS JOIN {numbers} c"


def test_a_query_over_its_time_ends_on_the_server_too(lab: Engines, endless: str) -> None:
    with pytest.raises(HomelabError, match="stopped after 2 s"):
        list(run_on_trino(lab[0], endless, timeout=2))
    still = (
        "SELECT count(*) FROM system.runtime.queries "
        "WHERE state = 'RUNNING' AND query LIKE 'SELECT count(*) FROM UNNEST%'"
    )
    deadline = time.monotonic() + 30
    while trino.execute(lab[0], still) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert trino.execute(lab[0], still) == [(0,)]


def test_a_guest_cannot_read_more_than_the_role_may(lab: Engines, people: dict[str, TrinoEndpoint]) -> None:
    rows = {row[0]: row[1] for row in trino.execute(people["eve"], "SHOW SESSION LIKE 'query_max%'")}
    assert rows["query_max_run_time"] in ("120s", "120.00s", "2.00m")
    assert rows["query_max_scan_physical_bytes"] not in ("", None)

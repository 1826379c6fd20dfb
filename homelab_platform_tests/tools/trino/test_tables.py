"""One catalog, many engines: what our ingest and maintenance write, Trino reads; what Trino writes, ours survives."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.readings import contract, ingest
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.trino import client as trino

pytestmark = [pytest.mark.servers, pytest.mark.slow]

START = datetime(2026, 10, 20, 10, tzinfo=UTC)
Engines = tuple[TrinoEndpoint, Lakehouse]
COUNT = "SELECT count(*), count(DISTINCT ts), sum(value) FROM hive.default.sensor_data"


def reading(second: int, **more: Any) -> dict[str, Any]:
    ts = (START + timedelta(seconds=second)).isoformat()
    return {"ts": ts, "site": "home", "device": "esp-1", "sensor": "temperature", "value": second / 4, **more}


def deliver(lake: Lakehouse, name: str, records: Iterable[dict[str, Any]]) -> ingest.IngestReport:
    """Put an object into the raw bucket and take it in."""
    with ObjectStore(lake.objects) as store:
        store.put(lake.raw_bucket, f"env/{name}.ndjson", b"".join(orjson.dumps(r) + b"\n" for r in records))
    return ingest.ingest_pending(lake)


def by_duckdb(lake: Lakehouse, sql: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(lake)) as engine:
        return [tuple(row) for row in engine.execute(sql).fetchall()]


def by_both(engines: Engines, sql: str) -> list[tuple[Any, ...]]:
    """The rows that both engines give; they must be the same."""
    ours, theirs = by_duckdb(engines[1], sql), trino.execute(engines[0], sql)
    assert ours == theirs
    return theirs


@pytest.fixture
def filled(trino_lake: Engines) -> Engines:
    """Two hundred readings over two days in two commits, and a refused line."""
    lake = trino_lake[1]
    contract.ensure_tables(lake)
    deliver(lake, "1", [reading(i) for i in range(100)])
    deliver(lake, "2", [*(reading(i + 86_400) for i in range(100)), {"device": "esp-1"}])
    return trino_lake


def test_trino_reads_what_ingest_writes_before_and_after_maintenance(filled: Engines) -> None:
    everything = "SELECT * FROM hive.default.sensor_data ORDER BY ts"
    before = by_both(filled, everything)
    assert len(before) == 200
    assert before[0][0] == START
    deliver(filled[1], "3", [reading(i, battery=3.7, note="grün") for i in range(100, 110)])
    wide = by_both(filled, everything)
    assert {len(row) for row in wide} == {12}
    assert by_both(filled, "SELECT battery, note FROM hive.default.sensor_data WHERE battery IS NOT NULL LIMIT 1") == [
        (3.7, "grün")
    ]
    refused = by_both(filled, "SELECT source, line, reason, raw, stream FROM hive.default.sensor_data_rejected")
    assert refused[0][1] == 101
    assert maintenance.compact(filled[1]).files_after == 1
    maintenance.expire_snapshots(filled[1], grace=timedelta(0))
    maintenance.clean_orphans(filled[1], grace=timedelta(0))
    assert by_both(filled, everything) == wide


def test_readings_that_trino_inserts_count_and_are_not_taken_in_twice(filled: Engines) -> None:
    trino.execute(
        filled[0],
        "INSERT INTO hive.default.sensor_data (ts, date, device, sensor, value) "
        "SELECT ts + INTERVAL '1' HOUR, date, device, sensor, value FROM hive.default.sensor_data",
    )
    report = deliver(filled[1], "3", [reading(i + 3600) for i in range(150)])
    assert (report.rows, report.duplicates) == (50, 100)
    assert by_both(filled, COUNT)[0][:2] == (450, 450)


def test_rows_that_trino_deletes_stay_deleted_through_ingest_and_compaction(filled: Engines) -> None:
    trino.execute(filled[0], "DELETE FROM hive.default.sensor_data WHERE value < 5")
    gone = by_both(filled, COUNT)
    assert gone[0][0] == 180
    report = deliver(filled[1], "3", [reading(i) for i in range(10, 130)])
    assert (report.rows, report.duplicates) == (40, 80)  # ten of the deleted twenty came again, and thirty new ones
    now = by_both(filled, COUNT)
    assert now[0][:2] == (220, 220)
    done = maintenance.compact(filled[1])
    assert (done.dates, done.rows) == ((date(2026, 10, 20),), 120)
    assert by_both(filled, COUNT) == now
    assert trino.execute(filled[0], 'SELECT count(*) FROM hive.default."sensor_data$files" WHERE content <> 0') == [
        (0,)
    ]


def test_values_that_trino_updates_are_seen_and_the_readings_still_known(filled: Engines) -> None:
    trino.execute(filled[0], "UPDATE hive.default.sensor_data SET value = -1e0 WHERE date = DATE '2026-10-20'")
    assert by_both(filled, "SELECT count(*) FROM hive.default.sensor_data WHERE value = -1") == [(100,)]
    assert deliver(filled[1], "again", [reading(i) for i in range(100)]).rows == 0
    assert by_both(filled, COUNT)[0][0] == 200


def test_trinos_own_maintenance_leaves_ours_working(filled: Engines) -> None:
    endpoint, lake = filled
    for n in range(4):
        deliver(lake, f"small-{n}", [reading(1000 + 10 * n + i) for i in range(10)])
    trino.execute(endpoint, "DELETE FROM hive.default.sensor_data WHERE value = 0")
    before = by_both(filled, COUNT)
    trino.execute(endpoint, "ALTER TABLE hive.default.sensor_data EXECUTE optimize")
    with trino.query(endpoint, "SHOW SESSION LIKE 'hive.%retention%'") as found:
        names = [row[0] for row in found]
    connection = trino.connect(endpoint)
    with closing(connection):
        cursor = connection.cursor()
        for name in names:
            cursor.execute(f"SET SESSION {name} = '0s'").fetchall()
        for procedure in ("expire_snapshots", "remove_orphan_files"):
            cursor.execute(
                f"ALTER TABLE hive.default.sensor_data EXECUTE {procedure}(retention_threshold => '0s')"
            ).fetchall()
    assert by_both(filled, COUNT) == before
    assert deliver(lake, "later", [reading(i) for i in range(90, 110)]).rows == 10
    maintenance.compact(lake)
    maintenance.expire_snapshots(lake, grace=timedelta(0))
    assert by_both(filled, COUNT)[0][0] == before[0][0] + 10


def test_columns_that_trino_adds_renames_and_drops(filled: Engines) -> None:
    endpoint, lake = filled
    alter = "ALTER TABLE hive.default.sensor_data "
    trino.execute(endpoint, alter + "ADD COLUMN room varchar")
    trino.execute(endpoint, alter + "ADD COLUMN floor integer")
    deliver(lake, "3", [reading(500, room="attic", floor=2), reading(501, room="attic", floor="high")])
    assert by_both(filled, "SELECT room, floor FROM hive.default.sensor_data WHERE room IS NOT NULL ORDER BY ts") == [
        ("attic", 2),
        ("attic", None),
    ]
    trino.execute(endpoint, alter + "RENAME COLUMN room TO chamber")
    assert by_both(filled, "SELECT DISTINCT chamber FROM hive.default.sensor_data WHERE chamber IS NOT NULL") == [
        ("attic",)
    ]
    trino.execute(endpoint, alter + "DROP COLUMN chamber")
    deliver(lake, "4", [reading(502, room="cellar")])
    assert by_both(filled, "SELECT room FROM hive.default.sensor_data WHERE room IS NOT NULL") == [("cellar",)]
    maintenance.compact(lake)
    assert by_both(filled, COUNT)[0][0] == 203
    trino.execute(endpoint, alter + "RENAME COLUMN quality TO grade")
    with pytest.raises(HomelabError, match="column quality"):
        deliver(lake, "5", [reading(503)])
    trino.execute(endpoint, alter + "RENAME COLUMN grade TO quality")
    assert ingest.ingest_pending(lake).rows == 1


def test_a_table_that_trino_makes_is_a_table_for_all(filled: Engines) -> None:
    endpoint, lake = filled
    trino.execute(
        endpoint,
        "CREATE TABLE hive.default.daily WITH (partitioning = ARRAY['date'], sorted_by = ARRAY['device']) AS "
        "SELECT date, device, avg(value) AS mean, array_agg(value ORDER BY ts) AS all_values "
        "FROM hive.default.sensor_data GROUP BY date, device",
    )
    rows = by_both(filled, "SELECT date, device, mean, all_values[1] FROM hive.default.daily ORDER BY 1")
    assert [row[0] for row in rows] == [date(2026, 10, 20), date(2026, 10, 21)]
    trino.execute(endpoint, "DROP TABLE hive.default.daily")
    assert "daily" not in str(by_duckdb(lake, "SHOW TABLES"))


def test_commits_of_ingest_and_of_trino_at_once_all_count(filled: Engines) -> None:
    endpoint, lake = filled
    failures: list[Exception] = []

    def insert() -> None:
        for n in range(5):
            sql = (
                "INSERT INTO hive.default.sensor_data (ts, date, device, sensor, value) VALUES "
                f"(TIMESTAMP '2026-10-20 23:00:0{n}.000000 UTC', DATE '2026-10-20', 'trino', 'n', {n}e0)"
            )
            try:
                trino.execute(endpoint, sql, attempts=20)
            except HomelabError as error:
                failures.append(error)

    other = threading.Thread(target=insert)
    other.start()
    ours = 0
    for n in range(100):
        if not other.is_alive() and n >= 5:
            break
        ours += deliver(lake, f"race-{n}", [reading(5000 + n)]).rows
    other.join()
    assert not failures
    assert by_both(filled, COUNT)[0][:2] == (205 + ours, 205 + ours)

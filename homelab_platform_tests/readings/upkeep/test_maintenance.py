"""Upkeep of the tables: what it merges and deletes, and what it must leave for queries and other engines at work."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest

from homelab_platform.readings.contract import READINGS, REJECTED, ensure_tables
from homelab_platform.readings.ingest import ingest_objects
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.readings.upkeep.table_shape import scan_seconds, shape
from homelab_platform.tools import duckdb as engine
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.readings.lake import at, catalog_of

pytestmark = pytest.mark.servers
BEGIN = at("2026-11-16 00:00")


def deliver(lakehouse: Lakehouse, number: int, *, bad: int = 2) -> None:
    """One object with a reading of its own and some lines that are none."""
    good = Reading(BEGIN + timedelta(seconds=number), "attic", "temperature", float(number)).line()
    lines = good + b"".join(b'{"device": "attic", "n": %d}\n' % (100 * number + n) for n in range(bad))
    key = object_key("air", BEGIN.date(), "tests", f"{number:03}")
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    ingest_objects(lakehouse, [key])


def count(lakehouse: Lakehouse, table: str) -> int:
    with run_query(lakehouse, f"SELECT count(*) FROM {table}") as result:
        return int(next(iter(result.rows))[0])


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    ensure_tables(lakehouse)
    for number in range(6):
        deliver(lakehouse, number)
    return lakehouse


def test_readings_and_refused_lines_are_merged_and_not_one_is_changed(lake: Lakehouse) -> None:
    before = catalog_of(lake).load_table(REJECTED).scan().to_arrow().sort_by([("source", "ascending")])
    done = maintenance.compact(lake)
    assert (done.files_before, done.files_after, done.rejected_files) == (6, 1, 6)
    assert shape(lake, REJECTED).files == 1
    after = catalog_of(lake).load_table(REJECTED).scan().to_arrow()
    by = [("source", "ascending"), ("line", "ascending")]
    assert after.sort_by(by).equals(before.sort_by(by))
    assert maintenance.compact(lake).files_before == 0
    assert scan_seconds(lake, [BEGIN.date()]) is not None and scan_seconds(lake, []) is None
    deliver(lake, 7)
    assert count(lake, "sensor_data_rejected") == 14


def test_a_query_that_began_before_can_read_on_and_its_files_go_only_later(lake: Lakehouse) -> None:
    with closing(engine.connect(lake)) as running:
        maintenance.compact(lake)
        maintenance.expire_snapshots(lake)
        maintenance.clean_orphans(lake)
        rows = running.execute("SELECT count(*) FROM hive.default.sensor_data_rejected").fetchone()
        assert rows == (12,)
        assert running.execute("SELECT count(*), sum(value) FROM hive.default.sensor_data").fetchone() == (6, 15.0)
        deleted = maintenance.expire_snapshots(lake, grace=timedelta(0))
        assert deleted.files >= 12
    assert count(lake, "sensor_data") == 6 and count(lake, "sensor_data_rejected") == 12


def test_snapshots_of_the_last_day_stay_for_time_travel_and_so_does_what_a_tag_holds(lake: Lakehouse) -> None:
    table = catalog_of(lake).load_table(READINGS)
    first = table.snapshots()[0].snapshot_id
    maintenance.compact(lake)
    assert maintenance.expire_snapshots(lake, grace=timedelta(0), window=timedelta(days=1)).snapshots == 0
    assert catalog_of(lake).load_table(READINGS).scan(snapshot_id=first).to_arrow().num_rows == 1
    table.refresh()
    table.manage_snapshots().create_tag(first, "before-the-move").commit()
    assert maintenance.expire_snapshots(lake, grace=timedelta(0)).snapshots > 0
    assert catalog_of(lake).load_table(READINGS).scan(snapshot_id=first).to_arrow().num_rows == 1


def test_a_file_that_another_engine_may_be_about_to_commit_stays_for_a_day(lake: Lakehouse) -> None:
    path = "default/sensor_data/data/date=2026-11-16/20261116_trino_in_flight.parquet"
    with ObjectStore(lake.objects) as store:
        store.put(lake.lake_bucket, path, b"PAR1")
        assert maintenance.clean_orphans(lake).files == 0
        assert timedelta(hours=24) <= maintenance.ORPHAN_GRACE
        assert maintenance.clean_orphans(lake, grace=timedelta(0)).files == 1
        assert store.head(lake.lake_bucket, path) is None

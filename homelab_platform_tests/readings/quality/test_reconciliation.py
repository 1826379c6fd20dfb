"""Real state: the checks that recount turn red when the thing is broken for real, and green again when it is mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from homelab_platform.readings import ledger
from homelab_platform.readings.contract import READINGS, ensure_tables
from homelab_platform.readings.ingest import ingest_objects
from homelab_platform.readings.marts import ensure_mart_tables, refresh_mart
from homelab_platform.readings.quality.reconciliation import no_duplicates, rows_agree
from homelab_platform.readings.quality.reconciliation_files import compare, files_exist
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.readings.lake import at, catalog_of

pytestmark = pytest.mark.servers
BEGIN = at("2026-11-16 00:00")


def deliver(lakehouse: Lakehouse, name: str, *, day: int = 0, count: int = 24, more: bytes = b"") -> str:
    """Put an object with readings into the raw bucket and take it in."""
    times = [BEGIN + timedelta(days=day, hours=n) for n in range(count)]
    lines = b"".join(Reading(moment, name, "temperature", 20.0).line() for moment in times) + more
    key = object_key("air", BEGIN.date(), "tests", name)
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    ingest_objects(lakehouse, [key])
    return key


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """Two objects of two days in the table, one rejected line, and a mart."""
    ensure_tables(lakehouse)
    deliver(lakehouse, "attic")
    deliver(lakehouse, "cellar", day=1, more=b'{"device": "cellar"}\n')
    ensure_mart_tables(lakehouse, ["readings_daily"])
    refresh_mart(lakehouse, "readings_daily", None)
    return lakehouse


def red(result: CheckResult) -> CheckResult:
    """A verdict that failed, says what is wrong and what to do about it."""
    assert not result.passed, result.description
    assert result.metadata["what to do"]
    return result


def test_a_sound_lake_is_green_and_the_next_look_is_only_at_what_changed(lake: Lakehouse) -> None:
    first, second = no_duplicates(lake), no_duplicates(lake)
    assert first.passed and first.metadata["days"] == 2
    assert second.passed and second.metadata["days"] == 0
    assert no_duplicates(lake, everything=True).metadata["days"] == 2
    counted = rows_agree(lake)
    assert counted.passed and counted.metadata["objects"] == 2
    assert rows_agree(lake, everything=True).passed
    found = files_exist(lake)
    assert found.passed and found.metadata["tables"] == 3


def test_a_reading_that_another_engine_inserts_again_stays_red_until_it_is_gone(lake: Lakehouse) -> None:
    assert no_duplicates(lake).passed
    table = catalog_of(lake).load_table(READINGS)
    table.append(table.scan(row_filter="device == 'attic'", limit=1).to_arrow())
    wrong = red(no_duplicates(lake))
    assert wrong.severity == "error" and wrong.metadata["doubled"] == 1
    assert "attic/temperature" in wrong.description
    deliver(lake, "hall", day=2)
    red(no_duplicates(lake))  # a look at other days does not turn it green
    table.refresh()
    table.delete("device == 'attic'")
    assert no_duplicates(lake).passed


def test_rows_that_vanish_or_appear_are_told_by_their_object(lake: Lakehouse) -> None:
    assert rows_agree(lake).passed
    table = catalog_of(lake).load_table(READINGS)
    rows = table.scan(row_filter="device == 'cellar'").to_arrow()
    table.delete("device == 'cellar'")
    wrong = red(rows_agree(lake, everything=True))
    assert "took 24 readings of 1 objects away" in wrong.description
    assert "cellar" in wrong.metadata["objects off"][0]["object"]
    table.append(rows)
    assert rows_agree(lake, everything=True).passed
    import pyarrow as pa

    stray = rows.slice(0, 2)
    at_source = stray.schema.get_field_index("source")
    table.append(stray.set_column(at_source, stray.schema.field("source"), pa.nulls(2, stray["source"].type)))
    assert "2 rows were written by another engine" in red(rows_agree(lake, everything=True)).description


def test_a_lost_row_that_no_other_engine_explains_is_an_error(lake: Lakehouse) -> None:
    with ledger.connect(lake) as connection:
        connection.execute("UPDATE ingest_ledger SET rows = rows + 1 WHERE key LIKE '%attic%'")
        wrong = red(rows_agree(lake))
        assert wrong.severity == "error" and "24 of 25 readings" in wrong.description
        connection.execute("UPDATE ingest_ledger SET rows = rows - 1 WHERE key LIKE '%attic%'")
    assert rows_agree(lake).passed


@pytest.mark.parametrize("kind", ["data", "manifest", "list", "metadata"])
def test_an_object_that_is_deleted_or_cut_short_turns_the_check_red_and_putting_it_back_mends_it(
    lake: Lakehouse, kind: str
) -> None:
    io = iceberg.open_io(lake)
    with ledger.connect(lake) as connection:
        state = iceberg.load_table(connection, lake, READINGS)
    snapshot = state.metadata.current_snapshot()
    assert snapshot is not None
    path = {
        "data": iceberg.live_entries(state, io)[0].data_file.file_path,
        "manifest": iceberg.manifests(state, io)[0].manifest_path,
        "list": snapshot.manifest_list,
        "metadata": state.location,
    }[kind]
    bucket, key = split_location(path)
    whole = io.store.get(bucket, key)
    io.store.delete(bucket, [key])
    wrong = red(files_exist(lake))
    assert wrong.severity == "error" and key in wrong.description and "1 missing" in wrong.description
    io.store.put(bucket, key, whole[: len(whole) // 2])
    wrong = red(files_exist(lake))
    assert key in wrong.description
    assert ("of the wrong size" if kind in ("data", "manifest") else "unreadable") in wrong.description
    io.store.put(bucket, key, whole)
    assert files_exist(lake).passed
    io.store.close()


def test_files_that_nobody_names_are_told_of_once_they_are_old(lake: Lakehouse) -> None:
    with ObjectStore(lake.objects) as store:
        store.put(lake.lake_bucket, "default/sensor_data/data/left-behind.parquet", b"x" * 100)
    assert files_exist(lake).passed  # it may belong to a commit that is under way
    later = files_exist(lake, now=datetime.now(UTC) + timedelta(hours=51))
    assert red(later).severity == "warn"
    assert later.metadata["unknown_files"] == 1 and later.metadata["unknown_bytes"] == 100
    assert compare(lake).named == later.metadata["files"]

"""Marts: what they say about readings, and that computing only what changed gives what computing everything gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh_mart, remove_mart
from homelab_platform.readings.query.run import run_query
from homelab_platform.servers.scratch.servers import ScratchServers, fresh_lakehouse
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform_tests.readings.lake import add_readings, at, catalog_of, make_readings, make_rejected

pytestmark = pytest.mark.servers
NOW = at("2026-11-20 12:00")
DAY = timedelta(days=1)
STREAMS = {
    "air": ResolvedStream(
        name="air",
        source="mqtt",
        bucket="readings-raw",
        prefix="air/",
        devices=("kitchen", "cellar"),
        source_settings={"site": "home"},
        sensors={"temperature": ResolvedSensor(name="temperature", unit="°C", low=-40, high=85, every=600)},
    )
}


def _series(
    begin: datetime, values: Sequence[float], *, device: str = "kitchen", every: float = 600, **more: Any
) -> list[dict[str, Any]]:
    return [
        {
            "ts": begin + timedelta(seconds=n * every),
            "device": device,
            "sensor": "temperature",
            "value": float(value),
            "unit": "°C",
            "source": "air/2026-11-18/x/1.ndjson.gz",
            **more,
        }
        for n, value in enumerate(values)
    ]


def _rows(lakehouse: Lakehouse, name: str, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
    with run_query(lakehouse, f"SELECT {columns} FROM marts.{name} WHERE {where} ORDER BY ALL") as result:
        return [dict(zip(result.columns, row, strict=True)) for row in result]


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A lake with the tables of all marts and with none of readings."""
    ensure_mart_tables(lakehouse)
    return lakehouse


def test_hours_and_days_have_their_statistics(lake: Lakehouse) -> None:
    values = [20, 21, 22, 23, 24, 25, 30]
    make_readings(lake, _series(at("2026-11-18 09:00"), values))
    report = refresh_mart(lake, "readings_hourly", [date(2026, 11, 18)], STREAMS)
    assert (report.rows, report.dates, report.changed) == (2, (date(2026, 11, 18),), (date(2026, 11, 18),))
    nine, ten = _rows(lake, "readings_hourly")
    assert nine["hour"] == at("2026-11-18 09:00")
    assert (nine["readings"], nine["min"], nine["max"], nine["mean"]) == (6, 20, 25, 22.5)
    assert (nine["first"], nine["last"], nine["p50"], nine["unit"], nine["site"]) == (20, 25, 22.5, "°C", "home")
    assert math.isclose(nine["stddev"], math.sqrt(35 / 12))
    assert (ten["readings"], ten["stddev"], ten["p95"]) == (1, 0, 30)
    refresh_mart(lake, "readings_daily", None, STREAMS)
    (day,) = _rows(lake, "readings_daily")
    assert (day["readings"], day["first"], day["last"], day["hours"]) == (7, 20, 30, 2)


def test_a_silence_is_a_gap_also_across_midnight(lake: Lakehouse) -> None:
    rows = _series(at("2026-11-17 22:00"), [1] * 6) + _series(at("2026-11-18 05:00"), [1] * 12)
    make_readings(lake, rows)
    refresh_mart(lake, "gaps", [date(2026, 11, 17)], STREAMS)
    (gap,) = _rows(lake, "gaps")
    assert gap["date"] == date(2026, 11, 18)
    assert (gap["gap_start"], gap["gap_end"]) == (at("2026-11-17 22:50"), at("2026-11-18 05:00"))
    assert (gap["seconds"], gap["expected_seconds"], gap["missing"]) == (22200, 600, 36)


def test_without_a_known_pace_the_usual_distance_counts(lake: Lakehouse) -> None:
    rows = _series(at("2026-11-18 00:00"), [1] * 20, sensor="odd", every=60)
    rows += _series(at("2026-11-18 03:00"), [1] * 20, sensor="odd", every=60)
    make_readings(lake, rows)
    refresh_mart(lake, "gaps", None, {})
    (gap,) = _rows(lake, "gaps")
    assert gap["expected_seconds"] == 60


def test_late_readings_close_a_gap_and_the_day_after_is_computed_too(lake: Lakehouse) -> None:
    table = make_readings(lake, _series(at("2026-11-16 23:00"), [1]) + _series(at("2026-11-18 01:00"), [1] * 4))
    refresh_mart(lake, "gaps", None, STREAMS)
    assert [row["gap_start"] for row in _rows(lake, "gaps")] == [at("2026-11-16 23:00")]
    add_readings(table, _series(at("2026-11-17 12:00"), [1]))
    report = refresh_mart(lake, "gaps", [date(2026, 11, 17)], STREAMS)
    assert report.changed == (date(2026, 11, 17), date(2026, 11, 18))
    assert [row["gap_start"] for row in _rows(lake, "gaps", "gap_start")] == [
        at("2026-11-16 23:00"),
        at("2026-11-17 12:00"),
    ]


def test_the_health_of_a_device_tells_completeness_silence_and_rejected_lines(lake: Lakehouse) -> None:
    rows = _series(at("2026-11-18 00:00"), [20] * 71) + _series(at("2026-11-18 11:50"), [99], quality="out_of_range")
    make_readings(lake, rows + _series(at("2026-11-20 10:00"), [20] * 6, device="pi"))
    key = "air/2026-11-18/x/1.ndjson.gz"
    bad = {"source": key, "reason": "value is missing", "raw": "{}", "ingested_at": NOW, "stream": "air"}
    make_rejected(lake, [{**bad, "line": n} for n in range(8)] + [{**bad, "source": "other", "line": 1}])
    refresh_mart(lake, "device_health", [date(2026, 11, 18), date(2026, 11, 20)], STREAMS, now=NOW)
    found = {(row["date"].day, row["device"]): row for row in _rows(lake, "device_health")}
    assert set(found) == {(18, "kitchen"), (18, "cellar"), (20, "kitchen"), (20, "cellar"), (20, "pi")}
    kitchen = found[18, "kitchen"]
    assert (kitchen["readings"], kitchen["expected"], kitchen["completeness"]) == (72, 144, 0.5)
    assert kitchen["last_seen"] == at("2026-11-18 11:50")
    assert kitchen["silent_seconds"] == (12 * 60 + 10) * 60
    assert math.isclose(kitchen["out_of_range_share"], 1 / 72)
    assert (kitchen["rejected"], kitchen["rejected_share"]) == (8, 0.1)
    cellar = found[18, "cellar"]
    assert (cellar["readings"], cellar["completeness"], cellar["last_seen"], cellar["site"]) == (0, 0, None, "home")
    assert found[20, "cellar"]["expected"] == 72
    assert found[20, "pi"]["silent_seconds"] == 70 * 60


def test_an_anomaly_is_found_where_the_level_changes(lake: Lakehouse) -> None:
    usual = [20 + 3 * math.sin(n / 144 * 2 * math.pi) for n in range(144 * 12)]
    make_readings(lake, _series(at("2026-11-01 00:00"), [*usual, *[70] * 144]))
    refresh_mart(lake, "anomalies", None, STREAMS)
    found = _rows(lake, "anomalies", "date, ts, kind, value, high, score")
    assert {row["date"] for row in found} == {date(2026, 11, 13)}
    assert {row["kind"] for row in found} >= {"spike"}
    assert found[0]["ts"] == at("2026-11-13 00:00")
    assert found[0]["high"] < 24


def test_computing_again_commits_nothing_and_a_change_commits_once(lake: Lakehouse) -> None:
    table = make_readings(lake, _series(at("2026-11-17 12:00"), range(144)))
    days = [date(2026, 11, 17), date(2026, 11, 18)]
    first = refresh_mart(lake, "readings_hourly", days, STREAMS)
    again = refresh_mart(lake, "readings_hourly", days, STREAMS)
    assert again.changed == ()
    assert again.snapshot_id == first.snapshot_id
    add_readings(table, _series(at("2026-11-18 20:00"), [1]))
    third = refresh_mart(lake, "readings_hourly", days, STREAMS)
    assert third.changed == (date(2026, 11, 18),)
    mart = catalog_of(lake).load_table("marts.readings_hourly")
    assert len(mart.snapshots()) == 2
    assert mart.current_snapshot() is not None
    assert third.snapshot_id == mart.metadata.current_snapshot_id
    assert len(_rows(lake, "readings_hourly")) == 25


def test_a_day_whose_readings_are_gone_is_emptied(lake: Lakehouse) -> None:
    table = make_readings(lake, _series(at("2026-11-17 12:00"), range(100)))
    refresh_mart(lake, "readings_hourly", None, STREAMS)
    table.refresh()
    table.delete("date == '2026-11-17'")
    report = refresh_mart(lake, "readings_hourly", None, STREAMS)
    assert report.changed == (date(2026, 11, 17),)
    assert {row["date"] for row in _rows(lake, "readings_hourly")} == {date(2026, 11, 18)}


def test_tables_carry_fingerprint_and_documentation_and_are_replaced_when_their_columns_change(
    lakehouse: Lakehouse,
) -> None:
    from pyiceberg.types import StringType

    assert set(ensure_mart_tables(lakehouse, fingerprints={"gaps": "abc"}).values()) == {"created"}
    gaps = catalog_of(lakehouse).load_table("marts.gaps")
    assert gaps.properties["homelab.fingerprint"] == "abc"
    assert all(field.doc for field in gaps.schema().fields)
    with gaps.update_schema() as change:
        change.add_column("stray", StringType())
    assert ensure_mart_tables(lakehouse, ["gaps"], fingerprints={"gaps": "def"}) == {"gaps": "replaced"}
    assert catalog_of(lakehouse).load_table("marts.gaps").properties["homelab.fingerprint"] == "def"
    assert ensure_mart_tables(lakehouse, ["gaps"]) == {"gaps": "present"}
    assert remove_mart(lakehouse, "gaps")
    assert not remove_mart(lakehouse, "gaps")


def test_a_wrong_name_and_a_missing_table_are_said(lake: Lakehouse) -> None:
    with pytest.raises(HomelabError, match="no such mart"):
        refresh_mart(lake, "hourly", None, {})
    with pytest.raises(HomelabError, match="no table of readings"):
        refresh_mart(lake, "gaps", None, {})


# What was computed piece by piece equals what is computed at once


@pytest.fixture(scope="module")
def shared(servers: ScratchServers) -> Iterator[Lakehouse]:
    """One lake for all examples of the property below."""
    with fresh_lakehouse(servers) as made:
        ensure_mart_tables(made)
        yield made


_READING = st.tuples(
    st.integers(0, 5),  # day
    st.integers(0, 143),  # step of ten minutes
    st.sampled_from(["kitchen", "attic"]),
    st.floats(-50, 100, allow_nan=False, width=32),
)


def _apply(table: Table, batch: Sequence[tuple[int, int, str, float]], known: set[tuple[int, int, str]]) -> set[date]:
    rows = []
    for day, step, device, value in batch:
        if (day, step, device) not in known:
            known.add((day, step, device))
            rows += _series(at("2026-11-10 00:00") + day * DAY + step * timedelta(minutes=10), [value], device=device)
    add_readings(table, rows)
    return {row["ts"].date() for row in rows}


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(_READING, max_size=30), min_size=1, max_size=4))
def test_refreshing_what_changed_gives_what_computing_everything_gives(
    shared: Lakehouse, batches: list[list[tuple[int, int, str, float]]]
) -> None:
    catalog = catalog_of(shared)
    if catalog.table_exists("default.sensor_data"):
        catalog.drop_table("default.sensor_data")
    table = make_readings(shared, [])
    for name in MARTS:
        remove_mart(shared, name)
    ensure_mart_tables(shared)
    known: set[tuple[int, int, str]] = set()
    for batch in batches:
        changed = _apply(table, batch, known)
        for name in MARTS:
            refresh_mart(shared, name, changed, STREAMS, now=NOW)
    piecewise = {name: _rows(shared, name) for name in MARTS}
    for name in MARTS:
        remove_mart(shared, name)
    ensure_mart_tables(shared)
    for name in MARTS:
        refresh_mart(shared, name, None, STREAMS, now=NOW)
    assert piecewise == {name: _rows(shared, name) for name in MARTS}


@pytest.mark.slow
def test_old_files_are_deleted_once_no_kept_snapshot_needs_them(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homelab_platform.readings import ledger
    from homelab_platform.readings.marts.files import sweep
    from homelab_platform.tools.iceberg import tables as iceberg

    monkeypatch.setattr(iceberg, "EXPIRE_AT", 4)
    monkeypatch.setattr(iceberg, "KEEP_SNAPSHOTS", 2)
    table = make_readings(lake, [])
    for number in range(6):
        add_readings(table, _series(at("2026-11-17 12:00") + timedelta(seconds=number), [number]))
        refresh_mart(lake, "readings_daily", [date(2026, 11, 17)], STREAMS)
    io = iceberg.open_io(lake)
    with ledger.connect(lake) as connection:
        state = iceberg.load_table(connection, lake, "marts.readings_daily")
    prefix = "marts/readings_daily/"
    before = len(list(io.store.list(lake.lake_bucket, prefix)))
    deleted = sweep(state, io, grace=timedelta(seconds=-5))
    assert deleted > 0
    assert len(list(io.store.list(lake.lake_bucket, prefix))) == before - deleted
    assert [row["readings"] for row in _rows(lake, "readings_daily")] == [6]
    for snapshot in state.metadata.snapshots:
        assert catalog_of(lake).load_table("marts.readings_daily").scan(snapshot_id=snapshot.snapshot_id).to_arrow()
    io.store.close()

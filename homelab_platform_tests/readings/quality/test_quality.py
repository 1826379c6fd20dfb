"""The verdicts on readings: what passes, what warns, what fails, and that each says why in one line."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings.contract import ensure_tables
from homelab_platform.readings.ingest import ingest_pending
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh_mart
from homelab_platform.readings.quality import verdicts
from homelab_platform.readings.quality.measures import check_readings
from homelab_platform.readings.quality.verdicts import CheckResult, Conservation, RejectedMeasure, SeriesMeasure
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.sources.files import put_files
from homelab_platform.readings.sources.simulator import put_simulated
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.readings.lake import at

NOW = at("2026-11-20 12:00")


def _one(age: float = 10, **more: Any) -> SeriesMeasure:
    known: dict[str, Any] = {"stream": "air", "device": "pi", "sensor": "t", "readings": 1000, "every": 10}
    return SeriesMeasure(newest=NOW - timedelta(seconds=age), **{**known, **more})


def _sound(**more: Any) -> Conservation:
    return Conservation(
        **{
            "objects": 2, "known": 2, "waiting": (), "quarantined": (), "ledger_rows": 5, "table_rows": 5,
            "ledger_rejected": 1, "table_rejected": 1, **more,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "passed", "severity", "said"),
    [
        (verdicts.freshness([_one()], NOW), True, "warn", "fresh"),
        (verdicts.freshness([_one(500, every=10)], NOW), True, "warn", "8 min old"),
        (verdicts.freshness([_one(), _one(1200, device="b")], NOW), False, "warn", "1 of 2 series are late"),
        (verdicts.freshness([_one(7200)], NOW), False, "error", "the longest is pi/t, 2 h"),
        (verdicts.freshness([_one(7200, every=3600)], NOW), True, "warn", "fresh"),
        (verdicts.freshness([_one(7200, every=None)], NOW), True, "warn", "fresh"),
        (verdicts.freshness([], NOW), False, "warn", "No measured reading"),
        (verdicts.freshness([_one(7200, simulated=1000)], NOW), False, "warn", "No measured reading"),
        (verdicts.value_range([_one(out_of_range=5)]), True, "warn", "0.50%"),
        (verdicts.value_range([_one(out_of_range=50), _one()]), False, "warn", "pi/t, 5%"),
        (verdicts.value_range([_one(out_of_range=500)]), False, "error", "50%"),
        (verdicts.value_range([]), True, "warn", "0.00%"),
        (verdicts.gaps([_one(missing=10)]), True, "warn", "missing"),
        (verdicts.gaps([_one(missing=100, longest_gap=900)]), False, "warn", "9%"),
        (verdicts.gaps([_one(missing=1000)]), False, "error", "50%"),
        (verdicts.gaps([_one(every=None)]), True, "warn", "No series has a known pace"),
        (verdicts.rejected([RejectedMeasure("air", 10_000, {"bad": 5})]), True, "warn", "5 of 10,005"),
        (verdicts.rejected([RejectedMeasure("air", 990, {"bad": 8, "x": 2})]), False, "warn", "most for: bad"),
        (verdicts.rejected([RejectedMeasure("air", 0, {"bad": 8})]), False, "error", "100.0%"),
        (verdicts.rejected([]), True, "warn", "0 of 0"),
        (verdicts.conservation(_sound()), True, "error", "all accounted for"),
        (verdicts.conservation(_sound(quarantined=["k"])), True, "error", "1 objects are quarantined"),
        (verdicts.conservation(_sound(waiting=["k"])), False, "warn", "1 objects wait"),
        (verdicts.conservation(_sound(table_rows=4)), False, "error", "counts 5 readings, the table holds 4"),
        (verdicts.conservation(_sound(table_rows=4, removed=True)), True, "error", "accounted"),
        (verdicts.conservation(_sound(table_rows=6, removed=True)), False, "error", "holds 6"),
        (verdicts.conservation(_sound(table_rejected=0)), False, "error", "1 rejected lines, 0 are kept"),
    ],
)
def test_verdicts(result: CheckResult, passed: bool, severity: str, said: str) -> None:
    assert (result.passed, result.severity) == (passed, severity)
    assert said in result.description
    assert "\n" not in result.description
    assert json.dumps(dict(result.metadata))


# From the lake itself

STREAM = ResolvedStream(
    name="air",
    source="mqtt",
    bucket="readings-raw",
    prefix="air/",
    devices=("kitchen",),
    sensors={"temperature": ResolvedSensor(name="temperature", unit="°C", low=-40, high=85, every=60)},
)


def _upload(lakehouse: Lakehouse, readings: list[Reading], name: str, extra: bytes = b"") -> None:
    data = b"".join(reading.line() for reading in readings) + extra
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, object_key("air", NOW.date(), "kitchen", name), pack(data))


def _measured(end: datetime, minutes: int, *, value: float = 20) -> list[Reading]:
    return [
        Reading(end - timedelta(minutes=n), "kitchen", "temperature", value, "°C", "home")
        for n in range(minutes, 0, -1)
    ]


@pytest.mark.servers
def test_readings_that_arrive_whole_pass_and_each_trouble_is_found_by_its_check(lakehouse: Lakehouse) -> None:
    ensure_tables(lakehouse)
    streams = {"air": STREAM}
    now = NOW + timedelta(seconds=30)
    _upload(lakehouse, _measured(NOW, 600), "good")
    ingest_pending(lakehouse, streams)
    assert [(c.name, c.passed) for c in check_readings(lakehouse, streams, now=now)] == [
        ("freshness", True), ("range", True), ("gaps", True), ("rejected", True), ("conservation", True),
        ("clocks", True), ("burst", True),
    ]  # fmt: skip
    late = NOW + timedelta(hours=20)
    _upload(lakehouse, _measured(late, 600, value=99), "hot", extra=b"rubbish\n" * 9)
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, object_key("air", NOW.date(), "kitchen", "cut"), gzip.compress(b"x" * 999)[:20])
    ingest_pending(lakehouse, streams)
    found = {c.name: c for c in check_readings(lakehouse, streams, now=late + timedelta(hours=3))}
    assert [name for name, check in found.items() if check.passed] == ["conservation", "clocks", "burst"]
    assert found["freshness"].severity == "error"
    assert found["range"].metadata["worst"][0]["series"] == "kitchen/temperature"
    assert found["gaps"].metadata["worst"][0]["longest gap"] == "10 h"
    assert found["conservation"].metadata["quarantined"]


@pytest.mark.servers
def test_an_object_that_waits_too_long_is_named(lakehouse: Lakehouse) -> None:
    from datetime import UTC

    ensure_tables(lakehouse)
    _upload(lakehouse, _measured(NOW, 5), "waits")
    later = datetime.now(UTC) + timedelta(hours=1)
    found = {c.name: c for c in check_readings(lakehouse, {"air": STREAM}, now=later)}
    assert not found["conservation"].passed
    assert found["conservation"].metadata["waiting"] == [{"object": "air/2026-11-20/kitchen/waits.ndjson.gz"}]


@pytest.mark.servers
@pytest.mark.slow
def test_a_foreign_file_and_a_simulation_go_all_the_way_to_the_marts(lakehouse: Lakehouse, tmp_path: Path) -> None:
    ensure_tables(lakehouse)
    ensure_mart_tables(lakehouse)
    streams = {"air": STREAM}
    wide = tmp_path / "attic.csv"
    lines = [f"20.11.2026 10:0{n};21.{n};{'40' if n == 0 else ''};{'öl' if n == 1 else ''}" for n in range(8)]
    wide.write_text("\n".join(["time;temperature;humidity;note", *lines, "20.11.2026 10:09;x;41;", ""]))
    put_files(lakehouse, [wide], stream="files")
    keys = put_simulated(lakehouse, STREAM, start=NOW - timedelta(hours=1), end=NOW)
    report = ingest_pending(lakehouse, streams)
    assert (report.objects, report.rejected) == (2, 1)
    rows = list(
        run_query(lakehouse, "SELECT device, sensor, count(*), min(note) FROM sensor_data GROUP BY 1, 2 ORDER BY 1, 2")
    )
    assert rows[0][:3] == ("attic", "humidity", 1)
    assert rows[1] == ("attic", "temperature", 8, "öl")
    assert rows[2][:2] == ("kitchen", "temperature")
    quality_of = list(run_query(lakehouse, f"SELECT DISTINCT quality FROM sensor_data WHERE source = '{keys[0]}'"))
    assert quality_of == [("simulated",)]
    for name in MARTS:
        refresh_mart(lakehouse, name, report.dates, streams)
    assert list(run_query(lakehouse, "SELECT sum(readings) FROM marts.readings_daily")) == [(report.rows,)]
    assert ingest_pending(lakehouse, streams).rows == 0

"""Marts of a lab's own, and what the SQL of marts promises: lineage, and tests that can fail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.marts.adapter import MartAdapter, from_where
from homelab_platform.names import silent
from homelab_platform.plan.gather import desired_states
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, marts_of, refresh_mart
from homelab_platform.readings.marts.checks import check_mart
from homelab_platform.readings.marts.lineage import column_lineage
from homelab_platform.readings.query.run import run_query
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform_tests.readings.lake import add_readings, at, catalog_of, make_readings
from homelab_platform_tests.readings.marts.test_marts import _series

LAB = """\
lab: attic
network: {lan: 192.168.0.0/24, gateway: 192.168.0.1}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.0.20}
streams:
  air: {from: {files: drop/air}, sensors: {temperature: {unit: °C, every: 10m}}}
"""
WARMEST = """\
SELECT date, device, max(max) AS warmest, sum(readings) AS readings
FROM marts.readings_hourly
WHERE sensor = 'temperature'
GROUP BY date, device
"""
WARMEST_YAML = """\
about: The warmest moment of each device on each day.
columns:
  date: {type: date, about: day in UTC}
  device: {type: text, about: what measured}
  warmest: {type: number, unit: °C, about: highest temperature}
  readings: {type: count, about: number of readings}
sort: [device]
tests:
  unique: [date, device]
  range: {warmest: [-40, 60]}
  no_rows:
    counted: SELECT * FROM this WHERE readings = 0
"""
WEEK = "SELECT date, max(warmest) AS warmest FROM marts.warmest GROUP BY date"
WEEK_YAML = """\
about: The warmest moment of all.
columns:
  date: {type: date, about: day in UTC}
  warmest: {type: number, unit: °C, about: highest temperature}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "marts").mkdir()
    (tmp_path / "lab.yaml").write_text(LAB)
    for name, sql, described in (("warmest", WARMEST, WARMEST_YAML), ("warmest_of_all", WEEK, WEEK_YAML)):
        (tmp_path / "marts" / f"{name}.sql").write_text(sql)
        (tmp_path / "marts" / f"{name}.yaml").write_text(described)
    return tmp_path


def lab_of(folder: Path) -> ResolvedLab:
    return load_resolved(folder / "lab.yaml", load_catalogue())


@pytest.fixture
def lake(lakehouse: Lakehouse, folder: Path) -> Iterator[Lakehouse]:
    ensure_mart_tables(lakehouse, marts=marts_of(lab_of(folder)))
    yield lakehouse


def test_editing_the_sql_of_one_mart_concerns_that_mart_and_its_dependants_alone(folder: Path) -> None:
    before = desired_states(lab_of(folder))
    assert before["mart/warmest"].deps == ("mart/readings_hourly",)
    assert before["mart/warmest_of_all"].deps == ("mart/warmest",)
    (folder / "marts" / "warmest.sql").write_text(WARMEST.replace("max(max)", "max(p95)"))
    after = desired_states(lab_of(folder))
    changed = {key for key in after if after[key].fingerprint != before[key].fingerprint}
    assert changed == {"mart/warmest", "mart/warmest_of_all"}


def test_the_last_good_lab_keeps_the_columns_in_order(folder: Path) -> None:
    lab = lab_of(folder)
    again = ResolvedLab.model_validate_json(lab.to_json())
    assert [c.name for c in marts_of(again)["warmest"].columns] == ["date", "device", "warmest", "readings"]
    assert {k: s.fingerprint for k, s in desired_states(again).items()} == {
        k: s.fingerprint for k, s in desired_states(lab).items()
    }


@pytest.mark.servers
@pytest.mark.slow
def test_a_mart_of_ones_own_is_computed_and_follows_the_days_of_the_marts_it_reads(
    lake: Lakehouse, folder: Path
) -> None:
    lab, desired = lab_of(folder), desired_states(lab_of(folder))
    marts = marts_of(lab)
    table = make_readings(lake, _series(at("2026-11-16 00:00"), [20] * 288))
    adapter = MartAdapter(lab, lake)
    for name in ("readings_hourly", "warmest", "warmest_of_all"):
        state = desired[f"mart/{name}"]
        adapter.change(state, adapter.probe(state), silent)
        assert adapter.probe(state).matches(state)
    add_readings(table, _series(at("2026-11-17 00:05"), [75]))
    for name in ("readings_hourly", "warmest", "warmest_of_all"):
        report = refresh_mart(lake, name, [date(2026, 11, 17)], lab.streams, marts=marts)
        assert (report.dates, report.changed) == ((date(2026, 11, 17),),) * 2
    with run_query(lake, "SELECT date, warmest FROM marts.warmest_of_all ORDER BY date") as result:
        assert list(result.rows) == [(date(2026, 11, 16), 20.0), (date(2026, 11, 17), 75.0)]
    verdicts = {verdict.name: verdict for verdict in check_mart(lake, marts["warmest"])}
    assert {name: verdict.passed for name, verdict in verdicts.items()} == {
        "unique": True, "range": False, "counted": True,
    }  # fmt: skip
    assert verdicts["range"].metadata["wrong"][0]["warmest"] == 75.0
    assert "marts/warmest.sql" in str(verdicts["range"].metadata["what to do"])


@pytest.mark.servers
def test_a_mart_that_cannot_be_run_says_where_and_leaves_its_table_as_it_is(lake: Lakehouse, folder: Path) -> None:
    make_readings(lake, _series(at("2026-11-16 00:00"), [20] * 10))
    lab = lab_of(folder)
    for name in ("readings_hourly", "warmest"):
        refresh_mart(lake, name, None, lab.streams, marts=marts_of(lab))
    for wrong, said in (("max(maximum)", "maximum"), ("max(device)", "does not become double")):
        (folder / "marts" / "warmest.sql").write_text(WARMEST.replace("max(max)", wrong))
        with pytest.raises(HomelabError, match=said) as caught:
            refresh_mart(lake, "warmest", [date(2026, 11, 16)], lab.streams, marts=marts_of(lab_of(folder)))
        assert "marts/warmest.sql" in str(caught.value)


def test_lineage_goes_back_to_the_columns_of_readings() -> None:
    origins = column_lineage(MARTS["readings_daily"])
    assert origins["mean"] == (("default.sensor_data", "ts"), ("default.sensor_data", "value"))
    assert origins["site"] == (("default.sensor_data", "site"),)
    assert column_lineage(MARTS["anomalies"])["score"] == (("default.sensor_data", "value"),)
    two = column_lineage(MARTS["gaps"], tables=("default.sensor_data", "energy.readings"))
    assert ("energy.readings", "ts") in two["gap_start"]


@pytest.mark.servers
@pytest.mark.slow
def test_every_test_of_the_platforms_own_marts_can_fail(lakehouse: Lakehouse) -> None:
    ensure_mart_tables(lakehouse)
    make_readings(lakehouse, _series(at("2026-11-17 00:00"), range(200)))
    for name, mart in MARTS.items():
        refresh_mart(lakehouse, name, None)
        assert all(verdict.passed for verdict in check_mart(lakehouse, mart)), name
    hourly = catalog_of(lakehouse).load_table("marts.readings_hourly")
    hourly.append(hourly.scan(limit=3).to_arrow())
    wrong = {verdict.name for verdict in check_mart(lakehouse, MARTS["readings_hourly"]) if not verdict.passed}
    assert wrong == {"unique"}
    refresh_mart(lakehouse, "readings_hourly", None)
    assert all(verdict.passed for verdict in check_mart(lakehouse, MARTS["readings_hourly"]))


def test_a_column_says_behind_its_meaning_where_it_comes_from() -> None:
    origins = column_lineage(MARTS["readings_daily"])
    assert from_where(origins["mean"]) == " ← sensor_data.ts, .value"
    assert from_where([("marts.gaps", "seconds"), ("default.sensor_data", "ts"), ("default.sensor_data", "date")]) == (
        " ← gaps.seconds ← sensor_data.date, .ts"
    )
    assert from_where(()) == ""

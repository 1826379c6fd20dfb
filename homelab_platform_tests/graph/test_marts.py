"""Marts in the graph: days as partitions, backfills of a range in one run, documented columns and their lineage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.errors import HomelabError
from homelab_platform.graph import marts
from homelab_platform.graph.apply import apply_to
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.backfill import run_backfill
from homelab_platform.graph.metadata import exhibit_metadata
from homelab_platform.graph.tags import NOMINAL_TAG, RANGE_END, RANGE_START
from homelab_platform.graph.work import DAILY, Work, asked_of
from homelab_platform.lab.resolved import ResolvedColumn, ResolvedLab, ResolvedMart
from homelab_platform.paths import site_path
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab

TODAY = datetime.now(UTC).date()


def lab_with_marts() -> ResolvedLab:
    reads = ("default.sensor_data",)
    found = {name: ResolvedMart(name=name, reads=reads) for name in ("readings_hourly", "gaps")}
    day = ResolvedColumn(name="date", kind="date", about="day in UTC")
    own = "SELECT DISTINCT date FROM marts.readings_hourly"
    found["own"] = ResolvedMart(name="own", reads=("readings_hourly",), about="Own.", sql=own, columns=(day,))
    return small_lab().model_copy(update={"marts": found})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderWorld:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    site_path("small").mkdir(parents=True)
    marts.remember_first_day("small", TODAY - timedelta(days=120))
    return FolderWorld(tmp_path / "world")


def test_the_partitions_begin_with_the_first_day_of_readings_and_take_in_earlier_ones(world: FolderWorld) -> None:
    keys = build(lab_with_marts(), world).resolve_asset_graph().get(asset_key("mart/gaps")).partitions_def
    assert keys is not None
    days = keys.get_partition_keys()
    assert days[0] == (TODAY - timedelta(days=120)).isoformat()
    assert TODAY.isoformat() in days and len(days) < 125
    assert marts.remember_first_day("small", TODAY - timedelta(days=900))
    assert not marts.remember_first_day("small", TODAY - timedelta(days=900))
    assert marts.days_of("small").get_partition_keys()[0] == (TODAY - timedelta(days=900)).isoformat()


def test_one_reading_of_1999_does_not_make_nine_thousand_partitions(world: FolderWorld) -> None:
    marts.remember_first_day("small", date(1999, 1, 1))
    assert len(marts.days_of("small").get_partition_keys()) < marts.MOST_DAYS + 5


def test_a_backfill_of_four_months_is_one_run_for_exactly_its_days(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    job = build(lab_with_marts(), world).resolve_job_def("marts")
    first, last = TODAY - timedelta(days=120), TODAY - timedelta(days=1)
    tags = {RANGE_START: str(first), RANGE_END: str(last)}
    chosen = [asset_key("mart/readings_hourly")]
    assert job.execute_in_process(
        instance=instance,
        tags=tags,
        asset_selection=chosen,
        run_config=asked_of(["mart__readings_hourly"], DAILY),
    ).success
    ((key, request),) = world.worked
    assert key == "mart/readings_hourly" and request["exactly"] == "yes"
    assert request["dates"].split(",") == [str(first + timedelta(days=n)) for n in range(120)]
    assert len(instance.get_materialized_partitions(asset_key("mart/readings_hourly"))) == 120


def test_what_the_sensor_has_computed_shows_as_done_day_by_day(world: FolderWorld, instance: DagsterInstance) -> None:
    job = build(lab_with_marts(), world).resolve_job_def("marts")
    days = [str(TODAY - timedelta(days=n)) for n in (1, 5)]
    steps = [f"mart__{name}" for name in ("readings_hourly", "gaps", "own")]
    config = asked_of(steps, Work(apply=False, dates=days))
    for _ in range(2):  # the second time each mart finds its upstream materialized already
        assert job.execute_in_process(instance=instance, tags=marts.nominal("small", days), run_config=config).success
    for name in ("readings_hourly", "gaps", "own"):
        assert instance.get_materialized_partitions(asset_key(f"mart/{name}")) == set(days)
    assert {request["dates"] for _, request in world.worked} == {",".join(days)}


def test_applying_marts_of_marts_again_and_again_works(world: FolderWorld, instance: DagsterInstance) -> None:
    keys = ["mart/readings_hourly", "mart/own"]
    for _ in range(2):
        report = apply_to(world, instance, lab_with_marts(), keys)
        assert [result.status for result in report.results] == ["applied", "applied"], report.results
    assert all("dates" not in request for _, request in world.worked)


def test_a_run_without_marts_has_no_partition(world: FolderWorld, instance: DagsterInstance) -> None:
    assert marts.nominal_for(lab_with_marts(), ["bucket/lake"]) == {}
    assert set(marts.nominal_for(lab_with_marts(), ["bucket/lake", "mart/own"])) == {
        RANGE_START,
        RANGE_END,
        NOMINAL_TAG,
    }
    for keys in (["bucket/lake"], ["bucket/lake", "mart/own"]):
        report = apply_to(world, instance, lab_with_marts(), keys)
        assert {result.status for result in report.results} == {"applied"}, report.results


def test_columns_are_documented_before_anything_ran_and_lineage_comes_with_a_run(world: FolderWorld) -> None:
    node = build(lab_with_marts(), world).resolve_asset_graph().get(asset_key("mart/gaps"))
    schema = node.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    described = {column.name: column.description for column in schema.schema.columns}
    assert described["seconds"] == "length of the silence [s]"
    shown = exhibit_metadata([Exhibit("dagster/column_lineage", "lineage", {"mean": [("table/sensor_data", "value")]})])
    lineage = shown["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    (dep,) = lineage.column_lineage.deps_by_column["mean"]
    assert (dep.asset_key, dep.column_name) == (asset_key("table/sensor_data"), "value")


def test_each_test_of_a_mart_is_a_check_of_its_asset(world: FolderWorld) -> None:
    checks = build(lab_with_marts(), world).resolve_asset_graph().asset_check_keys
    assert {c.name for c in checks if c.asset_key == asset_key("mart/gaps")} == {
        "unique", "not_null", "gap_ends_after_it_began",
    }  # fmt: skip


def test_a_backfill_from_the_command_line_is_one_run_and_shows_how_far_it_is(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    told: list[str] = []
    world.begins = TODAY - timedelta(days=120)
    first = TODAY - timedelta(days=3)
    lab, until = lab_with_marts(), TODAY - timedelta(days=2)
    run = run_backfill(world, instance, lab, ["mart/gaps"], first=first, last=until, progress=told.append)
    assert instance.get_materialized_partitions(asset_key("mart/gaps")) == {str(first), str(first + timedelta(days=1))}
    found = instance.get_run_by_id(run)
    assert found is not None and found.is_success
    with pytest.raises(HomelabError, match="there is no day"):
        run_backfill(world, instance, lab, ["mart/gaps"], first=date(1990, 1, 1), last=date(1990, 1, 2))

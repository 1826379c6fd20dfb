"""Applying from the command line: exactly what was asked for, in the same event log."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster import DagsterInstance

from homelab_platform.graph.apply import apply_to
from homelab_platform.graph.assets import asset_key
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.plan import make_plan
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab, with_values


@pytest.fixture
def world(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "world")


def test_exactly_the_named_assets_are_applied_and_are_in_the_event_log(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    said: list[str] = []
    report = apply_to(world, instance, small_lab(), ["workload/trino", "bucket/lake"], progress=said.append)
    assert {result.key: result.status for result in report.results} == {
        "workload/trino": "applied",
        "bucket/lake": "applied",
    }
    assert set(world.changed) == {"workload/trino", "bucket/lake"}
    assert "workload/trino: creating" in said
    assert instance.get_latest_materialization_event(asset_key("bucket/lake")) is not None
    assert instance.get_run_by_id(report.run_id) is not None


def test_a_failure_is_reported_for_its_asset_and_stops_only_what_depends_on_it(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    world.broken.add("workload/mosquitto")
    report = apply_to(world, instance, small_lab(), desired_states(small_lab()))
    by_key = {result.key: result for result in report.results}
    assert by_key["workload/mosquitto"].status == "failed"
    assert by_key["workload/mosquitto"].seconds > 0
    assert by_key["workload/mosquitto"].problems[0].remedy == "Mend it."
    assert by_key["mart/daily"].status == "skipped"
    assert by_key["workload/trino"].status == "applied"
    assert {result.status for result in report.failed} == {"failed", "skipped"}


def test_what_left_the_lab_is_deleted_once_a_person_agreed(world: FolderWorld, instance: DagsterInstance) -> None:
    apply_to(world, instance, small_lab(), desired_states(small_lab()))
    smaller = small_lab(marts={}, tables={}, backups={})
    refused = apply_to(world, instance, smaller, ["table/sensor_data"])
    assert refused.results[0].status == "failed"
    assert (world.root / "table" / "sensor_data.json").exists()
    plan = make_plan(desired_states(smaller), world.store.load(), site=EVERYTHING)
    losing = [step for step in plan.pending if step.danger == "data-loss"]
    report = apply_to(world, instance, smaller, ["table/sensor_data", "mart/daily"], consents=losing)
    assert [(result.key, result.status) for result in report.results] == [
        ("mart/daily", "deleted"),
        ("table/sensor_data", "deleted"),
    ]
    assert not (world.root / "table" / "sensor_data.json").exists()
    assert "table/sensor_data" not in world.store.load()


def test_applying_what_is_applied_already_writes_nothing(world: FolderWorld, instance: DagsterInstance) -> None:
    apply_to(world, instance, small_lab(), ["workload/trino"])
    world.changed.clear()
    report = apply_to(world, instance, small_lab(), ["workload/trino"])
    assert world.changed == []
    assert report.results[0].summary == "Nothing had to be changed; it was observed to be as it should be."


def test_the_command_line_and_the_sensor_share_what_they_know(world: FolderWorld, instance: DagsterInstance) -> None:
    from homelab_platform_tests.graph.test_sensors import asked, tick

    apply_to(world, instance, small_lab(), desired_states(small_lab()))
    assert asked(tick(small_lab(), world, instance)) == set()
    edited = with_values(small_lab(), "minio", replicas=2)
    assert asked(tick(edited, world, instance)) == {"workload/minio"}
    apply_to(world, instance, edited, ["workload/minio"])
    assert asked(tick(edited, world, instance)) == set()

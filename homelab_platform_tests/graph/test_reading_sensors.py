"""The sensor on new objects: small arrivals at once, many or failing ones by a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.loader import LoadingContextForTest

from homelab_platform.graph import reading_sensors
from homelab_platform.plan.gather import desired_states
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.test_sensors import evaluate
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderWorld:
    monkeypatch.setattr(reading_sensors, "TICK_TAKES", 0.0)
    return FolderWorld(tmp_path / "world")


def test_a_few_new_objects_are_in_the_table_when_the_tick_ends(world: FolderWorld, instance: DagsterInstance) -> None:
    world.pending = ["machines/2026-11-21/pi/a", "machines/2026-11-21/pi/b"]
    found = evaluate(build(small_lab(), world), "new_objects", world, instance)
    assert world.pending == []
    assert not found.run_requests
    (event,) = found.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.metadata["objects"].value == 2
    assert event.asset_key == dg.AssetKey(["table", "sensor_data"])
    assert (event.tags or {})["dagster/data_version"] == desired_states(small_lab())["table/sensor_data"].fingerprint


def test_checks_keep_their_verdict_while_readings_arrive(world: FolderWorld, instance: DagsterInstance) -> None:
    key = dg.AssetKey(["table", "sensor_data"])
    defs = build(small_lab(), world)
    instance.report_runless_asset_event(dg.AssetMaterialization(key))
    defs.resolve_job_def("quality").execute_in_process(instance=instance, raise_on_error=False)
    check, cursor, told = dg.AssetCheckKey(key, "gaps"), None, []
    for name in ("a", "b", "c"):
        world.pending = [f"machines/2026-11-21/pi/{name}"]
        found = evaluate(defs, "new_objects", world, instance, cursor=cursor)
        cursor = found.cursor
        for event in found.asset_events:
            instance.report_runless_asset_event(event)
        told.append(sum(isinstance(event, dg.AssetCheckEvaluation) for event in found.asset_events))
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
        assert asyncio.run(record.targets_latest_materialization(LoadingContextForTest(instance)))
        assert record.evaluation is not None and not record.evaluation.passed
    assert told[0] > 1 and told[1:] == [0, 0]  # said again once, not with each arrival


def test_what_the_command_line_ingested_is_on_the_page_too(world: FolderWorld, instance: DagsterInstance) -> None:
    defs = build(small_lab(), world)
    world.commits.append(7)
    found = evaluate(defs, "new_objects", world, instance)
    (event,) = found.asset_events
    assert isinstance(event, dg.AssetMaterialization) and event.metadata["objects"].value == 7
    assert evaluate(defs, "new_objects", world, instance, cursor=found.cursor).asset_events == []


def test_many_objects_get_a_run_and_only_one(world: FolderWorld, instance: DagsterInstance) -> None:
    world.pending = [f"machines/2026-11-21/pi/{number}" for number in range(500)]
    defs = build(small_lab(), world)
    found = evaluate(defs, "new_objects", world, instance)
    (request,) = found.run_requests or ()
    assert request.run_config["ops"]["table__sensor_data"]["config"]["apply"] is False
    again = evaluate(defs, "new_objects", world, instance, cursor=found.cursor)
    assert not again.run_requests
    assert again.skip_message == "500 objects are pending and were asked for."


def test_nothing_is_requested_while_an_ingest_waits_in_the_queue(world: FolderWorld, instance: DagsterInstance) -> None:
    world.pending = [f"machines/2026-11-21/pi/{number}" for number in range(500)]
    defs = build(small_lab(), world)
    instance.create_run_for_job(defs.resolve_job_def("ingest"), status=dg.DagsterRunStatus.NOT_STARTED)
    found = evaluate(defs, "new_objects", world, instance)
    assert not found.run_requests
    assert found.skip_message == "An ingest is queued already."


def test_objects_that_cannot_be_taken_in_get_a_run_in_which_the_failure_shows(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    world.pending = ["machines/2026-11-21/pi/a"]
    world.broken.add("ingest")
    defs = build(small_lab(), world)
    first = evaluate(defs, "new_objects", world, instance)
    assert len(first.run_requests or ()) == 1
    assert not evaluate(defs, "new_objects", world, instance, cursor=first.cursor).run_requests


def test_an_empty_bucket_is_said_to_be_empty(world: FolderWorld, instance: DagsterInstance) -> None:
    assert evaluate(build(small_lab(), world), "new_objects", world, instance).skip_message == "No new object."

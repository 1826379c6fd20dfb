"""The reconcile sensor: what it asks for when the lab file, the world or a run changes."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.definitions.sensor_definition import SensorExecutionData

from homelab_platform.graph.assets import plain_key
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.resources import SITE, Session, site_resource
from homelab_platform.graph.runs import PATIENCE, patience, process_identity, runs_under_way
from homelab_platform.graph.tags import PROCESS_TAG
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.sites import SiteKind
from homelab_platform.sites.choose import SiteChoice, site_choice
from homelab_platform_tests.graph.test_build import run
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab, with_values


@pytest.fixture
def world(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "world")


def evaluate(
    defs: dg.Definitions, name: str, world: FolderWorld, instance: DagsterInstance, *, cursor: str | None = None
) -> SensorExecutionData:
    """One tick of a sensor."""
    sensor = defs.get_repository_def().get_sensor_def(name)
    resources = {SITE: site_resource(small_lab(), "folder", Session(small_lab(), lambda _lab: world))}
    with dg.build_sensor_context(instance=instance, resources=resources, definitions=defs, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def tick(lab: ResolvedLab, world: FolderWorld, instance: DagsterInstance) -> SensorExecutionData:
    defs = build_definitions(lab, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))
    return evaluate(defs, "reconcile", world, instance)


def asked(result: SensorExecutionData) -> set[str]:
    return {plain_key(key) for request in result.run_requests or () for key in request.asset_selection or ()}


def test_on_an_empty_site_one_run_is_asked_for_with_everything_in_it(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    result = tick(small_lab(), world, instance)
    assert len(result.run_requests or ()) == 1
    assert "mart/daily" in asked(result)


def test_sensors_rest_while_a_person_applies_the_lab(world: FolderWorld, instance: DagsterInstance) -> None:
    defs = build_definitions(small_lab(), site=SiteChoice("folder", EVERYTHING, lambda _lab: world))
    world.applied_by = "up of ada on pi-1"
    for name in ("reconcile", "changed_dates"):
        found = evaluate(defs, name, world, instance)
        assert not found.run_requests
        assert found.skip_message == "Rests while the lab is applied: up of ada on pi-1."
    world.applied_by = ""
    assert asked(tick(small_lab(), world, instance))


def test_a_run_on_a_busy_machine_may_start_late() -> None:
    assert patience(load=0.3, cpus=4) == PATIENCE
    assert patience(load=40, cpus=2) == 20 * PATIENCE


def test_where_hosts_are_in_reach_a_person_begins_and_edits_follow_by_themselves(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    kind = SiteChoice("lab", EVERYTHING, lambda _lab: world, begins=False)
    assert not site_choice(SiteKind.LAB).begins
    result = evaluate(build_definitions(small_lab(), site=kind), "reconcile", world, instance)
    assert asked(result) == set()
    assert "`homelab apply` begins" in str(result.skip_message)
    run(small_lab(), world, instance)
    edited = build_definitions(with_values(small_lab(), "trino", replicas=2), site=kind)
    assert asked(evaluate(edited, "reconcile", world, instance)) == {"workload/trino"}


def test_after_everything_was_applied_a_tick_asks_for_nothing(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    result = tick(small_lab(), world, instance)
    assert asked(result) == set()
    assert result.skip_message == "Everything within reach is as it should be."


def test_an_edit_asks_for_exactly_the_edited_workload(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    assert asked(tick(with_values(small_lab(), "trino", replicas=2), world, instance)) == {"workload/trino"}


def test_what_a_run_is_applying_is_not_asked_for_again(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    edited = with_values(small_lab(), "trino", replicas=2)
    defs = build_definitions(edited, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))
    instance.create_run_for_job(
        defs.resolve_job_def("apply"),
        asset_selection=frozenset({dg.AssetKey(["workload", "trino"])}),
        status=DagsterRunStatus.STARTED,
        tags={PROCESS_TAG: process_identity()},
    )
    assert asked(tick(edited, world, instance)) == set()


def test_a_run_whose_process_was_killed_is_reported_as_failed_and_asked_for_again(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    run(small_lab(), world, instance)
    edited = with_values(small_lab(), "trino", replicas=2)
    defs = build_definitions(edited, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))
    host = process_identity().partition(":")[0]
    dead = instance.create_run_for_job(
        defs.resolve_job_def("apply"),
        asset_selection=frozenset({dg.AssetKey(["workload", "trino"])}),
        status=DagsterRunStatus.STARTED,
        tags={PROCESS_TAG: f"{host}:{os.getpid()}:1.00"},
    )
    assert asked(tick(edited, world, instance)) == {"workload/trino"}
    found = instance.get_run_by_id(dead.run_id)
    assert found is not None and found.status == DagsterRunStatus.FAILURE
    assert runs_under_way(instance) == []

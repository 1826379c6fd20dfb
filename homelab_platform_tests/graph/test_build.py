"""The graph of a lab: its assets, and applying them in a world made of files."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from homelab_platform.graph.assets import asset_key, op_names, plain_key
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.upkeep import MAINTENANCE
from homelab_platform.graph.work import DAILY, QUIETLY, Work, asked_of
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.sites.choose import SiteChoice
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab, with_values


@pytest.fixture
def world(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "world")


def build(lab: ResolvedLab, world: FolderWorld) -> dg.Definitions:
    return build_definitions(lab, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))


def run(
    lab: ResolvedLab, world: FolderWorld, instance: DagsterInstance, keys: list[str] | None = None, **tags: str
) -> dg.ExecuteInProcessResult:
    job = build(lab, world).resolve_job_def("apply")
    desired = desired_states(lab)
    steps = op_names(desired, EVERYTHING)
    config = asked_of((steps[key] for key in keys or desired), QUIETLY)
    selection = [asset_key(key) for key in keys] if keys else None
    return job.execute_in_process(
        instance=instance, asset_selection=selection, tags=tags, run_config=config, raise_on_error=False
    )


def test_each_asset_of_the_lab_is_in_the_graph_with_its_lineage(world: FolderWorld) -> None:
    graph = build(small_lab(), world).resolve_asset_graph()
    desired = desired_states(small_lab())
    keys = {plain_key(key) for key in graph.get_all_asset_keys()}
    upkeep = {f"maintenance/{name}" for name in MAINTENANCE}
    assert keys == {*desired, "lab/small", *upkeep}
    for key, state in desired.items():
        node = graph.get(asset_key(key))
        assert {plain_key(parent) for parent in node.parent_keys} == set(state.deps)
        assert node.group_name == state.layer
        assert node.code_version == state.fingerprint


def test_on_the_embedded_site_hosts_and_workloads_are_there_but_cannot_be_run() -> None:
    graph = build_definitions(small_lab()).resolve_asset_graph()
    runnable = {plain_key(key) for key in graph.executable_asset_keys}
    assert runnable == {
        "flow/machine", "bucket/lake", "bucket/readings-raw", "table/sensor_data", "mart/hourly", "mart/daily",
        *(f"maintenance/{name}" for name in MAINTENANCE),
    }  # fmt: skip
    assert asset_key("host/pi-1") in graph.external_asset_keys


def test_applying_everything_makes_everything_real(world: FolderWorld, instance: DagsterInstance) -> None:
    assert run(small_lab(), world, instance).success
    desired = desired_states(small_lab())
    assert {k: s.fingerprint for k, s in world.store.load().items()} == {k: s.fingerprint for k, s in desired.items()}
    event = instance.get_latest_materialization_event(asset_key("workload/trino"))
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["what happened"].value == (
        "Created, and observed to be as it should be."
    )
    tags = event.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == desired["workload/trino"].fingerprint


def test_applying_a_second_time_changes_nothing(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    world.changed.clear()
    assert run(small_lab(), world, instance).success
    assert world.changed == []


def test_what_changed_is_shown_as_a_diff_on_the_page(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    run(with_values(small_lab(), "trino", replicas=2), world, instance, ["workload/trino"])
    event = instance.get_latest_materialization_event(asset_key("workload/trino"))
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["changes"].value == (
        "```diff\n- values.replicas: 1\n+ values.replicas: 2\n```"
    )


def test_a_target_that_does_not_show_the_change_is_not_called_applied(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    world.lying.add("workload/trino")
    result = run(small_lab(), world, instance)
    assert not result.success
    assert instance.get_latest_materialization_event(asset_key("workload/trino")) is None
    state = world.store.load()["workload/trino"]
    assert (state.status, state.fingerprint) == ("failed", "")
    assert "does not show it" in state.reason


def test_one_failure_leaves_what_does_not_depend_on_it_applied(world: FolderWorld, instance: DagsterInstance) -> None:
    world.broken.add("workload/mosquitto")
    assert not run(small_lab(), world, instance).success
    states = world.store.load()
    assert states["workload/trino"].status == "ok"
    assert states["workload/mosquitto"].status == "failed"
    assert "mart/daily" not in states


def test_a_failure_reads_as_problem_and_remedy(world: FolderWorld, instance: DagsterInstance) -> None:
    world.broken.add("workload/trino")
    result = run(small_lab(), world, instance)
    failed = next(event for event in result.all_node_events if event.is_step_failure)
    error = failed.step_failure_data.error
    assert error is not None
    assert "workload/trino: the test broke it" in str(error)
    assert failed.step_failure_data.user_failure_data is not None


def test_a_change_that_loses_data_is_refused_unless_a_person_agreed(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    run(small_lab(), world, instance)
    lab = small_lab()
    bucket = lab.buckets["readings-raw"].model_copy(update={"expire_after": 86400})
    short = lab.model_copy(update={"buckets": {**lab.buckets, "readings-raw": bucket}})
    world.changed.clear()
    assert not run(short, world, instance, ["bucket/readings-raw"], **{"homelab/confirmed": "yes"}).success
    assert world.changed == []
    before, after = (desired_states(one)["bucket/readings-raw"].fingerprint for one in (lab, short))
    world.store.consent("bucket/readings-raw", before, "another plan")
    assert not run(short, world, instance, ["bucket/readings-raw"]).success
    world.store.consent("bucket/readings-raw", before, after)
    assert run(short, world, instance, ["bucket/readings-raw"]).success
    assert world.changed == ["bucket/readings-raw"]
    assert not world.store.consented("bucket/readings-raw", before, after)  # it was for this once


def test_a_run_that_only_ingests_changes_no_settings(world: FolderWorld, instance: DagsterInstance) -> None:
    job = build(small_lab(), world).resolve_job_def("ingest")
    assert job.execute_in_process(instance=instance, run_config=asked_of(["table__sensor_data"], DAILY)).success
    assert world.changed == []
    assert world.worked == [("table/sensor_data", {})]
    world.worked.clear()
    drawn = asked_of(["table__sensor_data"], Work(apply=False))
    assert job.execute_in_process(instance=instance, run_config=drawn).success
    assert world.worked == [("table/sensor_data", {"dates": "all"})]


def test_what_follows_a_remade_asset_is_made_anew_even_if_it_looks_right(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    run(small_lab(), world, instance)
    (world.root / "table" / "sensor_data.json").unlink()
    world.changed.clear()
    run(small_lab(), world, instance, ["table/sensor_data"])
    assert world.changed == ["table/sensor_data"]
    assert {k for k, s in world.store.load().items() if s.status == "drifted"} == {"mart/hourly", "mart/daily"}
    run(small_lab(), world, instance, ["mart/hourly", "mart/daily"])
    assert world.changed == ["table/sensor_data", "mart/hourly", "mart/daily"]
    assert all(state.status == "ok" for state in world.store.load().values())


def test_looking_at_everything_finds_what_went_missing(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    (world.root / "bucket" / "lake.json").unlink()
    job = build(small_lab(), world).resolve_job_def("observe")
    assert job.execute_in_process(instance=instance).success
    states = world.store.load()
    assert {key for key, state in states.items() if state.status != "ok"} == {"bucket/lake"}
    assert states["bucket/lake"].status == "missing"


def test_a_lost_state_store_is_learnt_back_from_the_targets(world: FolderWorld, instance: DagsterInstance) -> None:
    run(small_lab(), world, instance)
    known = {key: state.fingerprint for key, state in world.store.load().items()}
    world.memory.states.clear()
    build(small_lab(), world).resolve_job_def("observe").execute_in_process(instance=instance)
    assert {key: state.fingerprint for key, state in world.store.load().items()} == known


def test_all_of_it_loads_as_a_code_location_does() -> None:
    defs = build_definitions(small_lab())
    dg.Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    repository.load_all_definitions()
    assert {"apply", "ingest", "marts", "quality", "observe", "maintenance", "sweep", "prune"} <= set(
        repository.job_names
    )


def test_the_collector_works_again_once_the_definitions_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOMELAB_LAB", raising=False)
    monkeypatch.delitem(sys.modules, "homelab_platform.definitions", raising=False)
    loaded = import_module("homelab_platform.definitions")
    gc.unfreeze()
    assert gc.isenabled()
    assert loaded.defs.get_repository_def().assets_defs_by_key

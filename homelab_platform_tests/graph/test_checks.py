"""The checks: a broken lab file and unsound readings are seen in the UI."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from homelab_platform.graph.build import definitions_of_file
from homelab_platform.paths import data_home
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.sites.choose import SiteChoice
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.test_sensors import evaluate
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab

GOOD = """\
lab: attic
domain: lab.example.org
timezone: Europe/London
network: {lan: 192.168.0.0/24, gateway: 192.168.0.1}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.0.20}
"""


@pytest.fixture
def world(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "world")


@pytest.fixture
def lab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    (data_home() / "attic").mkdir(parents=True)
    path = tmp_path / "lab" / "lab.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    return path


def definitions(path: Path, world: FolderWorld) -> dg.Definitions:
    return definitions_of_file(path, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))


def keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_all_asset_keys()}


def test_a_lab_file_that_was_never_good_shows_its_problems_instead_of_nothing(
    lab_file: Path, world: FolderWorld
) -> None:
    lab_file.write_text("lab: attic\nhostss: {}\n")
    defs = definitions(lab_file, world)
    assert keys(defs) == {"lab/lab"}
    description = next(iter(defs.resolve_all_asset_specs())).description
    assert description is not None and "lab.yaml:2:1" in description


def test_a_lab_file_that_broke_leaves_the_last_good_lab_in_the_ui(lab_file: Path, world: FolderWorld) -> None:
    assert "host/pi-1" in keys(definitions(lab_file, world))
    lab_file.write_text(GOOD.replace("board:", "bord:"))
    assert "host/pi-1" in keys(definitions(lab_file, world))


def test_a_file_that_breaks_while_everything_runs_turns_its_check_red_at_the_next_tick(
    lab_file: Path, world: FolderWorld, instance: DagsterInstance
) -> None:
    defs = definitions(lab_file, world)
    found = evaluate(defs, "reconcile", world, instance)
    assert [event.passed for event in found.asset_events if isinstance(event, dg.AssetCheckEvaluation)] == [True]
    lab_file.write_text(GOOD.replace("board:", "bord:"))
    broken = evaluate(defs, "reconcile", world, instance, cursor=found.cursor)
    (event,) = broken.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation) and not event.passed
    assert "Did you mean board" in str(event.metadata["problems"].value)
    assert evaluate(defs, "reconcile", world, instance, cursor=broken.cursor).asset_events == []


def test_editing_the_lab_file_asks_for_what_it_changed_and_loads_the_ui_anew(
    lab_file: Path, world: FolderWorld, instance: DagsterInstance
) -> None:
    defs = definitions(lab_file, world)
    defs.resolve_job_def("apply").execute_in_process(instance=instance)
    lab_file.write_text(GOOD.replace("192.168.0.20", "192.168.0.21"))
    found = evaluate(defs, "reconcile", world, instance)
    (request,) = found.run_requests or ()
    assert {key.to_user_string() for key in request.asset_selection or ()} == {"host/pi-1", "image/pi-1"}
    assert world.reloads == 1
    evaluate(defs, "reconcile", world, instance, cursor=found.cursor)
    assert world.reloads == 1  # loading takes seconds; another request would only start another server


def test_unsound_readings_turn_their_check_red_with_what_it_rests_on(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    job = build(small_lab(), world).resolve_job_def("quality")
    done = {e.check_name: e for e in job.execute_in_process(instance=instance).get_asset_check_evaluations()}
    assert {name for name, evaluation in done.items() if not evaluation.passed} == {"gaps"}
    assert "| attic/temperature | 3 % |" in str(done["gaps"].metadata["worst"].value)
    assert "data:image/png;base64," in str(done["range"].metadata["temperature, last day"].value)


def test_marts_are_asked_for_with_the_days_that_changed_since_they_last_succeeded(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    defs = build(small_lab(), world)
    (request,) = evaluate(defs, "changed_dates", world, instance).run_requests or ()
    for step in ("mart__hourly", "mart__daily"):
        config = request.run_config["ops"][step]["config"]
        assert config["dates"] == ["2026-11-20", "2026-11-21"] and config["up_to"] == 2 and not config["apply"]
    defs.resolve_job_def("marts").execute_in_process(instance=instance, run_config=request.run_config)
    assert not evaluate(defs, "changed_dates", world, instance).run_requests

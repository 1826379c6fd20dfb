"""A person's own definitions in `<lab>/defs/`: beside the lab's, with their mistakes named and nothing else lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from homelab_platform.graph.assets import plain_key
from homelab_platform.graph.build import definitions_of_file
from homelab_platform.graph.own import PACKAGE
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.sites.choose import SiteChoice
from homelab_platform_tests.graph.test_checks import GOOD
from homelab_platform_tests.graph.test_sensors import evaluate
from homelab_platform_tests.graph.world import FolderWorld

REPORT = """\
import dagster as dg
from _shared import GREETING

@dg.asset(deps=[dg.AssetKey(["host", "pi-1"])], group_name="own")
def report() -> str:
    return GREETING

@dg.asset_check(asset=report)
def is_kind() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

nightly = dg.ScheduleDefinition(name="nightly", target=report, cron_schedule="0 3 * * *")
"""


@pytest.fixture
def lab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "lab" / "lab.yaml"
    (path.parent / "defs").mkdir(parents=True)
    path.write_text(GOOD)
    (path.parent / "defs" / "_shared.py").write_text("GREETING = 'hello'\n")
    (path.parent / "defs" / "report.py").write_text(REPORT)
    yield path
    for name in [name for name in sys.modules if name.startswith((PACKAGE, "_shared"))]:
        del sys.modules[name]


def load(lab_file: Path, world: FolderWorld) -> dg.Definitions:
    return definitions_of_file(lab_file, site=SiteChoice("folder", EVERYTHING, lambda _lab: world))


def keys(defs: dg.Definitions) -> set[str]:
    return {plain_key(key) for key in defs.resolve_asset_graph().get_all_asset_keys()}


@pytest.fixture
def world(tmp_path: Path) -> FolderWorld:
    return FolderWorld(tmp_path / "world")


def test_own_assets_checks_and_schedules_run_beside_those_of_the_lab(
    lab_file: Path, world: FolderWorld, instance: DagsterInstance
) -> None:
    defs = load(lab_file, world)
    assert {"report", "host/pi-1", "lab/attic"} <= keys(defs)
    assert defs.get_repository_def().get_schedule_def("nightly").cron_schedule == "0 3 * * *"
    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("report")]
    ).output_for_node("report") == "hello"  # fmt: skip
    verdict = evaluate(defs, "lab_health", world, instance).asset_events[-1]
    assert isinstance(verdict, dg.AssetCheckEvaluation) and verdict.passed
    assert verdict.description == "1 file loaded."


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("import dagster as dg\n\ndef broken(:\n", 3, "invalid syntax"),
        ("import dagster as dg\nimport nothing_of_this_name\n", 2, "nothing_of_this_name"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("import dagster as dg\n@dg.asset(key=['host', 'pi-1'])\ndef mine(): ...\n", 1, "pi-1"),
        ("import dagster as dg\ndefs = dg.Definitions(resources={'site': 3})\n", 1, "site"),
        ("import dagster as dg\nx = dg.define_asset_job('apply', selection='*')\n", 1, "apply"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named_with_its_line_and_costs_nothing_else(
    lab_file: Path, world: FolderWorld, instance: DagsterInstance, text: str, line: int, words: str
) -> None:
    (lab_file.parent / "defs" / "a_broken.py").write_text(text)
    defs = load(lab_file, world)
    assert {"report", "host/pi-1", "lab/attic"} <= keys(defs)
    verdict = evaluate(defs, "lab_health", world, instance).asset_events[-1]
    assert isinstance(verdict, dg.AssetCheckEvaluation) and not verdict.passed
    assert verdict.description is not None
    assert verdict.description.startswith(f"defs/a_broken.py:{line}:") and words in verdict.description


def test_an_edited_file_loads_the_graph_anew(lab_file: Path, world: FolderWorld, instance: DagsterInstance) -> None:
    defs = load(lab_file, world)
    evaluate(defs, "reconcile", world, instance)
    assert world.reloads == 0
    (lab_file.parent / "defs" / "report.py").write_text(REPORT + "\n# edited\n")
    evaluate(defs, "reconcile", world, instance)
    assert world.reloads == 1

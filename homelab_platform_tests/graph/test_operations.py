"""Backups and drills in the graph: runs with a config, a check that is red until proven, schedules of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from homelab_platform.apply.adapter import Adapter
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.operations import BackupWork
from homelab_platform.graph.work import asked_of
from homelab_platform.lab.resolved import ResolvedBackup, ResolvedLab
from homelab_platform.layers.backups.adapter import PlanAdapter
from homelab_platform.layers.backups.records import snapshots_of
from homelab_platform.operations import exhibits
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.drill import drill
from homelab_platform.operations.site import Protection
from homelab_platform.plan.layers import EVERYTHING, Capabilities
from homelab_platform.sites.choose import SiteChoice
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.operations.protection import files_item, protection
from homelab_platform_tests.plan.labs import small_lab

ITEM = "platform/secrets"
HERE = Capabilities("here", frozenset(), backup_kinds=frozenset({"platform"}))


def lab_of(cron: str = "30 2 * * *") -> ResolvedLab:
    saved = ResolvedBackup(
        name="platform-secrets",
        item=ITEM,
        method="files",
        targets=(),
        schedule=cron,
        keep={"daily": 7},
        drill="0 4 * * 0",
    )
    return small_lab(backups={"platform-secrets": saved}, timezone="Europe/Berlin")


class ProtectedWorld(FolderWorld):
    """A world of files whose backups and drills are real."""

    def __init__(self, root: Path, site: Protection) -> None:
        super().__init__(root)
        self.site = site

    @property
    def capabilities(self) -> Capabilities:
        return HERE

    def protection(self) -> Protection:
        return self.site

    def adapter(self, layer: str) -> Any:
        def save(desired: Any, request: Any, say: Any) -> Any:
            asked = BackupRequest(ITEM, request["label"], request["shrunk"] == "yes")
            return exhibits.of_backup(self.site, backup(self.site, asked, say))

        def prove(desired: Any, request: Any, say: Any) -> Any:
            return exhibits.of_proof(self.site.targets[0], drill(self.site, ITEM, "site", say))

        made: Adapter = PlanAdapter(lambda: self.site.targets, self.site.protects, save if layer == "backup" else prove)
        return made


@pytest.fixture
def world(tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> Iterator[ProtectedWorld]:
    root = tmp_path / "site"
    root.mkdir()
    (root / "secrets.json").write_text("{}")
    with protection(tmp_path, postgres_endpoint, {ITEM: files_item(root)}) as site:
        yield ProtectedWorld(tmp_path / "world", site)


def definitions(world: FolderWorld, lab: ResolvedLab) -> dg.Definitions:
    choice = SiteChoice("here", world.capabilities, lambda _lab: world)
    return build_definitions(lab, site=choice)


@pytest.mark.servers
@pytest.mark.slow
def test_the_check_is_green_once_saved_and_proven(world: ProtectedWorld, instance: dg.DagsterInstance) -> None:
    defs = definitions(world, lab_of())

    def run(job: str, config: Any = None) -> dg.ExecuteInProcessResult:
        return defs.resolve_job_def(job).execute_in_process(run_config=config, instance=instance, raise_on_error=False)

    def verdict() -> tuple[bool, str]:
        (found,) = run("protection").get_asset_check_evaluations()
        return found.passed, str(found.description)

    assert verdict() == (False, "site: unproven, there is no backup yet")
    assert run("backup", asked_of(["backup__platform_secrets"], BackupWork(apply=False, label="pre-patch"))).success
    (made,) = snapshots_of(world.site.targets[0].folder, ITEM)
    assert made.label == "pre-patch"
    assert verdict() == (False, "site: unproven, no drill has restored it yet")
    proven = run("drill")
    (event,) = proven.asset_materializations_for_node("drill__platform_secrets")
    assert {"proven snapshot", "forecast", "seconds", "drills"} <= event.metadata.keys()
    assert verdict() == (True, "Saved and proven as its plan asks.")
    assert run("verify_data_integrity").success
    refused = run("restore", {"ops": {"restore_item": {"config": {"item": ITEM}}}})
    failed = next(event for event in refused.all_node_events if event.is_step_failure)
    assert "would replace the live item" in str(failed.step_failure_data.user_failure_data)
    into = str(world.root.parent / "into")
    assert run("restore", {"ops": {"restore_item": {"config": {"item": ITEM, "into": into}}}}).success
    assert (Path(into) / "files" / "secrets.json").read_text() == "{}"


def test_schedules_are_in_the_labs_zone_and_ask_for_their_own_assets(tmp_path: Path) -> None:
    world = FolderWorld(tmp_path)
    lab = lab_of("30 2 * * *")
    more = lab.backups["platform-secrets"].model_copy(update={"name": "lake", "item": "lake", "schedule": "5 * * * *"})
    choice = SiteChoice("here", EVERYTHING, lambda _lab: world)
    defs = build_definitions(lab.model_copy(update={"backups": {**lab.backups, "lake": more}}), site=choice)
    found = {schedule.name: schedule for schedule in defs.schedules or ()}
    nightly = found["backup_30_2_x_x_x"]
    assert isinstance(nightly, dg.ScheduleDefinition)
    assert (nightly.cron_schedule, nightly.execution_timezone) == ("30 2 * * *", "Europe/Berlin")
    assert {"backup_5_x_x_x_x", "drill_0_4_x_x_0", "protection_by_the_clock"} <= found.keys()
    due = datetime(2026, 11, 30, 1, 30, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=due) as context:
        request = nightly(context)
        sunday = found["verify_data_integrity_by_the_clock"]
        assert isinstance(sunday, dg.ScheduleDefinition)
        read = sunday(context)
    assert isinstance(request, dg.RunRequest) and isinstance(read, dg.RunRequest)
    assert request.asset_selection == [asset_key("backup/platform-secrets")]
    assert request.run_config["ops"]["backup__platform_secrets"]["config"]["apply"] is False
    assert read.run_config["ops"]["verify_integrity"]["config"] == {"read": "1/7"}

"""Patching in the graph: a night as a run, an asset a host with checks of what was observed, a schedule that asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.build import build_definitions
from homelab_platform.lab.calendar import window
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.operations import patch
from homelab_platform.operations.patch_health import judge_restart, judge_updates, last_opening
from homelab_platform.operations.patch_night import patch_due
from homelab_platform.operations.patch_plan import plan_of
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.plan.layers import EVERYTHING, Capabilities
from homelab_platform.sites.choose import SiteChoice
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.operations.fleet import (
    NIGHT,
    ORDER,
    FakeMachine,
    World,
    fleet_in,
    own_journal,
    world_of_four,
)
from homelab_platform_tests.plan.labs import host, small_lab

ALL = [name for name, _, _ in ORDER]


def lab_of_four() -> ResolvedLab:
    parts = {"pi-1": "server", "nas": None}
    hosts = {name: host(name, 20 + i, k3s=parts.get(name, "agent")) for i, name in enumerate(ALL)}
    steps = [
        {
            "host": name, "group": group, "window": window("first Sunday 03:00-06:00").to_dict(), "drain": node,
            "drain_timeout": 600, "settle": 120, "reboot": "when-needed",
        }
        for name, group, node in ORDER
    ]  # fmt: skip
    patching = {"steps": steps, "order": ALL, "health": ["ssh", "node-ready", "workloads"], "backup_first": False}
    return small_lab(hosts=hosts, patching=patching, timezone="Europe/Berlin")


class PatchedWorld(FolderWorld):
    """A world of files whose hosts are patched in memory."""

    def __init__(self, root: Path, fleet: Fleet) -> None:
        super().__init__(root)
        self._fleet = fleet

    @property
    def capabilities(self) -> Capabilities:
        return EVERYTHING

    def fleet(self) -> Fleet:
        return self._fleet


@pytest.fixture
def memory() -> World:
    return world_of_four()


@pytest.fixture
def fleet(memory: World, postgres_endpoint: PostgresEndpoint) -> Iterator[Fleet]:
    with own_journal(postgres_endpoint) as journal:
        yield replace(fleet_in(memory, journal), plan=plan_of(lab_of_four()))


@pytest.fixture
def definitions(fleet: Fleet, tmp_path: Path) -> dg.Definitions:
    choice = SiteChoice("here", EVERYTHING, lambda _lab: PatchedWorld(tmp_path, fleet))
    return build_definitions(lab_of_four(), site=choice)


@pytest.mark.servers
@pytest.mark.slow
def test_a_night_is_a_run_that_leaves_a_materialization_at_each_host(
    definitions: dg.Definitions, memory: World, instance: dg.DagsterInstance
) -> None:
    def run(job: str, config: Any = None) -> dg.ExecuteInProcessResult:
        return definitions.resolve_job_def(job).execute_in_process(
            run_config=config, instance=instance, raise_on_error=False
        )

    def patched() -> list[str]:
        found = [instance.get_latest_materialization_event(asset_key(f"patch/{name}")) for name in ALL]
        return [name for name, event in zip(ALL, found, strict=True) if event is not None]

    def verdicts() -> dict[str, tuple[bool, str]]:
        evaluations = run("pending_updates").get_asset_check_evaluations()
        return {f"{e.asset_key.path[-1]} {e.check_name}": (e.passed, str(e.description)) for e in evaluations}

    assert run("rolling_update").success, "which only says what would change, unless it is told otherwise"
    assert memory.log == []
    before = verdicts()
    assert "openssl" in before["nas updates"][1]
    assert before["pi-1 cordon"] == (True, "Takes pods.")
    assert "nas cordon" not in before

    memory.hosts["pi-3"].refuses_updates = "its updates failed with code 100: E: dpkg"
    failed = run("patch_nodes")
    assert not failed.success
    step = next(event for event in failed.all_node_events if event.is_step_failure)
    assert "code 100" in str(step.step_failure_data.user_failure_data)
    assert patched() == ["pi-2"]

    memory.hosts["pi-3"].refuses_updates = ""
    asked = {"ops": {"patch_hosts_now": {"config": {"hosts": ["nas", "pi-3"], "dry_run": False}}}}
    assert run("rolling_update", asked).success
    assert memory.happened("updated") == patched() == ["pi-2", "pi-3", "nas"]
    assert run("patch_nodes").success, "the window is used: nothing happens"
    assert memory.happened("updated") == ["pi-2", "pi-3", "nas"]
    memory.nodes["pi-1"].cordoned, memory.nodes["pi-1"].run = True, "20260101T000000-unknown"
    after = verdicts()
    assert after["nas updates"] == (True, "No update waits.")
    assert after["pi-1 cordon"][0] is False


@pytest.mark.servers
def test_the_schedule_starts_a_night_once_and_for_a_cordon_that_a_dead_run_left(
    definitions: dg.Definitions, fleet: Fleet, memory: World
) -> None:
    tick = definitions.get_repository_def().get_schedule_def("patch_nodes_by_the_clock")
    assert (tick.cron_schedule, tick.execution_timezone) == ("*/15 * * * *", "Europe/Berlin")
    resources = definitions.resources or {}

    def ask() -> Any:
        with dg.build_schedule_context(
            scheduled_execution_time=memory.now, resources={"site": resources["site"]}
        ) as now:
            return tick.evaluate_tick(now)

    memory.now = NIGHT - timedelta(minutes=1)
    assert "No window is open" in str(ask().skip_message)
    memory.now = NIGHT
    (request,) = ask().run_requests
    assert request.tags["homelab/patch"] == "pi-2,pi-3,pi-1,nas"
    with fleet.journal.held("patching", "patch window"):
        assert "No window is open" in str(ask().skip_message), "somebody patches already"
    memory.now = NIGHT + timedelta(days=1)
    left = fleet.journal.begin(patch.KIND, "host/pi-2", [])
    memory.nodes["pi-2"].cordoned, memory.nodes["pi-2"].run = True, left.run
    (request,) = ask().run_requests
    assert request.tags["homelab/patch"] == "pi-2"


@pytest.mark.servers
def test_hosts_that_nobody_applied_are_neither_asked_nor_patched_by_themselves(
    fleet: Fleet, memory: World, tmp_path: Path
) -> None:
    begun: set[str] = set()
    careful = replace(fleet, begun=lambda: frozenset(begun))
    choice = SiteChoice("here", EVERYTHING, lambda _lab: PatchedWorld(tmp_path, careful))
    defs = build_definitions(lab_of_four(), site=choice)
    site = {"site": (defs.resources or {})["site"]}

    def ask(name: str) -> Any:
        tick = defs.get_repository_def().get_schedule_def(name)
        with dg.build_schedule_context(scheduled_execution_time=memory.now, resources=site) as context:
            return tick.evaluate_tick(context)

    assert "a person begins" in str(ask("pending_updates_by_the_clock").skip_message)
    assert "No window is open" in str(ask("patch_nodes_by_the_clock").skip_message)
    begun.add("nas")
    (night,) = ask("patch_nodes_by_the_clock").run_requests
    assert night.tags["homelab/patch"] == "nas"
    (look,) = ask("pending_updates_by_the_clock").run_requests
    assert {key.asset_key.path[-1] for key in look.asset_check_keys} == {"nas"}
    assert [result.host for result in patch_due(careful, lambda _line: None).hosts] == ["nas"]


def test_a_site_that_reaches_no_host_patches_none(tmp_path: Path) -> None:
    here = Capabilities("here", frozenset({"table"}))
    defs = build_definitions(lab_of_four(), site=SiteChoice("here", here, lambda _lab: FolderWorld(tmp_path)))
    names = {job.name for job in defs.get_repository_def().get_all_jobs()}
    assert not names & {"patch_nodes", "rolling_update", "pending_updates"}


def test_updates_may_wait_for_the_next_window_and_not_beyond_one_that_went_by() -> None:
    plan = plan_of(lab_of_four())
    turn = plan.turn("nas")
    memory = world_of_four()
    facts = FakeMachine(memory, "nas").look()
    wednesday = datetime(2026, 12, 9, tzinfo=UTC)
    missed = last_opening(plan, turn, wednesday)
    assert missed is not None
    assert missed.day.isoformat() == "2026-12-06"
    assert judge_updates(plan, turn, facts, wednesday).passed, "it was never patched: the next window is its first"
    before, after = missed.begin - timedelta(days=30), missed.begin + timedelta(minutes=5)
    for at, passed in ((before, False), (after, True)):
        record = {"run": "r", "at": at, "updates": 1, "rebooted": False}
        noted = facts.model_validate({**facts.model_dump(), "patched": record})
        assert judge_updates(plan, turn, noted, wednesday).passed is passed
    restart = facts.model_copy(update={"reboot": ("kernel 6.7 is installed, 6.6 runs",)})
    assert judge_restart(plan, turn, restart, wednesday).passed
    never = judge_restart(plan, replace(turn, reboot="never"), restart, wednesday)
    assert not never.passed
    assert "the lab says never: kernel 6.7" in never.text
    unplanned = judge_updates(plan, replace(turn, window=None), facts, wednesday)
    assert "It has no window: homelab patch nas" in unplanned.text

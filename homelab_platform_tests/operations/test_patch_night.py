"""A patch night in memory: order, one host at a time, the first failure, and what dead processes leave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.operations import patch
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.patch_night import NIGHT as WINDOW
from homelab_platform.operations.patch_night import due, patch_due, patch_now, preview, sweep, unfinished, used
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.operations.fleet import NIGHT, World, fleet_in, own_journal, world_of_four

pytestmark = pytest.mark.servers

ALL = ["pi-2", "pi-3", "pi-1", "nas"]
STEPS = [patch.LOOK, patch.CORDON, patch.DRAIN, patch.INSTALL, patch.START, patch.REBOOT, patch.HEALTH]
STEPS += [patch.UNCORDON, patch.SETTLE, patch.NOTE]


def quiet(_line: str) -> None:
    pass


class PowerCut(BaseException):
    """The process is gone, with everything that it had not written."""


@pytest.fixture
def journal(postgres_endpoint: PostgresEndpoint) -> Iterator[Journal]:
    with own_journal(postgres_endpoint) as made:
        yield made


def nothing_is_cordoned(world: World) -> bool:
    return not any(node.cordoned or node.run for node in world.nodes.values())


def states(report: Any) -> dict[str, str]:
    return {result.host: result.state for result in report.hosts}


def test_hosts_are_patched_in_order_and_never_two_are_down(journal: Journal) -> None:
    world = world_of_four()
    report = patch_due(fleet_in(world, journal), quiet)
    assert report.error is None
    assert states(report) == dict.fromkeys(ALL, "patched")
    assert world.happened("updated") == world.happened("down") == ALL
    assert nothing_is_cordoned(world)
    assert sum(len(node.pods) for node in world.nodes.values()) == 30
    downs = [(second, world.hosts[host].restart_seconds) for second, host, what in world.log if what == "down"]
    assert all(first + lasts <= second for (first, lasts), (second, _) in pairwise(downs))
    records = [host.record for host in world.hosts.values()]
    assert all(record is not None and record.updates == 1 and record.rebooted for record in records)


def test_a_window_is_used_once_however_often_somebody_looks(journal: Journal) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    world.now = NIGHT - timedelta(minutes=5)
    assert due(fleet) == []
    world.now = NIGHT
    assert due(fleet) == ALL
    assert states(patch_due(fleet, quiet)) == dict.fromkeys(ALL, "patched")
    assert used(fleet) == dict.fromkeys(ALL, date(2026, 12, 6))
    assert due(fleet) == []
    assert patch_due(fleet, quiet).hosts == ()
    world.now = NIGHT + timedelta(days=28)  # the first Sunday of January
    assert due(fleet) == ALL


def test_nothing_due_takes_less_than_a_minute_and_touches_no_node(journal: Journal) -> None:
    world = world_of_four()
    for host in world.hosts.values():
        host.updates, host.wants_restart = (), False
    report = patch_due(fleet_in(world, journal), quiet)
    assert states(report) == dict.fromkeys(ALL, "nothing due")
    assert world.seconds < 60
    assert world.log == []


def test_a_canary_that_fails_leaves_the_rest_untouched(journal: Journal) -> None:
    world = world_of_four()
    world.hosts["pi-2"].refuses_updates = "its updates failed with code 100: E: dpkg"
    report = patch_due(fleet_in(world, journal), quiet)
    assert states(report) == {"pi-2": "failed", "pi-3": "untouched", "pi-1": "untouched", "nas": "untouched"}
    assert "code 100" in str(report.error)
    assert "code 100" in report.hosts[0].why
    assert {host for _, host, _ in world.log} == {"pi-2"}
    assert nothing_is_cordoned(world)
    assert due(fleet_in(world, journal)) == [], "the window is used; a person looks first"


def test_a_node_that_never_comes_back_stops_the_night_and_is_not_left_cordoned(journal: Journal) -> None:
    world = world_of_four()
    world.hosts["pi-3"].restart_seconds = 1e9
    report = patch_due(fleet_in(world, journal), quiet)
    assert states(report) == {"pi-2": "patched", "pi-3": "failed", "pi-1": "untouched", "nas": "untouched"}
    assert "does not come back within 600 s: does not answer" in str(report.error)
    assert nothing_is_cordoned(world)


def test_ready_of_before_the_restart_is_no_answer(journal: Journal) -> None:
    world = world_of_four()
    world.hosts["pi-2"].kubelet_seconds = 300.0
    report = patch_due(fleet_in(world, journal), quiet)
    assert states(report)["pi-2"] == "patched"
    (down,) = [second for second, host, what in world.log if (host, what) == ("pi-2", "down")]
    (uncordoned,) = [second for second, host, what in world.log if (host, what) == ("pi-2", "uncordoned")]
    assert uncordoned - down >= 300
    world = world_of_four()
    world.hosts["pi-2"].kubelet_seconds = 1e9
    world.now = NIGHT + timedelta(days=28)
    report = patch_due(fleet_in(world, journal), quiet)
    assert "its kubelet has not reported since the restart" in str(report.error)


def test_a_unit_that_fails_after_the_update_stops_the_night(journal: Journal) -> None:
    world = world_of_four()
    world.hosts["pi-2"].ill = ("unit mosquitto.service failed",)
    report = patch_due(fleet_in(world, journal), quiet)
    assert "is not healthy after the update: unit mosquitto.service failed" in str(report.error)
    assert states(report)["pi-3"] == "untouched"


def test_pods_that_never_leave_are_named_and_the_node_is_uncordoned_within_ten_seconds(journal: Journal) -> None:
    world = world_of_four()
    world.nodes["pi-2"].refuses = "the disruption budget db needs 1 healthy pods and has 1 currently"
    report = patch_due(fleet_in(world, journal), quiet)
    assert "10 pods did not leave within 600 s (default/pi-2-pod-0: the disruption budget db" in str(report.error)
    assert world.happened("updated") == []
    (cordoned,) = [second for second, _, what in world.log if what == "cordoned"]
    (uncordoned,) = [second for second, _, what in world.log if what == "uncordoned"]
    assert 600 <= uncordoned - cordoned <= 610
    assert nothing_is_cordoned(world)


def test_budgets_and_nodes_that_are_down_are_found_before_the_cordon(journal: Journal) -> None:
    world = world_of_four()
    world.obstacles["pi-2"] = ["PodDisruptionBudget default/db allows 0 of 1 pods to leave (such as default/db-1)"]
    report = patch_now(fleet_in(world, journal), fleet_in(world, journal).plan.turns, quiet)
    assert "PodDisruptionBudget default/db allows 0 of 1" in str(report.error)
    world.obstacles.clear()
    world.hosts["pi-1"].up_at = 1e9
    report = patch_now(fleet_in(world, journal), fleet_in(world, journal).plan.turns, quiet)
    assert "the cluster is short of pi-1 already" in str(report.error)
    assert world.log == []


def test_backups_that_are_not_proven_hold_the_night(journal: Journal) -> None:
    from dataclasses import replace

    world = world_of_four()
    fleet = fleet_in(world, journal)
    waiting = replace(
        fleet, plan=replace(fleet.plan, backup_first=True), unproven=lambda: ["lake at site: no drill has restored it"]
    )
    assert "waits for proven backups: lake at site" in str(patch_due(waiting, quiet).error)
    assert world.log == []
    assert states(patch_now(fleet, fleet.plan.turns, quiet)) == dict.fromkeys(ALL, "patched")


@pytest.mark.slow
def test_a_backup_under_way_is_waited_for_and_a_dead_one_is_not(journal: Journal) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    journal.begin("backup", "lake", [])
    with journal.held("lake", "backup"):
        report = patch_now(fleet, fleet.plan.chosen(["nas"]), quiet)
    assert "the backup of lake does not end within 30 min" in str(report.error)
    assert world.log == []
    assert world.seconds >= 1800
    assert states(patch_now(fleet, fleet.plan.chosen(["nas"]), quiet)) == {"nas": "patched"}


def test_somebody_elses_cordon_stays(journal: Journal) -> None:
    world = world_of_four()
    world.nodes["pi-3"].cordoned = True
    report = patch_due(fleet_in(world, journal), quiet)
    assert states(report) == dict.fromkeys(ALL, "patched")
    assert world.nodes["pi-3"].cordoned
    assert "pi-3" not in world.happened("cordoned") + world.happened("uncordoned")


def test_the_only_node_is_patched_with_its_pods_in_place(journal: Journal) -> None:
    world = world_of_four()
    for name in ("pi-2", "pi-3"):
        del world.nodes[name], world.hosts[name]
    fleet = fleet_in(world, journal)
    report = patch_now(fleet, fleet.plan.chosen(["pi-1"]), quiet)
    assert states(report) == {"pi-1": "patched"}
    assert len(world.nodes["pi-1"].pods) == 10
    assert world.happened("cordoned") == []


def test_a_host_that_would_not_be_done_before_its_window_closes_is_left(journal: Journal) -> None:
    world = world_of_four()
    world.now = NIGHT + timedelta(hours=2, minutes=40)
    report = patch_due(fleet_in(world, journal, settle=600), quiet)
    assert states(report)["pi-2"] == "left"
    assert "its window closes at 05:00 UTC" in report.hosts[0].why
    assert states(report)["nas"] == "patched", "it has no pods to wait for"


class Cut:
    """Cuts the power before the intent or before the outcome of a step of one host's procedure is written, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
        name = {"before": "intend", "within": "record"}[when]
        real = getattr(Journal, name)
        armed = [True]

        def cutting(journal: Journal, run: str, at: str, more: Any) -> None:
            if at == step and armed and journal.load(run).subject == "host/pi-3":
                armed.clear()
                raise PowerCut
            real(journal, run, at, more)

        monkeypatch.setattr(Journal, name, cutting)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("step", STEPS)
def test_a_night_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    with monkeypatch.context() as patched:
        Cut(patched, step, when)
        with pytest.raises(PowerCut):
            patch_due(fleet, quiet)
    left = unfinished(fleet)
    assert left is not None
    sweep(fleet, quiet)
    assert nothing_is_cordoned(world), "the sweep takes back what nobody works on"
    world.sleep(900)
    assert due(fleet) == ALL
    report = patch_due(fleet, quiet)
    assert states(report) == dict.fromkeys(ALL, "patched")
    assert world.happened("updated") == world.happened("down") == ALL, "each once"
    assert nothing_is_cordoned(world)
    assert [(r.run, r.state) for r in journal.of_kind(WINDOW)] == [(left.run, "done")]


def test_a_night_whose_window_closed_meanwhile_is_given_up(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    with monkeypatch.context() as patched:
        Cut(patched, patch.INSTALL, "before")
        with pytest.raises(PowerCut):
            patch_due(fleet, quiet)
    world.now = NIGHT + timedelta(hours=5)
    assert patch_due(fleet, quiet).hosts == ()
    assert nothing_is_cordoned(world)
    assert journal.of_kind(WINDOW)[0].state == "given up"
    assert journal.unfinished(patch.KIND, "host/pi-3") == []
    assert world.happened("down") == ["pi-2"], "nothing restarts outside a window"


def test_the_sweep_leaves_what_is_alive_or_not_ours(journal: Journal) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    with journal.held("host/pi-2", patch.KIND):
        alive = journal.begin(patch.KIND, "host/pi-2", [])
        world.nodes["pi-2"].cordoned, world.nodes["pi-2"].run = True, alive.run
        world.nodes["pi-3"].cordoned, world.nodes["pi-3"].run = True, "20260101T000000-unknown"
        world.nodes["pi-1"].cordoned = True
        assert sweep(fleet, quiet) == ["pi-3"]
        assert world.nodes["pi-2"].cordoned
        assert world.nodes["pi-1"].cordoned
    assert sweep(fleet, quiet) == ["pi-2"]


def test_a_second_operator_is_told_who_patches(journal: Journal) -> None:
    world = world_of_four()
    fleet = fleet_in(world, journal)
    with journal.held("patching", "patch now"), pytest.raises(HomelabError, match=r"patch now of .* process"):
        patch_now(fleet, fleet.plan.turns, quiet)
    assert world.log == []


def test_a_preview_changes_nothing_and_says_what_would_stop_it(journal: Journal) -> None:
    world = world_of_four()
    world.hosts["nas"].up_at = 1e9
    world.obstacles["pi-2"] = ["PodDisruptionBudget default/db allows 0 of 1 pods to leave (such as default/db-1)"]
    fleet = fleet_in(world, journal)
    found = {one.slot.turn.host: one for one in preview(fleet, fleet.plan.turns, quiet)}
    assert list(found) == ALL
    assert found["pi-2"].pending
    assert "allows 0 of 1" in found["pi-2"].obstacles[0]
    assert found["nas"].why == "does not answer"
    assert found["pi-3"].to_dict()["begins"] == "2026-12-06T02:00:00+00:00"
    assert world.log == []
    assert journal.recent() == []

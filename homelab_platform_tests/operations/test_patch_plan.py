"""Order and windows of patching: pure, over 400 days in five zones, with power cuts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.lab.calendar import Window, window
from homelab_platform.operations.patch_plan import PatchPlan, Turn, due_hosts, plan_of, timetable
from homelab_platform.operations.windows import openings
from homelab_platform.paths import project_path
from homelab_platform_tests.operations.test_windows import WINDOWS, ZONES

START = date(2026, 1, 1)
DAYS = 400
HOSTS = ("canary", "agent", "server", "nas")


def turn(host: str, said: Window | None) -> Turn:
    return Turn(host, host, said, node=host != "nas", drain_timeout=600, settle=120, reboot="when-needed")


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@given(st.lists(WINDOWS, min_size=4, max_size=4), st.integers(0, DAYS - 3), st.integers(1, 48))
@settings(max_examples=1)
def test_each_host_is_due_once_in_each_of_its_windows_whatever_the_power_does(
    zone: str, said: list[Window], cut: int, hours: int
) -> None:
    """Looked at every 15 minutes as the schedule does; the hosts of a window come together and in the lab's order."""
    plan = PatchPlan(
        zone, tuple(turn(h, w) for h, w in zip(HOSTS, said, strict=True)), blackout=("2026-08-01..2026-08-09",)
    )
    dark = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=cut)
    light_again = dark + timedelta(hours=hours)
    used: dict[str, date] = {}
    times: dict[str, list[date]] = {host: [] for host in HOSTS}
    now, end = datetime(2025, 12, 31, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC) + timedelta(days=DAYS)
    while now < end:
        if not dark <= now < light_again:
            slots = due_hosts(plan, now, used)
            order = [slot.turn.host for slot in slots]
            assert order == sorted(order, key=HOSTS.index)
            for slot in slots:
                assert slot.opening is not None
                assert slot.opening.begin <= now < slot.opening.end
                used[slot.turn.host] = slot.opening.day
                times[slot.turn.host].append(slot.opening.day)
        now += timedelta(minutes=15)
    for host, mine in zip(HOSTS, said, strict=True):
        expected = [
            o.day
            for o in openings(mine, zone, START - timedelta(days=2), START + timedelta(days=DAYS), plan.blackout)
            if o.begin >= datetime(2025, 12, 31, tzinfo=UTC)
            and o.begin + timedelta(minutes=15) <= end
            and not (dark <= o.begin and o.end <= light_again)
            and o.end - max(o.begin, light_again if dark <= o.begin < light_again else o.begin) >= timedelta(minutes=15)
        ]
        assert len(times[host]) == len(set(times[host])), "never twice"
        assert set(expected) <= set(times[host]), "and never not"


def test_a_timetable_names_the_next_opening_beyond_blackout_days() -> None:
    plan = PatchPlan(
        "Europe/Berlin",
        (turn("nas", window("last Sunday 23:00-02:00")), turn("agent", None)),
        ("2026-12-20..2027-01-05",),
    )
    first, second = timetable(plan, plan.turns, datetime(2026, 12, 1, tzinfo=UTC))
    assert first.opening is not None
    assert first.opening.begin == datetime(2027, 1, 31, 22, tzinfo=UTC)
    assert second.opening is None


def test_hosts_come_in_the_labs_order_and_unknown_ones_are_named() -> None:
    plan = PatchPlan(
        "UTC", tuple(turn(host, None) for host in HOSTS), elsewhere={"nix-1": "NixOS is updated otherwise"}
    )
    assert [one.host for one in plan.chosen(["nas", "canary"])] == ["canary", "nas"]
    assert [one.host for one in plan.chosen([])] == list(HOSTS)
    with pytest.raises(HomelabError, match=r"host/agnet: the lab patches no such host\n.*Did you mean agent"):
        plan.chosen(["agnet"])
    with pytest.raises(HomelabError, match="host/nix-1: NixOS is updated otherwise"):
        plan.chosen(["nix-1"])


def test_the_plan_of_an_example_lab_has_its_canary_first_and_says_what_it_does_not_do() -> None:
    from homelab_platform.catalog.load import load_catalogue
    from homelab_platform.lab.check import load_resolved

    lab = load_resolved(project_path("examples", "pi-cluster", "lab.yaml"), load_catalogue())
    plan = plan_of(lab)
    assert plan.turns
    assert [one.host for one in plan.turns] == [h for h in lab.patching["order"] if lab.hosts[h].os != "nixos"]
    groups = [one.group for one in plan.turns]
    ranks = {"canary": 0, "agent": 1, "server": 2, "other": 3}
    assert groups == sorted(groups, key=ranks.__getitem__) or lab.patching["order"]
    assert all(one.window is not None for one in plan.turns)

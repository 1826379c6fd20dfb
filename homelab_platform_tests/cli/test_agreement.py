"""What a person has to agree to before anything that restarts, or loses data, is touched."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from homelab_platform.cli import plan_commands
from homelab_platform.errors import HomelabError
from homelab_platform.plan.plan import Plan, Step
from homelab_platform.plan.render import render

NOW = datetime(2026, 11, 21, tzinfo=UTC)
GOES = Step(
    "workload/db", "delete", "data-loss", because="it is no longer in the lab", keeps=("volume data", "volume wal")
)
SHRINKS = Step("bucket/raw", "update", "data-loss")
MOVES = Step("workload/web", "update", "restart")


def plan(*steps: Step) -> Plan:
    """A plan of these steps."""
    return Plan("attic", NOW, NOW, steps)


class Person:
    """Somebody at a terminal, who types these answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *typed: str, agrees: bool = True) -> None:
        self.asked: list[str] = []
        answers = iter(typed)

        def prompt(text: str, **_settings: object) -> str:
            self.asked.append(text)
            return next(answers)

        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr(typer, "prompt", prompt)
        monkeypatch.setattr(typer, "confirm", lambda _text: agrees)


def test_the_plan_says_what_a_delete_keeps_and_how_to_give_it_up() -> None:
    assert "it is no longer in the lab; volume data, volume wal stay unless you confirm workload/db" in render(
        plan(GOES)
    )


def test_a_workload_goes_without_a_name_and_its_volumes_only_with_it() -> None:
    unnamed = plan_commands.agreed(plan(GOES), yes=True, confirmed=set(), quiet=True)
    assert unnamed == (["workload/db"], set())
    named = plan_commands.agreed(plan(GOES), yes=True, confirmed={"workload/db"}, quiet=True)
    assert named == (["workload/db"], {"workload/db"})


def test_where_nobody_can_answer_nothing_goes_without_yes() -> None:
    for step in (GOES, MOVES):
        with pytest.raises(HomelabError, match="nobody is here to agree"):
            plan_commands.agreed(plan(step), yes=False, confirmed=set(), quiet=True)
    for step in (GOES, SHRINKS):
        assert plan_commands.agreed(plan(step), yes=False, confirmed={step.key}, quiet=True)[0] == [step.key]
    with pytest.raises(HomelabError, match="homelab apply --confirm bucket/raw"):
        plan_commands.agreed(plan(SHRINKS), yes=True, confirmed=set(), quiet=True)


def test_at_a_terminal_enter_keeps_the_volumes_and_the_name_gives_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person(monkeypatch, "")
    assert plan_commands.agreed(plan(GOES), yes=False, confirmed=set(), quiet=False) == (["workload/db"], set())
    assert "volume data, volume wal will be kept" in person.asked[0]
    Person(monkeypatch, "workload/db")
    keys, with_data = plan_commands.agreed(plan(GOES), yes=False, confirmed=set(), quiet=False)
    assert (keys, with_data) == (["workload/db"], {"workload/db"})


def test_at_a_terminal_a_wrong_name_or_a_no_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Person(monkeypatch, "workload/other")
    with pytest.raises(HomelabError, match="nothing was changed"):
        plan_commands.agreed(plan(GOES), yes=False, confirmed=set(), quiet=False)
    Person(monkeypatch, "bucket/rwa")
    with pytest.raises(HomelabError, match="nothing was changed"):
        plan_commands.agreed(plan(SHRINKS), yes=False, confirmed=set(), quiet=False)
    Person(monkeypatch, agrees=False)
    with pytest.raises(typer.Exit):
        plan_commands.agreed(plan(MOVES), yes=False, confirmed=set(), quiet=False)

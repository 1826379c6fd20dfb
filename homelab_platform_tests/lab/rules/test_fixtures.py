"""Every rule refuses what it is for, at the right place and alone, and lets the right thing pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.lab.rules import ALL_RULES
from homelab_platform_tests.lab.rules.fixtures import FIXTURES, expected, fixtures, name_of, place, problems


@pytest.mark.parametrize("path", fixtures("rejected"), ids=name_of)
def test_a_lab_that_is_wrong_in_one_way_is_refused_there_and_only_there(path: Path) -> None:
    demand, found = expected(path), problems(path)
    assert len(found) == 1, "\n".join(map(str, found)) or "nothing was found"
    assert place(found[0]) == (demand.file, demand.line, demand.column), found[0]
    assert found[0].rule == demand.rule
    assert demand.says in found[0].what
    assert found[0].remedy, "a problem says what to do"
    assert "\n" not in found[0].what


@pytest.mark.parametrize("path", fixtures("accepted"), ids=name_of)
def test_a_lab_that_is_right_is_let_through(path: Path) -> None:
    assert [str(problem) for problem in problems(path)] == []


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
def test_every_rule_has_a_rejected_and_an_accepted_fixture_and_says_why(rule: object) -> None:
    name = getattr(rule, "__name__", "").replace("_", "-")
    cases = [path.name.split(".")[0] for path in (FIXTURES / name).glob("*")]
    assert any(case.startswith("rejected") for case in cases), f"fixtures/{name}/rejected.yaml is missing"
    assert any(case.startswith("accepted") for case in cases), f"fixtures/{name}/accepted.yaml is missing"
    assert len((rule.__doc__ or "").split()) >= 8, "the docstring says why in a user's words"

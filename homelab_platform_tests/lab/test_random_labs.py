"""Ten thousand labs and no traceback: whatever stands in the file, people get a place, a reason and a way out."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError, Position, Problem
from homelab_platform.lab.check import check_lab, load_resolved
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.lab.why.trace import explain
from homelab_platform_tests.lab.strategies import (
    LAB_SETTINGS,
    broken_texts,
    broken_trees,
    catalogue,
    documents,
    dump,
    valid_labs,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for one lab file after the other."""
    return tmp_path_factory.mktemp("random") / "lab.yaml"


def _judge(file: Path, raw: bytes) -> list[Problem]:
    file.write_bytes(raw)
    problems = check_lab(file, catalogue())
    lines = len(re.split(rb"\r\n|\r|\n", raw))
    for problem in problems:
        assert problem.what
        assert "Traceback" not in problem.what
        if isinstance(problem.where, Position):
            assert 1 <= problem.where.line <= lines + 1
            assert problem.where.column >= 1
    try:
        load_resolved(file, catalogue())
    except HomelabError as error:
        assert error.problems
        assert list(error.problems) == problems
    else:
        assert not problems
    return problems


@LAB_SETTINGS
@given(text=valid_labs)
def test_a_plausible_lab_loads_resolves_and_explains_itself(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    loaded = load_lab(file)
    resolved = resolve(loaded, catalogue())
    assert ResolvedLab.model_validate_json(resolved.to_json()) == resolved
    assert all(origin for _, _, origin in explain(loaded, catalogue()))
    assert all(problem.remedy for problem in _judge(file, text.encode())), "each says the way out"


@LAB_SETTINGS
@given(text=broken_trees())
def test_a_lab_with_junk_in_it_is_accepted_or_refused_in_words(file: Path, text: str) -> None:
    assert all(problem.remedy for problem in _judge(file, text.encode())), "each says the way out"


@LAB_SETTINGS
@given(raw=broken_texts())
def test_a_lab_that_a_cat_walked_over_is_accepted_or_refused_in_words(file: Path, raw: bytes) -> None:
    assert all(problem.remedy for problem in _judge(file, raw)), "each says the way out"


def _shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: _shuffled(value[key], rng) for key in keys}
    return [_shuffled(item, rng) for item in value] if isinstance(value, list) else value


@LAB_SETTINGS
@given(document=documents(), seed=st.integers(0, 2**32))
def test_the_order_of_keys_does_not_change_a_byte(file: Path, document: dict[str, Any], seed: int) -> None:
    file.write_text(dump(document), encoding="utf-8")
    first = resolve(load_lab(file), catalogue()).to_json()
    file.write_text(dump(_shuffled(document, random.Random(seed))), encoding="utf-8")
    assert resolve(load_lab(file), catalogue()).to_json() == first

"""A recording is made once, and an answer of another shape is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform_tests.suite.recording import Recordings

ANSWER = {"name": "pi-1", "free": 3, "state": {"unit": {"ssh": "active"}, "file": {}}}


def test_an_answer_is_kept_and_one_with_other_values_agrees_with_it(tmp_path: Path) -> None:
    Recordings(tmp_path, record=True).hand_in("host", ANSWER)
    kept = Recordings(tmp_path, record=False)
    assert kept.replay("host") == ANSWER
    kept.hand_in("host", ANSWER | {"name": "pi-2", "free": 4.5, "state": {"unit": {}, "file": {"/etc/hosts": "644"}}})


@pytest.mark.parametrize(
    "changed", [{"free": "3"}, {"new": 1}, {"state": {"unit": {}}}, {"state": {"unit": [], "file": {}}}]
)
def test_an_answer_of_another_shape_is_told_with_the_remedy(tmp_path: Path, changed: dict[str, object]) -> None:
    Recordings(tmp_path, record=True).hand_in("host", ANSWER)
    with pytest.raises(AssertionError, match=r"host\.json: the real answer has .*Run the real test with --record"):
        Recordings(tmp_path, record=False).hand_in("host", ANSWER | changed)


def test_what_was_never_recorded_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"host\.json was never recorded"):
        Recordings(tmp_path, record=False).replay("host")

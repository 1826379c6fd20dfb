"""Answers of real hosts and servers, recorded once and replayed in milliseconds.

Belongs here: keeping and comparing them. Not here: what is asked (the real tests), what follows from an answer (the
computed tests beside them).

A real test hands in what it was answered, and `pytest --record` keeps that in `recorded/`. Without the option it must
still have the recording's shape: when a server begins to answer otherwise, the real test says so, and the computed
tests never stand on answers that nobody gives any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "recorded"
REMEDY = "Run the real test with --record, and look at what changed in homelab_platform_tests/recorded/."


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record` keeps what real hosts and servers answer."""
    parser.addoption("--record", action="store_true", help="record the answers of real hosts and servers anew")


@dataclass(frozen=True)
class Recordings:
    """The recordings in `folder`; with `record` they are made anew."""

    folder: Path
    record: bool

    def hand_in(self, name: str, answer: dict[str, Any]) -> None:
        """Keep an answer, or hold its shape against the one that was kept: its fields, and theirs, by type.

        Raises AssertionError when the shapes differ or nothing was kept.
        """
        file = self.folder / f"{name}.json"
        if self.record:
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
            return
        known, now = shape(self.replay(name)), shape(answer)
        assert now == known, f"{file.name}: the real answer has {now}, the recording {known}. {REMEDY}"

    def replay(self, name: str) -> dict[str, Any]:
        """A fresh copy of a recorded answer. Raises AssertionError when there is none."""
        file = self.folder / f"{name}.json"
        assert file.exists(), f"{file.name} was never recorded. {REMEDY}"
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def shape(answer: dict[str, Any]) -> dict[str, Any]:
    """Fields by type, those of an object one level deeper too; numbers are one type."""
    return {
        name: {inner: _kind(each) for inner, each in sorted(value.items())} if isinstance(value, dict) else _kind(value)
        for name, value in sorted(answer.items())
    }


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(type(value).__name__)
    return "number" if isinstance(value, (int, float)) else type(value).__name__


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Recordings:
    """The recorded answers of real hosts and servers."""
    return Recordings(FOLDER, bool(request.config.getoption("--record")))

"""A full site is killed in parts under load: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform_tests.servers.chaos import TARGETS, full_site, kill_and_judge

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="homelab-chaos-"))
    monkeypatch.setenv("HOMELAB_DATA", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(900)
def test_every_acknowledged_reading_is_there_once_after_a_kill_of_each_server(home: Path) -> None:
    with full_site(home, "chaos", say=print) as site:
        kills, verdicts = kill_and_judge(site, 1, 7, print)
    assert sorted(kill.server for kill in kills) == sorted(TARGETS)
    for verdict in verdicts:
        assert verdict.acknowledged > 0, verdict
        assert (verdict.lost, verdict.doubled) == (0, 0), verdict

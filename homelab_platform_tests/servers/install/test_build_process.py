"""A build goes on while it progresses, and is ended with all that it started once it stands still."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from homelab_platform.servers.install.build_process import BuildStalled, run_build

SOON = {"stalled_after": 0.4, "look_every": 0.1}


def run(folder: Path, script: str, **limits: float) -> tuple[int, str, str]:
    done = run_build(["sh", "-c", script], cwd=folder, env=os.environ, **limits)
    return done.returncode, done.stdout, done.stderr


def test_a_build_tells_how_it_ended(tmp_path: Path) -> None:
    assert run(tmp_path, "pwd; echo no such module >&2; exit 3") == (3, f"{tmp_path}\n", "no such module\n")


def test_a_build_that_works_goes_on_for_longer_than_one_may_stand_still(tmp_path: Path) -> None:
    busy = "sh -c 'while [ ! -e over ]; do :; done' & sleep 0.8; touch over; wait; echo built"
    began = time.monotonic()
    assert run(tmp_path, busy, **SOON) == (0, "built\n", "")
    assert time.monotonic() - began > SOON["stalled_after"]


def test_a_build_that_stands_still_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(BuildStalled, match="stood still for"):
        run(tmp_path, "sleep 600 & echo $! >child; wait", **SOON)
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

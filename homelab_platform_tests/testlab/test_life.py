"""Labs come and go without a trace, whatever ends the process that asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import processes
from homelab_platform_tests.testlab import lab, requirements, store, watches
from homelab_platform_tests.testlab.hosts import HostSpec, Place
from homelab_platform_tests.testlab.lab import TestLab
from homelab_platform_tests.testlab.traces import machine_settings, traces

pytestmark = [pytest.mark.slow, pytest.mark.testlab, pytest.mark.servers]

LITTLE = """
import sys, time
from homelab_platform_tests.testlab import lab
from homelab_platform_tests.testlab.hosts import HostSpec
running = lab.start(specs=(HostSpec("solo"),))
print(running.folder, flush=True)
time.sleep(600)
"""
WITH_CLUSTER = """
import time
from homelab_platform_tests.testlab import cluster, lab
from homelab_platform_tests.testlab.hosts import HostSpec
running = lab.start(specs=(HostSpec("one", "server"), HostSpec("two", "agent")))
cluster.start_cluster(running)
print(running.folder, flush=True)
time.sleep(600)
"""


@contextmanager
def another_process(program: str) -> Iterator[tuple[subprocess.Popen[str], Place]]:
    """A process of its own that starts a lab and waits; killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        place = store.load(Path(process.stdout.readline().strip()))
        yield process, place
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_labs_stand_side_by_side_and_the_end_of_one_leaves_the_other(test_hosts: TestLab) -> None:
    second = lab.start(specs=(HostSpec("pi-1"),))
    try:
        assert second.host("pi-1").address != test_hosts.host("pi-1").address
        names = {running.host("pi-1").ssh("cat /etc/machine-id").stdout for running in (second, test_hosts)}
        assert len(names) == 2
    finally:
        second.stop()
    assert traces(second.place) == []
    assert test_hosts.host("pi-2").answers()


def test_an_address_range_in_use_is_refused(test_hosts: TestLab) -> None:
    number = test_hosts.place.addresses.number
    with pytest.raises(HomelabError, match=rf"10\.{number}\.0\.0/16: is in use"):
        lab.start(specs=(HostSpec("solo"),), number=number)


def test_nothing_is_left_of_a_lab_whose_process_is_killed() -> None:
    with another_process(LITTLE) as (process, place):
        assert traces(place)
        process.kill()
        assert processes.wait_until(lambda: traces(place) == [], 15), traces(place)


@pytest.mark.slow
def test_what_a_killed_guardian_leaves_is_cleared_by_the_next_start() -> None:
    with another_process(LITTLE) as (process, place):
        guardian = store.guardian_of(place.folder)
        assert guardian is not None
        os.kill(guardian, signal.SIGKILL)
        process.kill()
        process.wait()
        assert processes.wait_until(lambda: not any("process" in line for line in traces(place)), 15), traces(place)
    lab.start(specs=(HostSpec("solo"),)).stop()
    assert traces(place) == []


@pytest.mark.slow
def test_nothing_is_left_of_a_cluster_whose_process_is_killed() -> None:
    before = machine_settings()
    with another_process(WITH_CLUSTER) as (process, place):
        assert machine_settings() == before
        process.kill()
        assert processes.wait_until(lambda: traces(place) == [], 30), traces(place)
    assert machine_settings() == before


def test_the_one_setting_that_labs_raise_is_given_back_with_the_last_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = tmp_path / "max_user_instances"
    setting.write_text("128\n")
    monkeypatch.setattr(watches, "SETTING", setting)
    monkeypatch.setattr(store, "home", lambda: tmp_path)
    labs: list[object] = []
    monkeypatch.setattr(store, "all_labs", lambda: labs)
    watches.raise_limit()
    watches.raise_limit()
    assert int(setting.read_text()) == watches.ENOUGH
    labs.append("one that still runs")
    watches.give_back()
    assert int(setting.read_text()) == watches.ENOUGH
    labs.clear()
    watches.give_back()
    watches.give_back()
    assert setting.read_text().strip() == "128"


def test_without_root_it_is_said_why_there_is_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in (requirements.why_not() or "")
    with pytest.raises(HomelabError, match="needs root"):
        lab.start()

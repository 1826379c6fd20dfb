"""A full site with every engine: what it listens on, a burst, a full disk, and kill -9 of each server under load.

One test, because a full site takes a minute to start; each part has a function of its own. Whatever happens, nothing
that a sender was told is stored may be lost, and nothing may be there twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import Site, status
from homelab_platform.servers.supervise import launch, processes
from homelab_platform_tests.servers.chaos import (
    TARGETS,
    Poster,
    Verdict,
    entrance,
    full_site,
    judge,
    kill_and_judge,
    trino_says,
    works,
)

pytestmark = [pytest.mark.servers, pytest.mark.slow]

LIMIT = 3500 << 20
"""Bytes that all processes of a full site may hold: two heaps of 1 GiB and everything beside them."""
DISK = 900 << 20
"""Bytes of the disk for objects; SeaweedFS writes no more once less than 256 MiB of it are free."""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder whose objects lie on a small disk of their own, where this user may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="homelab-chaos-"))
    monkeypatch.setenv("HOMELAB_DATA", str(folder))
    disk = folder / "chaos" / "objects"
    disk.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "homelab-test", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)
    shutil.rmtree(folder)


@pytest.mark.timeout(900)
def test_a_full_site_keeps_what_it_acknowledged_through_a_burst_a_full_disk_and_kills(home: Path) -> None:
    with full_site(home, "chaos", say=print) as site:
        it_listens_on_this_machine_only_and_keeps_its_memory_limit(site)
        a_burst_is_taken_or_refused_and_what_was_taken_is_there(site)
        if (site.root / "objects").is_mount():
            a_full_disk_is_told_to_the_sender_and_forgotten_once_there_is_room(site)
        kills, verdicts = kill_and_judge(site, dict.fromkeys(TARGETS, 1), 7, print)
        assert sorted(kill.server for kill in kills) == sorted(TARGETS)
        for verdict in verdicts:
            nothing_is_lost_or_doubled(verdict)
        assert trino_says(site, "SELECT count(*) > 0 FROM hive.default.sensor_data") == [(True,)]


def nothing_is_lost_or_doubled(verdict: Verdict) -> None:
    assert verdict.acknowledged > 0, verdict
    assert (verdict.lost, verdict.doubled) == (0, 0), verdict


def it_listens_on_this_machine_only_and_keeps_its_memory_limit(site: Site) -> None:
    state = launch.live_state(Layout(site.root).run)
    assert state is not None
    tops = [psutil.Process(child.pid) for child in state.children.values()]
    pids = {process.pid for top in tops for process in (top, *top.children(recursive=True))}
    listening = {
        found.laddr.ip.removeprefix("::ffff:")
        for found in psutil.net_connections("inet")
        if found.laddr and found.status == psutil.CONN_LISTEN and found.pid in pids
    }
    assert listening <= {"127.0.0.1", "::1"}
    looked = status(site.root)
    assert {"trino", "nifi", "mqtt", "bridge"} <= {server.name for server in looked.servers}
    assert looked.memory < LIMIT


def a_burst_is_taken_or_refused_and_what_was_taken_is_there(site: Site) -> None:
    """Ten senders at once, each ten times as much as usual, without a pause; what is refused comes again."""
    senders = [Poster(f"burst-{n}", lambda: entrance(site, "posted"), batch=500, pause=0.01) for n in range(10)]
    for sender in senders:
        sender.start()
    time.sleep(5)
    for sender in senders:
        sender.finish()
        refusals = {answer for answer in sender.answers if answer.isdigit() and not answer.startswith("2")}
        assert refusals <= {"503", "429"}, sender.answers
    for verdict in judge(site, senders, patience=60):
        nothing_is_lost_or_doubled(verdict)


def a_full_disk_is_told_to_the_sender_and_forgotten_once_there_is_room(site: Site) -> None:
    disk = site.root / "objects"
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - (16 << 20))
    sender = Poster("full", lambda: entrance(site, "posted"), batch=10, pause=0.5)
    try:
        assert processes.wait_until(lambda: not works(site, "objects"), 90, 1), "a full disk takes objects"
        sender.start()
        assert processes.wait_until(lambda: sender.answers["503"] > 0, 60, 0.5), sender.answers
        told = len(sender.acknowledged)
    finally:
        filler.unlink()
    assert processes.wait_until(lambda: len(sender.acknowledged) > told, 120, 0.5), sender.answers
    sender.finish()
    [verdict] = judge(site, [sender], patience=60)
    nothing_is_lost_or_doubled(verdict)

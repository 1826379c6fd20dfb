"""Deploys to real hosts: what is changed is confirmed or undone, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import Observation
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.deploy import Locked, RolledBack
from homelab_platform.names import silent
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform_tests.layers.hosts.support import access_to, by_script, files_of, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

NOTHING = Observation(False)


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("d-1"), HostSpec("d-2")))
    yield running
    running.leave()


def test_a_change_that_shuts_out_new_connections_is_undone_by_the_host_itself(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("d-1"), lab_file(hosts, tmp_path)
    before = files_of(host)
    shut = (
        "echo harm >/etc/harm; sed -i s/x/y/ /etc/hosts; nft add table inet homelab;"
        " nft add chain inet homelab input '{ type filter hook input priority 0; policy drop; }';"
        " nft add rule inet homelab input ct state established accept"
    )
    adapter = by_script(lab, access_to(hosts, tmp_path, within=8, connect_timeout=3), shut)
    with pytest.raises(RolledBack) as failed:
        adapter.change(state_of(lab, "d-1"), NOTHING, silent)
    assert "does not answer after the change" in str(failed.value)
    assert "host/d-1" in str(failed.value)
    assert "removed /etc/harm" in str(failed.value), "the log is shown"
    assert files_of(host) == before
    assert not adapter.probe(state_of(lab, "d-1")).exists, "no false success"


def test_with_every_connection_cut_the_host_comes_back_by_itself(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("d-1"), lab_file(hosts, tmp_path)
    before = files_of(host)
    shut = (
        "nft add table inet homelab; nft add chain inet homelab input"
        " '{ type filter hook input priority 0; policy drop; }'; useradd mallory"
    )
    adapter = by_script(lab, access_to(hosts, tmp_path, within=6, connect_timeout=2, alive_every=1), shut)
    with pytest.raises(RolledBack, match="was rolled back"):
        adapter.change(state_of(lab, "d-1"), NOTHING, silent)
    assert files_of(host) == before


def test_a_change_that_breaks_a_unit_is_undone_with_packages_accounts_and_units(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("d-1"), lab_file(hosts, tmp_path)
    before = files_of(host)
    harm = (
        "apt-get -qq -y install rsync mosquitto >/dev/null 2>&1; useradd -m eve; hostname other; rm /etc/timezone;"
        " mkdir -p /etc/systemd/system/cron.service.d;"
        " printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\nRestart=no\\n'"
        " >/etc/systemd/system/cron.service.d/x.conf; systemctl daemon-reload; systemctl restart cron; sleep 1"
    )
    adapter = by_script(lab, access_to(hosts, tmp_path), harm)
    with pytest.raises(RolledBack, match=r"unit cron\.service failed"):
        adapter.change(state_of(lab, "d-1"), NOTHING, silent)
    assert files_of(host) == before
    assert host.ssh("systemctl is-active cron").stdout.strip() == "active"


def test_a_restart_in_the_middle_of_a_deploy_leads_back(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("d-2"), lab_file(hosts, tmp_path)
    before = files_of(host)
    adapter = by_script(lab, access_to(hosts, tmp_path, within=60), "echo harm >/etc/harm; sync; systemctl reboot")
    with pytest.raises(HomelabError):
        adapter.change(state_of(lab, "d-2"), NOTHING, silent)
    host.wait()
    for _ in range(100):
        if not host.ssh("ls -d /var/lib/homelab/deploy/lock", check=False).stdout:
            break
        time.sleep(0.2)
    assert files_of(host) == before
    assert "restarted in the middle" in host.ssh("cat /var/lib/homelab/deploy/last").stdout


def test_a_second_controller_is_refused_with_who_where_and_since_when(hosts: TestLab, tmp_path: Path) -> None:
    lab = lab_file(hosts, tmp_path)
    state = state_of(lab, "d-1")
    first = by_script(lab, access_to(hosts, tmp_path), "sleep 5; false")
    second = by_script(lab, access_to(hosts, tmp_path), "touch /etc/second")
    outcome: list[HomelabError] = []

    def deploy() -> None:
        try:
            first.change(state, NOTHING, silent)
        except HomelabError as error:
            outcome.append(error)

    thread = threading.Thread(target=deploy)
    thread.start()
    try:
        for _ in range(50):
            if "who" in second._debian.look(Ssh(second.access.target(lab, lab.hosts["d-1"]), second.access.ssh)).deploy:
                break
            time.sleep(0.1)
        with pytest.raises(Locked, match=r"deploys to it since 20\d\d-.*process \d+"):
            second.change(state, NOTHING, silent)
    finally:
        thread.join()
    assert isinstance(outcome[0], RolledBack), "the first went on undisturbed"
    assert hosts.host("d-1").ssh("ls /etc/second", check=False).returncode != 0


KILLED = """
import sys
from pathlib import Path
from homelab_platform.apply.adapter import Observation
from homelab_platform_tests.layers.hosts import support
from homelab_platform_tests.testlab import store
from homelab_platform_tests.testlab.lab import TestLab
running = TestLab(store.load(Path(sys.argv[1])))
folder = Path(sys.argv[2])
lab = support.lab_file(running, folder)
access = support.access_to(running, folder, within=6)
by_script = support.by_script(lab, access, "echo harm >/etc/harm; sleep 60")
by_script.change(support.state_of(lab, "d-2"), Observation(False), print)
"""


@pytest.mark.parametrize("patience", [0.0, 14.0], ids=["the next one comes at once", "nobody comes"])
def test_a_killed_controller_leaves_the_host_as_it_was(hosts: TestLab, tmp_path: Path, patience: float) -> None:
    host = hosts.host("d-2")
    before = files_of(host)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(hosts.folder), str(tmp_path / "a")], env={**os.environ, "PYTHONPATH": "."}
    )
    for _ in range(200):
        if host.ssh("cat /etc/harm", check=False).stdout:
            break
        time.sleep(0.1)
    child.kill()
    child.wait()
    assert host.ssh("cat /etc/harm").stdout == "harm\n", "it was in the middle of it"
    if patience:
        deadline = time.monotonic() + patience
        while host.ssh("ls /etc/harm", check=False).returncode == 0 and time.monotonic() < deadline:
            time.sleep(0.5)
    else:
        lab = lab_file(hosts, tmp_path)
        with pytest.raises(RolledBack, match="the script said no"):
            by_script(lab, access_to(hosts, tmp_path), "ls /etc/harm && exit 0; exit 1").change(
                state_of(lab, "d-2"), NOTHING, silent
            )
    assert files_of(host) == before
    assert host.ssh("pgrep -f 'sleep 60'", check=False).stdout == "", "what the deploy still ran is ended"


def test_an_unreachable_host_is_said_to_be_so_and_costs_the_others_nothing(hosts: TestLab, tmp_path: Path) -> None:
    lab = lab_file(hosts, tmp_path)
    access = access_to(hosts, tmp_path, connect_timeout=2)
    adapter = HostAdapter(lab, access)
    hosts.host("d-2").link(up=False)
    try:
        started = time.monotonic()
        found = adapter.probe_all([state_of(lab, "d-1"), state_of(lab, "d-2")])
        took = time.monotonic() - started
    finally:
        hosts.host("d-2").link(up=True)
    away = found["host/d-2"]
    assert isinstance(found["host/d-1"], Observation)
    assert isinstance(away, Unreachable)
    assert "skipped, and asked again later" in str(away)
    assert took < 5


def test_a_full_disk_is_said_before_anything_is_changed(hosts: TestLab, tmp_path: Path) -> None:
    from homelab_platform.tools.ssh.errors import DiskFull

    host, lab = hosts.host("d-2"), lab_file(hosts, tmp_path)
    host.fill_disk(leave=4096)
    try:
        with pytest.raises(DiskFull, match=r"host/d-2.*disk is full"):
            by_script(lab, access_to(hosts, tmp_path), "echo harm >/root/harm").change(
                state_of(lab, "d-2"), NOTHING, silent
            )
        assert host.ssh("ls /root/harm", check=False).returncode != 0
    finally:
        host.empty_disk()


def test_a_host_that_leaves_the_lab_is_let_go_and_keeps_what_runs_there(hosts: TestLab, tmp_path: Path) -> None:
    lab, access = lab_file(hosts, tmp_path), access_to(hosts, tmp_path)
    desired, adapter = state_of(lab, "d-2"), by_script(lab, access, "touch /etc/ours")
    adapter.change(desired, NOTHING, silent)
    assert adapter.probe(desired).matches(desired)
    without = HostAdapter(lab.model_copy(update={"hosts": {"d-1": lab.hosts["d-1"]}}), access)
    without.remove(desired.key, desired.document, silent)
    assert not without.probe(desired).exists
    assert hosts.host("d-2").ssh("ls /etc/ours").stdout == "/etc/ours\n"

"""Patching a real Debian host: apt from an archive on its own disk, a real restart, and kill -9 in the middle.

The host installs packages that this test makes: one that asks for a restart, and one that carries Kubernetes and must
stay where it is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from homelab_platform.apply.state_store import StateStore
from homelab_platform.errors import HomelabError
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.patches.facts import HostFacts, Update
from homelab_platform.operations import patch
from homelab_platform.operations.patch import patch_host
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site.site import Site
from homelab_platform.servers.supervise.processes import wait_until
from homelab_platform.sites.lab import SteeredLayers
from homelab_platform.sites.patching import fleet_of_site
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.layers.hosts.support import access_to, lab_file
from homelab_platform_tests.operations.fleet import own_journal
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

PACKAGE = """
make() { # name version postinst
  mkdir -p /tmp/$1/DEBIAN && printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: A <a@example.org>\\n' \
    $1 $2 >/tmp/$1/DEBIAN/control
  echo 'Description: for a test' >>/tmp/$1/DEBIAN/control
  printf '#!/bin/sh\\n%s\\n' "$3" >/tmp/$1/DEBIAN/postinst && chmod 755 /tmp/$1/DEBIAN/postinst
  dpkg-deb --build /tmp/$1 /var/lib/packages/$1_$2.deb >/dev/null && rm -r /tmp/$1
}
index() { cd /var/lib/packages && apt-ftparchive packages . >Packages.new && mv Packages.new Packages; }
"""
ASKS_FOR_A_RESTART = "sleep 4; touch /run/reboot-required; echo homelab-dummy >>/run/reboot-required.pkgs"


@pytest.fixture(scope="module")
def host() -> Iterator[TestHost]:
    running: TestLab = testlab.start(specs=(HostSpec("u-1"),))
    yield running.host("u-1")
    running.leave()


@pytest.fixture
def fleet(host: TestHost, tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> Iterator[Fleet]:
    """The fleet as a site of kind lab has it, of a lab with this host alone."""
    lab = lab_file(
        TestLab(host.place),
        tmp_path / "lab",
        hosts={"u-1": {"board": "pi5-8gb", "os": "raspios", "address": host.address}},
        cluster=None,
        workloads={},
        streams={},
        patching={"window": "daily 03:00-05:00", "settle": "1s", "backup_first": False},
    )
    adapter = HostAdapter(lab, access_to(TestLab(host.place), tmp_path))
    steered = SteeredLayers({}, lambda: adapter, Mock(side_effect=AssertionError("it has no cluster")))
    lakehouse = Mock(postgres=postgres_endpoint)
    site = Site(tmp_path, lab.name, tmp_path / "lab" / "lab.yaml", lakehouse, "", tmp_path, SiteKind.LAB)
    with own_journal(postgres_endpoint) as journal:
        made = fleet_of_site(lab, site, steered, StateStore(postgres_endpoint))
        yield replace(made, journal=journal)


def look(fleet: Fleet, *, refresh: bool = False) -> HostFacts:
    with fleet.machine("u-1") as machine:
        return machine.look(refresh=refresh)


def offer(host: TestHost, *packages: tuple[str, str, str]) -> None:
    """Put packages (name, version, what they do when installed) into the archive that the host's apt knows."""
    made = "\n".join(f"make {name} {version} '{script}'" for name, version, script in packages)
    host.ssh(f"{PACKAGE}\n{made}\nindex", timeout=120)


@pytest.mark.timeout(900)
def test_a_host_is_patched_restarted_and_gone_on_with_after_kill_9(host: TestHost, fleet: Fleet) -> None:
    offer(host, ("homelab-dummy", "1.0", ":"), ("containerd", "1.0", ":"))
    host.ssh("apt-get -q update && apt-get -y -q install homelab-dummy containerd", timeout=120)
    assert look(fleet, refresh=True).updates == ()
    offer(host, ("homelab-dummy", "1.1", ASKS_FOR_A_RESTART), ("containerd", "1.1", ":"))

    before = look(fleet, refresh=True)
    assert [str(update) for update in before.updates] == ["homelab-dummy 1.0 → 1.1"]
    assert before.held == ("containerd",), "what carries Kubernetes stays where it is"
    assert before.reboot == ()

    with pytest.raises(HomelabError, match=r"more would change than was listed: homelab-dummy=1\.1"):
        install_listed(fleet, "another-run", [Update(name="homelab-dummy", after="1.0.9")])
    assert "1.0" in host.ssh("dpkg-query --show homelab-dummy").stdout

    _dies_while_apt_works(host, fleet)
    (left,) = fleet.journal.unfinished(patch.KIND, "host/u-1")
    said: list[str] = []
    done = patch_host(fleet, fleet.plan.turn("u-1"), said.append)
    assert done.run == left.run
    assert (done.updates, done.rebooted) == (1, True)
    assert [r.attempts for r in fleet.journal.load(done.run).records if r.name == patch.INSTALL] == [2]

    after = look(fleet)
    assert after.boot != before.boot
    assert not after.updates
    assert not after.reboot
    assert after.patched is not None
    assert (after.patched.run, after.patched.updates, after.patched.rebooted) == (done.run, 1, True)
    log = host.ssh("cat /var/log/dpkg.log").stdout
    assert log.count("upgrade homelab-dummy") == 1, "apt ran once, although its run was begun twice"
    assert "1.0" in host.ssh("dpkg-query --show containerd").stdout

    began = time.monotonic()
    again = patch_host(fleet, fleet.plan.turn("u-1"), said.append)
    assert (again.updates, again.rebooted) == (0, False)
    assert look(fleet).boot == after.boot
    assert time.monotonic() - began < 60


def install_listed(fleet: Fleet, run: str, updates: list[Update]) -> None:
    with fleet.machine("u-1") as machine:
        machine.install(run, updates, lambda _line: None)


def _dies_while_apt_works(host: TestHost, fleet: Fleet) -> None:
    """Patch the host in a process that is killed once apt works there."""
    child = os.fork()
    if child == 0:
        try:
            patch_host(fleet, fleet.plan.turn("u-1"), lambda _line: None)
        finally:
            os._exit(0)
    working = "systemctl is-active --quiet homelab-patching.service"
    try:
        assert wait_until(lambda: host.ssh(working, check=False).returncode == 0, 60, 0.2), "apt never began"
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.timeout(300)
def test_a_host_that_might_not_come_up_is_updated_and_not_restarted(host: TestHost, fleet: Fleet) -> None:
    line = host.ssh("cat /boot/firmware/cmdline.txt").stdout
    offer(host, ("homelab-dummy", "1.2", ASKS_FOR_A_RESTART))
    boot = look(fleet).boot
    host.ssh("cat >/boot/firmware/cmdline.txt", text="console=tty1 rootwait\nroot=/dev/sda1\n")
    try:
        with pytest.raises(HomelabError, match=r"might not come up: .*cmdline\.txt has 2 lines; .*names no root="):
            patch_host(fleet, fleet.plan.turn("u-1"), lambda _line: None)
        assert look(fleet).boot == boot
        newest = fleet.journal.newest(patch.KIND, "host/u-1")
        assert newest is not None
        assert newest.state == "failed"
    finally:
        host.ssh("cat >/boot/firmware/cmdline.txt", text=line)
    done = patch_host(fleet, fleet.plan.turn("u-1"), lambda _line: None)
    assert (done.updates, done.rebooted) == (0, True), "the restart that it still needs is made up for"
    assert look(fleet).boot != boot


def test_an_archive_that_does_not_answer_is_named_and_nothing_is_changed(host: TestHost, fleet: Fleet) -> None:
    host.ssh("echo 'deb [trusted=yes] file:/nowhere ./' >/etc/apt/sources.list.d/gone.list")
    try:
        with pytest.raises(HomelabError, match=r"its package archives do not answer: .*/nowhere"):
            patch_host(fleet, fleet.plan.turn("u-1"), lambda _line: None)
    finally:
        host.ssh("rm /etc/apt/sources.list.d/gone.list")

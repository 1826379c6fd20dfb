"""Deploys to a host that cannot be deployed to, or not to the end: said with the way out, and nothing is half done."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import Observation
from homelab_platform.errors import HomelabError
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.deploy import RolledBack
from homelab_platform.names import silent
from homelab_platform.servers.supervise.processes import wait_until
from homelab_platform.tools.ssh import errors as ssh_errors
from homelab_platform_tests.layers.hosts.support import access_to, by_script, files_of, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

NOTHING = Observation(False)
WITHIN = 6
"""Seconds after which a host undoes what nobody confirmed."""
CHANGE = "mkdir -p /etc/ours; for n in 1 2 3 4 5 6; do echo $n >/etc/ours/$n; sleep 0.3; done"


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("t-1"),))
    yield running
    running.leave()


def settled(host: TestHost) -> bool:
    """Whether no deploy is under way there."""
    done = host.ssh("ls -d /var/lib/homelab/deploy/lock", check=False)
    return done.returncode != 255 and not done.stdout


def undo_by_hand(host: TestHost) -> None:
    """The host as it was before the first deploy."""
    host.ssh("rm -rf /etc/ours /var/lib/homelab/applied.json")


def test_another_host_key_is_never_let_by_and_nothing_is_changed(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("t-1"), lab_file(hosts, tmp_path)
    known = tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    known.write_text(f"t-1 {(tmp_path / 'other.pub').read_text()}")
    adapter = by_script(lab, access_to(hosts, tmp_path, known_hosts=known), "touch /etc/harm")
    for action in (adapter.probe, lambda state: adapter.change(state, NOTHING, silent)):
        with pytest.raises(ssh_errors.WrongHostKey, match=r"host/t-1[\s\S]*ssh-keygen -R t-1") as refused:
            action(state_of(lab, "t-1"))
        assert str(known) in str(refused.value)
    assert host.ssh("ls /etc/harm", check=False).returncode != 0


def test_sudo_that_asks_for_a_password_is_named_and_nothing_is_changed(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("t-1"), lab_file(hosts, tmp_path)
    before = files_of(host)
    host.ask_sudo_password("open sesame")
    try:
        adapter = by_script(lab, access_to(hosts, tmp_path, user=host.user), "touch /etc/harm")
        with pytest.raises(ssh_errors.SudoNeedsPassword, match=r"host/t-1[\s\S]*sudo asks pi[\s\S]*NOPASSWD"):
            adapter.change(state_of(lab, "t-1"), NOTHING, silent)
    finally:
        host.ask_sudo_password(None)
    host.ssh("cp -p /etc/shadow- /etc/shadow")
    assert [line for line in files_of(host).splitlines() if "shadow" not in line] == [
        line for line in before.splitlines() if "shadow" not in line
    ]


def test_a_disk_that_fills_up_in_the_middle_undoes_the_change_and_says_so(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("t-1"), lab_file(hosts, tmp_path)
    before = files_of(host)
    fill = "touch /etc/harm; cat /dev/zero >/var/tmp/big; echo more >/etc/harm || exit 1"
    try:
        with pytest.raises(RolledBack, match=r"host/t-1[\s\S]*No space left on device") as failed:
            by_script(lab, access_to(hosts, tmp_path, within=WITHIN), fill).change(
                state_of(lab, "t-1"), NOTHING, silent
            )
    finally:
        host.ssh("rm -f /var/tmp/big")
    assert "was rolled back: " in str(failed.value)
    assert "Make room there" in str(failed.value)
    assert files_of(host) == before


def test_a_cable_pulled_in_the_middle_ends_in_the_old_state_and_the_next_deploy_goes_through(
    hosts: TestLab, tmp_path: Path
) -> None:
    host, lab = hosts.host("t-1"), lab_file(hosts, tmp_path)
    before, state = files_of(host), state_of(lab, "t-1")
    access = access_to(hosts, tmp_path, within=WITHIN, connect_timeout=2, alive_every=1)
    pulled = threading.Timer(1.5, lambda: host.link(up=False))
    back = threading.Timer(1.5 + 3 * WITHIN, lambda: host.link(up=True))

    def begun(text: str) -> None:
        if text.startswith("saved"):
            pulled.start()
            back.start()

    try:
        with pytest.raises(RolledBack, match=r"host/t-1.*was rolled back: it .*after the change"):
            by_script(lab, access, f"{CHANGE}; sleep 5").change(state, NOTHING, begun)
    finally:
        for timer in (pulled, back):
            timer.join()
    assert files_of(host) == before
    assert by_script(lab, access, CHANGE).probe(state).exists is False, "no false success"


def test_a_cable_pulled_before_anything_began_leaves_nothing_behind(hosts: TestLab, tmp_path: Path) -> None:
    host, lab = hosts.host("t-1"), lab_file(hosts, tmp_path)
    host.link(up=False)
    try:
        adapter = HostAdapter(lab, access_to(hosts, tmp_path, connect_timeout=2))
        with pytest.raises(ssh_errors.NoAnswer, match=r"host/t-1.*does not answer[\s\S]*asked again later"):
            adapter.change(state_of(lab, "t-1"), NOTHING, silent)
    finally:
        host.link(up=True)
    assert settled(host)


CONTROLLER = f"""
import sys
from pathlib import Path
from homelab_platform.apply.adapter import Observation
from homelab_platform_tests.layers.hosts import support
from homelab_platform_tests.testlab import store
from homelab_platform_tests.testlab.lab import TestLab
running = TestLab(store.load(Path(sys.argv[1])))
folder = Path(sys.argv[2])
lab = support.lab_file(running, folder)
access = support.access_to(running, folder, within={WITHIN})
print("begins", flush=True)
support.by_script(lab, access, {CHANGE!r}).change(support.state_of(lab, "t-1"), Observation(False), lambda text: None)
print("confirmed", flush=True)
"""


@pytest.mark.timeout(400)
def test_a_controller_killed_at_any_moment_leaves_a_host_that_is_as_it_was_or_confirmed(
    hosts: TestLab, tmp_path: Path
) -> None:
    """Six moments between the first word and the last; the deploy after each finds its way through."""
    host, lab, dice = hosts.host("t-1"), lab_file(hosts, tmp_path), random.Random(7)
    state = state_of(lab, "t-1")
    adapter = by_script(lab, access_to(hosts, tmp_path, within=WITHIN), CHANGE)
    before = files_of(host)
    began = time.monotonic()
    adapter.change(state, NOTHING, silent)
    whole = time.monotonic() - began
    undo_by_hand(host)
    outcomes = []
    for number, share in enumerate([0.0, 0.2, 0.5, 0.7, 0.9, 1.0]):
        child = subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, str(hosts.folder), str(tmp_path / f"k{number}")],
            env={**os.environ, "PYTHONPATH": "."},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "begins\n"
        if share < 1:
            time.sleep(share * whole + dice.uniform(0, 0.3))
        else:
            assert child.stdout.readline() == "confirmed\n"
        child.kill()
        said = child.stdout.read()
        child.wait()
        child.stdout.close()
        assert wait_until(lambda: settled(host), 4 * WITHIN), "the host let go by itself"
        found = adapter.probe(state)
        if found.exists:
            assert found.matches(state)
            assert host.ssh("ls /etc/ours | wc -l").stdout.strip() == "6"
        else:
            assert said == "", "it had said that it was confirmed"
            assert files_of(host) == before
        outcomes.append(found.exists)
        adapter.change(state, found, silent)
        assert adapter.probe(state).matches(state), "the next one converges"
        undo_by_hand(host)
    assert set(outcomes) == {True, False}, "kills before and after the confirmation were among them"


def test_a_deploy_whose_host_was_never_met_says_how_to_compare_its_key(hosts: TestLab, tmp_path: Path) -> None:
    lab = lab_file(hosts, tmp_path)
    (tmp_path / "empty").touch()
    adapter = HostAdapter(lab, access_to(hosts, tmp_path, known_hosts=tmp_path / "empty"))
    with pytest.raises(HomelabError, match=r"host/t-1[\s\S]*not known yet[\s\S]*ssh-keyscan"):
        adapter.change(state_of(lab, "t-1"), NOTHING, silent)

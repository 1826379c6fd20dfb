"""Commands over SSH on a real host, and the words for everything that keeps them from running."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.tools.ssh import errors as ssh_errors
from homelab_platform.tools.ssh.client import Ssh, opened
from homelab_platform.tools.ssh.target import SshAccess, Target
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def one_host() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("s-1"),))
    yield running
    running.leave()


@pytest.fixture
def ssh(one_host: TestLab, tmp_path: Path) -> Iterator[Ssh]:
    host = one_host.host("s-1")
    access = SshAccess(host.known_hosts, host.key, connect_timeout=3, alive_every=1, sockets=tmp_path)
    with opened(Target("s-1", host.address, host.user), access) as connection:
        yield connection


def test_commands_share_one_connection_and_become_root(ssh: Ssh) -> None:
    assert ssh.run("id -u").text.strip() == "0"
    assert ssh.run("id -un", root=False).text.strip() == ssh.target.user
    assert ssh.run("cat", data=b"\x00\xff'\"$(id)").output == b"\x00\xff'\"$(id)"
    peers = {ssh.run("echo $SSH_CONNECTION", root=False).text for _ in range(3)}
    assert len(peers) == 1
    assert ssh.run("echo $SSH_CONNECTION", root=False, fresh=True).text not in peers


def test_a_command_that_fails_is_no_broken_connection(ssh: Ssh) -> None:
    with pytest.raises(ssh_errors.CommandFailed, match=r"host/s-1 .*counting failed with code 254"):
        ssh.run("exit 255", doing="counting")
    assert ssh.run("exit 3", may_fail=(3,)).code == 3


def test_a_wrong_host_key_is_never_let_by(ssh: Ssh, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    known = tmp_path / "known_hosts"
    known.write_text(f"s-1 {' '.join(other.with_suffix('.pub').read_text().split()[:2])}\n")
    wrong = Ssh(ssh.target, replace(ssh.access, known_hosts=known))
    with pytest.raises(ssh_errors.WrongHostKey, match=r"ssh-keygen -R s-1 -f .*known_hosts"):
        wrong.run("touch /root/let-in")
    with pytest.raises(ssh_errors.WrongHostKey):
        Ssh(ssh.target, replace(ssh.access, known_hosts=known, first_contact="accept")).run("touch /root/let-in")
    assert ssh.run("ls /root/let-in", may_fail=(2,)).code == 2


def test_a_host_that_was_never_met_is_refused_unless_first_contact_is_allowed(ssh: Ssh, tmp_path: Path) -> None:
    empty = replace(ssh.access, known_hosts=tmp_path / "empty", sockets=tmp_path / "e")
    with pytest.raises(ssh_errors.UnknownHostKey, match="ssh-keyscan"):
        Ssh(ssh.target, empty).run("true")
    with opened(ssh.target, replace(empty, first_contact="accept")) as met:
        met.run("true")
    assert empty.known_hosts.read_text().startswith("s-1 ssh-ed25519 "), "it stands by its name in the lab"


def test_who_is_not_let_in_is_told_which_key_was_shown(ssh: Ssh, tmp_path: Path) -> None:
    key = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with pytest.raises(ssh_errors.AuthFailed, match=f"does not let pi in with the key {key}"):
        Ssh(ssh.target, replace(ssh.access, key=key, sockets=tmp_path / "e")).run("true")


def test_sudo_that_asks_for_a_password_is_named_with_the_way_out(ssh: Ssh, one_host: TestLab) -> None:
    host = one_host.host("s-1")
    host.ask_sudo_password("open sesame")
    try:
        with pytest.raises(ssh_errors.SudoNeedsPassword, match=r"sudo asks pi for a password[\s\S]*NOPASSWD"):
            ssh.run("true")
    finally:
        host.ask_sudo_password(None)


def test_a_full_disk_is_named(ssh: Ssh, one_host: TestLab) -> None:
    host = one_host.host("s-1")
    host.fill_disk()
    try:
        with pytest.raises(ssh_errors.DiskFull, match=r"its disk is full \(writing\)"):
            ssh.run("head -c 1000000 /dev/zero >/root/more", doing="writing")
    finally:
        host.empty_disk()


def test_a_port_without_a_server_and_an_address_without_a_machine_are_told_apart(ssh: Ssh) -> None:
    with pytest.raises(ssh_errors.Refused, match="nothing listens for SSH"):
        Ssh(replace(ssh.target, port=2222), ssh.access).run("true")
    nobody = ssh.target.address.rsplit(".", 1)[0] + ".99"
    started = time.monotonic()
    with pytest.raises(ssh_errors.NoAnswer, match="does not answer"):
        Ssh(replace(ssh.target, address=nobody), ssh.access).run("true")
    assert time.monotonic() - started < 10
    with pytest.raises(ssh_errors.NoAnswer, match="leads nowhere"):
        Ssh(replace(ssh.target, address="no.such.host.invalid"), ssh.access).run("true")


def test_a_connection_that_breaks_is_said_to_have_an_unknown_outcome(ssh: Ssh, one_host: TestLab) -> None:
    host = one_host.host("s-1")
    caught: list[HomelabError] = []

    def wait() -> None:
        try:
            ssh.run("sleep 30", doing="waiting")
        except HomelabError as error:
            caught.append(error)

    ssh.run("true")
    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(1)
    host.link(up=False)
    try:
        thread.join(20)
    finally:
        host.link(up=True)
    assert isinstance(caught[0], Unreachable)
    assert "broke while waiting" in str(caught[0])
    assert ssh.run("echo again").text == "again\n"

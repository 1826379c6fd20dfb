"""The roles in ansible/ on a real host: it becomes what the lab says, stays so, and only what differs is touched."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.names import silent
from homelab_platform.servers.supervise import processes
from homelab_platform_tests.agents.bridge.lab_broker import SECRET, LabBroker
from homelab_platform_tests.layers.hosts.support import KEY, access_to, answer_of, lab_file, state_of
from homelab_platform_tests.suite.recording import Recordings
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("r-1"), HostSpec("r-2")))
    yield running
    running.leave()


@pytest.mark.timeout(600)
def test_a_fresh_host_becomes_what_the_lab_says_and_a_second_look_finds_nothing_to_do(
    hosts: TestLab, tmp_path: Path, recordings: Recordings
) -> None:
    """One host from its first deploy on; each step needs the one before. What it answers is recorded here."""
    host, lab = hosts.host("r-1"), lab_file(hosts, tmp_path, **_broker_outside(hosts))
    desired = state_of(lab, "r-1")
    access = replace(access_to(hosts, tmp_path, user=host.user, within=60), broker_secret=SECRET)
    adapter = HostAdapter(lab, access)
    found = adapter.probe(desired)
    assert not found.exists
    recordings.hand_in("host-fresh", answer_of(host))
    _has_seen_people_before(hosts)
    said: list[str] = []
    with _no_process_shows(access.broker_password(lab.hosts["r-1"])):
        adapter.change(desired, found, said.append)
    assert adapter.probe(desired).matches(desired), adapter.probe(desired)
    recordings.hand_in("host-confirmed", answer_of(host))
    _is_as_declared(hosts)
    _its_password_is_nowhere_else(hosts, access.broker_password(lab.hosts["r-1"]), tmp_path, said)

    said.clear()
    adapter.change(desired, found, said.append)
    assert "0 changed" in said, "the roles find nothing either"

    broker = LabBroker(lab, tmp_path / "broker", 1883, hosts.place.addresses.outside)
    broker.start()
    try:
        _its_readings_reach_the_broker(broker)
        broker.secret = "another"
        broker.tell(lab)
        broker.kill()
        broker.start()
        access = replace(access, broker_secret=broker.secret)
        _drift_is_seen(hosts, HostAdapter(lab, access))
        recordings.hand_in("host-drifted", answer_of(host))
        _one_apply_puts_the_drift_back_and_makes_an_edit(hosts, tmp_path, access)
        _its_readings_reach_the_broker(broker)
    finally:
        broker.kill()


def _has_seen_people_before(hosts: TestLab) -> None:
    """Home folders of people who left, a kernel's line that somebody edited on another system."""
    line = r'console=tty1 cgroup_disable=memory dyndbg="file a.c +p; file b.c +p" rootwait\r\n\n'
    hosts.host("r-1").ssh(
        f"mkdir /home/zoe /home/gone && chown 1234 /home/zoe && chown 4321 /home/gone && chmod 700 /home/gone &&"
        f" printf '{line}' >/boot/firmware/cmdline.txt"
    )


def _broker_outside(hosts: TestLab) -> dict[str, Any]:
    """A lab whose broker answers at this side's address in the hosts' network."""
    place = hosts.place.addresses
    network = {"lan": place.lan, "gateway": place.gateway, "load_balancers": f"{place.outside}-{place.outside}"}
    return {"network": network, "workloads": {"mosquitto": {"expose": {"address": place.outside}}, "metallb": None}}


@contextmanager
def _no_process_shows(secret: str) -> Iterator[None]:
    """While it lasts, no process of this machine or of a host has `secret` in its arguments."""
    over = threading.Event()
    shown: set[bytes] = set()

    def watch() -> None:
        while not over.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    text = file.read_bytes()
                    shown.update({text.replace(b"\0", b" ")[:200]} if secret.encode() in text else ())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert shown == set()


def _its_password_is_nowhere_else(hosts: TestLab, password: str, folder: Path, said: list[str]) -> None:
    """One file for root's eyes, and what systemd hands to the running service."""
    host = hosts.host("r-1")
    where = "grep -rlF --exclude-dir=proc --exclude-dir=sys -e $(cat) / 2>/dev/null"
    found = host.ssh(f"{where} | grep -v ^/run/credentials/", text=password, check=False).stdout.split()
    assert found == ["/etc/homelab/collector.password"]
    assert host.ssh("stat -c '%a %U' /etc/homelab/collector.password").stdout == "600 root\n"
    assert password not in host.ssh("journalctl --no-pager --all --output=cat").stdout
    assert password not in host.ssh("cat /var/lib/homelab/applied.json /etc/homelab/collector.json").stdout
    assert password not in "\n".join(said)
    assert subprocess.run(["grep", "-rlF", "-e", password, str(folder)], check=False).returncode == 1


def _its_readings_reach_the_broker(broker: LabBroker) -> None:
    got: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    user = broker.endpoint("bridge")
    client.username_pw_set(str(user.user), user.password)
    client.on_connect = lambda connected, *_: connected.subscribe("homelab/machines/+", qos=1)
    client.on_message = lambda _client, _data, message: got.append(bytes(message.payload))
    client.connect(user.host, user.port)
    client.loop_start()
    try:
        assert processes.wait_until(lambda: bool(got), 60), (broker.folder / "log").read_text()
    finally:
        client.disconnect()
        client.loop_stop()
    assert {json.loads(line)["device"] for line in got[0].splitlines()} == {"r-1"}


def _is_as_declared(hosts: TestLab) -> None:
    host = hosts.host("r-1")
    sshd = host.ssh("sshd -T").stdout
    assert "passwordauthentication no" in sshd
    assert host.ssh("cat /boot/firmware/cmdline.txt").stdout == (
        'console=tty1 dyndbg="file a.c +p; file b.c +p" rootwait cgroup_enable=memory cgroup_memory=1\n'
    )
    assert host.ssh("id -u ada").stdout == "4322\n", "nobody is given a number that owns somebody's home folder"
    assert host.ssh("hostname; readlink /etc/localtime").stdout.split() == ["r-1", "/usr/share/zoneinfo/Europe/London"]
    assert "homelab-people" in host.ssh("id ada").stdout
    assert host.ssh("sudo -n -u ada sudo -n id -u").stdout.strip() == "0", "admins become root"
    assert host.ssh("id ben", check=False).returncode != 0, "a dev has no login on a host that is not for tests"
    rules = host.ssh("nft list table inet homelab").stdout
    assert "policy drop" in rules and "tcp dport 6443 accept" in rules
    metrics = host.ssh(
        f"python3 -c \"import urllib.request as u; print(u.urlopen('http://{host.address}:9100/metrics').status)\""
    )
    assert metrics.stdout.strip() == "200"
    assert host.ssh("systemctl is-active homelab-collector homelab-firewall").stdout.split() == ["active", "active"]
    spooled = host.ssh("cat $(ls /var/lib/private/homelab-collector/*.ndjson | tail -1)").stdout.splitlines()
    assert {"cpu", "memory", "disk"} <= {json.loads(line)["sensor"] for line in spooled}, "they wait for the broker"


def _drift_is_seen(hosts: TestLab, adapter: HostAdapter) -> None:
    host, desired = hosts.host("r-1"), state_of(adapter.lab, "r-1")
    host.ssh(
        "echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/10-homelab.conf; nft delete table inet homelab;"
        " usermod -aG homelab-people games; systemctl stop homelab-collector;"
        " systemctl mask prometheus-node-exporter"
    )
    found = adapter.probe(desired)
    assert found.fingerprint == desired.fingerprint
    for beginning in (
        "was given another password for the broker than it has there now",
        "account games is not of the lab",
        "/etc/ssh/sshd_config.d/10-homelab.conf was changed at the host",
        "ssh for ada: not what was confirmed (lacks: passwordauthentication no",
        "the firewall is not loaded",
        "unit homelab-collector.service: active enabled → inactive enabled",
        "unit prometheus-node-exporter.service: active enabled, homelab.conf",
    ):
        assert any(line.startswith(beginning) for line in found.differences), (beginning, found.differences)
    assert len(found.differences) == 8, found.differences


def _one_apply_puts_the_drift_back_and_makes_an_edit(hosts: TestLab, tmp_path: Path, access: HostAccess) -> None:
    """The edit is a rule for one host and a person who leaves it; the other host's state stays the same."""
    host = hosts.host("r-1")
    before = lab_file(hosts, tmp_path, **_broker_outside(hosts))
    people = {"zoe": {"role": "admin", "ssh": KEY}}
    sections: dict[str, dict[str, object]] = {
        name: {"board": "pi5-8gb", "os": "raspios", "address": hosts.host(name).address} for name in ("r-1", "r-2")
    }
    sections["r-1"] |= {"k3s": "server", "firewall": {"web": {"allow": 8080, "from": "lan"}}, "users": ["zoe"]}
    sections["r-2"] |= {"k3s": "agent", "users": ["ada"]}
    people["ada"] = {"role": "admin", "ssh": KEY}
    after = lab_file(hosts, tmp_path / "after", hosts=sections, people=people, **_broker_outside(hosts))
    assert state_of(before, "r-2").fingerprint == state_of(after, "r-2").fingerprint
    adapter = HostAdapter(after, access)
    desired = state_of(after, "r-1")
    adapter.change(desired, adapter.probe(desired), silent)
    assert adapter.probe(desired).matches(desired)
    assert host.ssh("id -Gn games").stdout == "games\n", "an account that the lab never had is not the lab's to delete"
    assert "passwordauthentication no" in host.ssh("sshd -T").stdout
    assert "8080" in host.ssh("nft list table inet homelab").stdout
    assert host.ssh("id ada", check=False).returncode != 0, "who left has no account"
    assert host.ssh("id -u zoe").stdout == "1234\n", "who comes back owns what was theirs"
    assert host.ssh("ls /etc/ssh/authorized_keys.d").stdout.split() == ["zoe"]
    assert host.ssh("ls -d /home/ada").stdout == "/home/ada\n", "what was hers stays"

"""The roles in ansible/ on a real host: it becomes what the lab says, stays so, and only what differs is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.operations.adapters.hosts import HostAdapter
from homelab_platform_tests.operations.hosts_support import KEY, access_to, lab_file, state_of
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def hosts() -> Iterator[TestLab]:
    running = testlab.start(specs=(HostSpec("r-1"), HostSpec("r-2")))
    yield running
    running.leave()


@pytest.mark.timeout(1800)
def test_a_fresh_host_becomes_what_the_lab_says_and_a_second_look_finds_nothing_to_do(
    hosts: TestLab, tmp_path: Path
) -> None:
    """One host from its first deploy on; each step needs the one before."""
    host, lab = hosts.host("r-1"), lab_file(hosts, tmp_path)
    desired = state_of(lab, "r-1")
    adapter = HostAdapter(lab, access_to(hosts, tmp_path, user=host.user, within=60))
    found = adapter.probe(desired)
    assert not found.exists
    said: list[str] = []
    adapter.change(desired, found, said.append)
    assert adapter.probe(desired).matches(desired), adapter.probe(desired)
    _is_as_declared(hosts)

    said.clear()
    adapter.change(desired, found, said.append)
    assert "0 changed" in said, "the roles find nothing either"

    _drift_is_seen_and_put_back(hosts, adapter, lab_dir=tmp_path)
    _an_edit_touches_its_host_alone(hosts, tmp_path)


def _is_as_declared(hosts: TestLab) -> None:
    host = hosts.host("r-1")
    sshd = host.ssh("sshd -T").stdout
    assert "passwordauthentication no" in sshd
    assert (
        host.ssh("cat /boot/firmware/cmdline.txt")
        .stdout.splitlines()[-1]
        .endswith("cgroup_enable=memory cgroup_memory=1")
    )
    assert host.ssh("wc -l </boot/firmware/cmdline.txt").stdout.strip() == "1"
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


def _drift_is_seen_and_put_back(hosts: TestLab, adapter: HostAdapter, lab_dir: Path) -> None:
    host, desired = hosts.host("r-1"), state_of(adapter.lab, "r-1")
    host.ssh(
        "echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/10-homelab.conf; nft delete table inet homelab;"
        " usermod -aG homelab-people games; systemctl stop homelab-collector"
    )
    found = adapter.probe(desired)
    assert found.fingerprint == desired.fingerprint
    assert set(found.differences) == {
        "account games is not of the lab",
        "/etc/ssh/sshd_config.d/10-homelab.conf was changed at the host",
        "the firewall is not loaded",
        "unit homelab-collector.service: active enabled → inactive enabled",
    }
    host.ssh("gpasswd -d games homelab-people")
    adapter.change(desired, found, lambda _text: None)
    assert adapter.probe(desired).matches(desired)
    assert "passwordauthentication no" in host.ssh("sshd -T").stdout


def _an_edit_touches_its_host_alone(hosts: TestLab, tmp_path: Path) -> None:
    """A rule for one host and a person who leaves it."""
    host = hosts.host("r-1")
    before = lab_file(hosts, tmp_path)
    people = {"zoe": {"role": "admin", "ssh": KEY}}
    sections: dict[str, dict[str, object]] = {
        name: {"board": "pi5-8gb", "os": "raspios", "address": hosts.host(name).address} for name in ("r-1", "r-2")
    }
    sections["r-1"] |= {"k3s": "server", "firewall": {"web": {"allow": 8080, "from": "lan"}}, "users": ["zoe"]}
    sections["r-2"] |= {"k3s": "agent", "users": ["ada"]}
    after = lab_file(hosts, tmp_path / "after", hosts=sections, people={**people, "ada": {"role": "admin", "ssh": KEY}})
    assert state_of(before, "r-2").fingerprint == state_of(after, "r-2").fingerprint
    adapter = HostAdapter(after, access_to(hosts, tmp_path, user=host.user, within=60))
    desired = state_of(after, "r-1")
    adapter.change(desired, adapter.probe(desired), lambda _text: None)
    assert adapter.probe(desired).matches(desired)
    assert "8080" in host.ssh("nft list table inet homelab").stdout
    assert host.ssh("id ada", check=False).returncode != 0, "who left has no account"
    assert host.ssh("ls /etc/ssh/authorized_keys.d").stdout.split() == ["zoe"]
    assert host.ssh("ls -d /home/ada").stdout == "/home/ada\n", "what was hers stays"

"""Hosts of the lab: they are real, and what happens to them is what happens to real ones."""

from __future__ import annotations

import subprocess

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import processes
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.slow, pytest.mark.testlab, pytest.mark.servers, pytest.mark.usefixtures("lab_alone")]


def test_three_hosts_run_their_own_systemd_debian_and_let_us_in(test_hosts: TestLab) -> None:
    seen = set()
    for host in test_hosts.hosts:
        said = host.ssh(
            "hostname; . /etc/os-release; echo $ID; cat /etc/machine-id; systemctl is-system-running --wait"
        )
        name, system, machine, state = said.stdout.split()
        assert (name, system, state) == (host.name, "debian", "running")
        seen.add(machine)
        assert host.ssh("sudo -n id -u", user=host.user).stdout.strip() == "0"
    assert len(seen) == 3
    assert test_hosts.host("pi-1").ssh("cat /boot/firmware/cmdline.txt").stdout.count("\n") == 1


def test_a_host_whose_key_is_not_the_known_one_is_refused(test_hosts: TestLab) -> None:
    host, other = test_hosts.hosts[:2]
    command = [word.replace(f"@{host.address}", f"@{other.address}") for word in host.ssh_command()]
    wrong = ["-o", f"HostKeyAlias={host.name}", "true"]
    done = subprocess.run([*command[:-1], *wrong[:2], command[-1], "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_a_rebooted_host_comes_back_with_its_disk_and_its_units(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.ssh("echo kept >/root/kept; systemctl enable --quiet cron; touch /run/gone")
    host.reboot()
    assert host.ssh("cat /root/kept; ls /run/gone 2>/dev/null; systemctl is-active cron").stdout == "kept\nactive\n"


def test_a_host_without_power_is_gone_at_once_and_back_when_plugged_in(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.ssh("echo kept >/root/kept")
    host.unplug()
    assert not host.answers()
    assert test_hosts.host("pi-2").answers()
    with pytest.raises(HomelabError, match="pi-3"):
        host.root.exists()
    host.plug()
    assert host.ssh("cat /root/kept").stdout == "kept\n"


def test_a_host_without_its_cable_cannot_be_reached_but_runs_on(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    before = host.ssh("cat /proc/1/stat").stdout.split()[21]
    host.link(up=False)
    assert not host.answers()
    host.link(up=True)
    host.wait(10)
    assert host.ssh("cat /proc/1/stat").stdout.split()[21] == before


def test_a_full_disk_refuses_writing_until_it_is_emptied(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.fill_disk()
    refused = host.ssh("echo x >/root/more", check=False)
    assert refused.returncode != 0
    assert "No space left on device" in refused.stderr
    host.empty_disk()
    host.ssh("echo x >/root/more")


def test_sudo_asks_for_a_password_when_told_to(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.ask_sudo_password("not-a-secret")
    asked = host.ssh("sudo -n true", user=host.user, check=False)
    assert "a password is required" in asked.stderr
    host.ssh("sudo -S true", user=host.user, text="not-a-secret\n")
    host.ask_sudo_password(None)
    host.ssh("sudo -n true", user=host.user)


def test_a_package_is_installed_without_any_network(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.ssh("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install rsync", timeout=120)
    assert "rsync" in host.ssh("rsync --version").stdout


def test_hosts_have_firewalls_of_their_own(test_hosts: TestLab) -> None:
    host = test_hosts.host("pi-3")
    host.ssh(
        "nft -f -", text="table inet mine { chain input { type filter hook input priority 0; tcp dport 9 drop; }; }"
    )
    try:
        assert "table inet mine" in host.ssh("nft list tables").stdout
        assert "table inet mine" not in test_hosts.host("pi-2").ssh("nft list tables").stdout
    finally:
        host.ssh("nft delete table inet mine")


def test_nothing_of_the_outside_can_be_reached_from_a_host(test_hosts: TestLab) -> None:
    done = test_hosts.host("pi-3").ssh("ping -c 1 -W 1 198.51.100.1", check=False)
    assert done.returncode != 0
    assert processes.wait_until(test_hosts.host("pi-3").answers, 5)

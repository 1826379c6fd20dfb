"""What follows for a host: its hardware, what is left for pods, its services, its users, its firewall."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.lab.resolved import ResolvedHost
from homelab_platform_tests.lab.helpers import resolved

GI = 1024**3


def host(folder: Path, line: str, more: str = "") -> ResolvedHost:
    """The host `it` of a lab."""
    return resolved(folder, f"lab: x\ndomain: example.org\nhosts:\n  it: {line}\n{more}").hosts["it"]


@pytest.mark.parametrize(
    ("line", "gib"),
    [("{board: pi5-8gb, os: raspios, k3s: server}", 6.1), ("{board: pi5-8gb, os: raspios, k3s: agent}", 7.0),
     ("{board: pi4-4gb, os: raspios, k3s: agent}", 3.1), ("{board: pi5-8gb, os: raspios}", 0.0),
     ("{board: pi5-8gb, os: nixos, k3s: agent, services: {zfs: {arc: 2Gi}}}", 5.0)],
)  # fmt: skip
def test_the_system_k3s_and_services_leave_the_rest_for_pods(tmp_path: Path, line: str, gib: float) -> None:
    assert host(tmp_path, line).allocatable_memory / GI == pytest.approx(gib, abs=0.06)


@pytest.mark.parametrize(
    ("board", "arch"), [("pi1", "armv6"), ("pi2", "armv7"), ("pi3", "armv7"), ("pi4-4gb", "arm64")]
)
def test_a_board_says_the_architecture(tmp_path: Path, board: str, arch: str) -> None:
    assert host(tmp_path, f"{{board: {board}, os: raspios}}").arch == arch


def test_the_first_disk_boots_and_others_are_mounted(tmp_path: Path) -> None:
    disks = host(
        tmp_path, "{board: pi5-8gb, os: nixos, disks: {ssd: 500Gi, sd: 64Gi, hdd-a: {size: 4Ti, pool: tank}}}"
    ).disks
    assert (disks["sd"].mount, disks["sd"].kind, disks["sd"].size) == ("/", "sd", 64 * GI)
    assert disks["ssd"].mount == "/mnt/ssd"
    assert (disks["hdd-a"].mount, disks["hdd-a"].filesystem, disks["hdd-a"].kind) == (None, "zfs", "hdd")


def test_services_follow_from_storage_vpn_and_tooling(tmp_path: Path) -> None:
    found = host(
        tmp_path,
        "{board: x86, cpu: 8, memory: 32Gi, os: nixos, k3s: server}",
        """\
network: {vpn: {tailscale: {auth_key: env:TS}}}
storage: {longhorn: {}, nfs: {server: nas, path: /v, mode: host-mount}, zfs: {tank: {host: it, disks: [a, b]}}}
nix: {builders: it}
""",
    ).services
    assert set(found) == {"tailscale", "open-iscsi", "nfs-client", "zfs", "remote-builder"}
    assert found["zfs"]["arc"] == GI


def test_puppet_is_chosen_for_the_lab_or_for_one_host(tmp_path: Path) -> None:
    lab = resolved(
        tmp_path,
        """\
        lab: x
        hosts:
          a: {board: pi5-8gb, os: raspios}
          b: {board: pi5-8gb, os: raspios, configured_by: ansible}
          c: {board: pi5-8gb, os: nixos}
        tooling: {configuration: puppet, puppet: {server: a}}
        """,
    )
    assert {n: h.settings["configured_by"] for n, h in lab.hosts.items()} == {"a": "puppet", "b": "ansible", "c": "nix"}
    assert {"puppet-agent", "puppet-server"} <= set(lab.hosts["a"].services)


def test_people_log_in_by_role_by_name_and_by_kind(tmp_path: Path) -> None:
    lab = resolved(
        tmp_path,
        """\
        lab: x
        hosts:
          a: {board: pi5-8gb, os: raspios, dev: true}
          b: {board: pi5-8gb, os: raspios}
          c: {board: pi5-8gb, os: nixos, services: [remote-builder]}
          d: {board: pi5-8gb, os: raspios, users: [ben]}
          e: {board: nas, os: external}
        people:
          ada: {role: admin}
          ben: {role: dev}
          cy: {role: guest, hosts: b}
          robot: {role: admin, kind: deploy}
          builder: {role: guest, kind: build}
        """,
    )
    assert {name: host.users for name, host in lab.hosts.items()} == {
        "a": ("ada", "ben", "robot"),
        "b": ("ada", "cy", "robot"),
        "c": ("ada", "builder", "robot"),
        "d": ("ben",),
        "e": (),
    }


def test_the_firewall_opens_what_the_parts_need(tmp_path: Path) -> None:
    rules = {
        rule["name"]: rule
        for rule in host(
            tmp_path,
            "{board: x86, cpu: 4, memory: 8Gi, os: nixos, k3s: server, services: [samba],"
            " firewall: {own: {allow: 99}}}",
            "network: {firewall: {all: {deny: [22], from: internet}, other: {allow: 1, to: elsewhere}}}\n",
        ).firewall
    }
    assert rules["k3s-api"]["allow"] == ["tcp/6443"]
    assert rules["samba"]["allow"] == ["tcp/445", "tcp/139"]
    assert rules["ssh"]["from"] == ["lan", "vpn"]
    assert rules["own"]["allow"] == ["tcp/99"]
    assert rules["all"]["deny"] == ["tcp/22"]
    assert "other" not in rules
    assert "k3s-etcd" not in rules


def test_every_exporter_of_hosts_and_workloads_is_scraped(tmp_path: Path) -> None:
    lab = resolved(
        tmp_path,
        """\
        lab: x
        domain: example.org
        network: {lan: 192.168.0.0/24, vpn: {wireguard: {hub: a, cidr: 10.9.0.0/24}}}
        hosts:
          a: {board: pi5-8gb, os: nixos, address: 192.168.0.5, k3s: server, services: [zfs], exporters: {rpi: }}
          b: {board: cloud, cpu: 1, memory: 1Gi, os: nixos, site: rented, address: 203.0.113.7, vpn: 9}
          c: {board: pi3, os: raspios}
          router: {board: appliance, os: external, address: 192.168.0.1, exporters: {snmp: 9116}}
          tv: {board: appliance, os: external}
        workloads: {loki: }
        """,
    )
    found = {(t.job, t.instance): t.address for t in lab.scrape_targets}
    assert found["node", "a"] == "192.168.0.5:9100"
    assert found["zfs", "a"] == "192.168.0.5:9134"
    assert found["rpi", "a"] == "192.168.0.5:9110"
    assert found["node", "b"] == "10.9.0.9:9100"
    assert found["node", "c"] == f"{lab.hosts['c'].vpn_address}:9100"
    assert found["snmp", "router"] == "192.168.0.1:9116"
    assert found["loki", "loki"].endswith(".svc.cluster.local:3100")
    assert not [t for t in lab.scrape_targets if t.instance == "tv"]

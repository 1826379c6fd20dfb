"""All problems of a lab are told at once, in the order of the file, quickly, and without a traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from homelab_platform.lab.check import check_loaded
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform.lab.rules import ALL_RULES
from homelab_platform_tests.lab.rules.fixtures import catalogue, fixtures, name_of, place, problems

EVERYTHING_WRONG = """\
lab: home
domain: lab.home.local
network:
  lan: 192.168.0.0/24
  gateway: 192.168.0.1
  dhcp: 192.168.0.20-210
  load_balancers: 192.168.0.200-250
  dns: {cloudflare: {token: sops:secrets/dns.yaml#cloudflare, email: ada@example.org}}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: server}
  pi-2: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: server}
  pi-3: {board: pi3, os: raspios, address: 192.168.1.13, k3s: agent}
people:
  ada: {role: admin, ssh: keys/ada.pub}
workloads:
  metallb:
  homarr: {on: pi-9, values: {adminPassword: changeme}}
  seerr:
backups:
  to: {own: s3://lab@minio, here: ssh://backup@pi-1/srv}
  nightly: {keep: {daily: 0}}
patching: {window: daily 03:00-03:05}
"""
LINES = [2, 6, 8, 11, 11, 12, 12, 14, 17, 17, 18, 20, 21, 22]


def test_every_problem_is_told_once_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(EVERYTHING_WRONG, encoding="utf-8")
    found = problems(path)
    assert [place(problem)[1] for problem in found] == LINES, "\n".join(map(str, found))
    assert [place(problem) for problem in found] == sorted(place(problem) for problem in found)
    assert len(set(map(str, found))) == len(found)


def test_the_order_of_hosts_and_workloads_does_not_hide_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    lines = EVERYTHING_WRONG.splitlines()
    lines[9], lines[11] = lines[11], lines[9]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert len(problems(path)) == len(LINES)


@pytest.mark.parametrize("path", fixtures("rejected"), ids=name_of)
def test_no_rule_stumbles_over_a_lab_that_could_not_be_resolved(path: Path) -> None:
    from homelab_platform.errors import HomelabError

    try:
        loaded = load_lab(path)
    except HomelabError:
        return
    context = RuleContext(loaded, catalogue(), None)
    for rule in ALL_RULES:
        list(rule(context))


def big_lab(hosts: int, workloads: int) -> str:
    names = [n for n, e in catalogue().items() if e.kind == "helm" and not e.per_node and n not in ("grafana",)]
    rows = [
        "lab: big",
        "network: {lan: 10.20.0.0/16, gateway: 10.20.0.1, dhcp: 10.20.100.0/24, load_balancers: 10.20.200.0-255}",
        "hosts:",
    ]
    for k in range(hosts):
        role = "server" if k < 3 else "agent"
        disks = "{sd: 64Gi, ssd: {size: 1Ti, device: /dev/disk/by-id/x}}"
        mac = f"mac: 'd8:3a:dd:00:01:{k:02x}', disks: {disks}, services: [chrony]"
        rows.append(f"  h-{k:03}: {{board: pi5-8gb, os: raspios, address: 10.20.1.{k + 1}, k3s: {role}, {mac}}}")
    rows += ["workloads:", "  metallb:", *(f"  {n}:" for n in names[:workloads] if n != "metallb")]
    rows += ["backups: {to: {nas: ssh://b@nas/v}, nightly: {at: '02:30', keep: 7d}}"]
    return "\n".join(rows)


def test_all_rules_on_a_hundred_hosts_and_forty_workloads_take_less_than_50_ms(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(big_lab(100, 40), encoding="utf-8")
    loaded = load_lab(path)
    resolved = resolve(loaded, catalogue())
    taken = []
    for _ in range(5):
        context = RuleContext(loaded, catalogue(), resolved)
        start = time.process_time()
        for rule in ALL_RULES:
            list(rule(context))
        taken.append(time.process_time() - start)
    assert min(taken) < 0.05, f"{min(taken) * 1000:.0f} ms"


def test_a_lab_that_does_not_fit_is_refused_within_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    apps = "\n".join(f"  app-{k:02}: {{image: 'ghcr.io/ada/app:1.0', memory: {3000 + k}Mi}}" for k in range(40))
    text = big_lab(15, 0).replace("  metallb:", f"  metallb:\n{apps}")
    path.write_text(text, encoding="utf-8")
    start = time.process_time()
    found, _ = check_loaded(load_lab(path), catalogue())
    assert time.process_time() - start < 2
    assert [problem.rule for problem in found] == ["does-not-fit"]


MIXED = """\
lab: home
network:
  lan: 192.168.0.7/24
  gateway: 192.168.0.1
  dhcp: 192.168.0.20-210
  load_balancers: 192.168.0.200-250
hosts:
  pi-1: {bord: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: sever}
  pi-2: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: agent}
storge: local-path
workloads:
  metallb:
  kiwix: {size: 1Gb, expose: 192.168.0.100}
  seerr:
"""


def test_typing_errors_do_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(MIXED, encoding="utf-8")
    found = [(place(problem)[1], problem.rule) for problem in problems(path)]
    assert found == [
        (3, "value"),
        (5, "pool-overlaps-dhcp"),
        (8, "missing"),
        (8, "unknown-key"),
        (8, "value"),
        (9, "duplicate-address"),
        (10, "unknown-key"),
        (13, "value"),
        (13, "address-outside-pool"),
        (14, "missing-dependency"),
    ]


def test_nothing_is_made_up_of_a_host_that_is_left_out_of_the_guess(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(MIXED.replace("bord: pi5-8gb, ", "").replace("1Gb", "much"), encoding="utf-8")
    assert {problem.rule for problem in problems(path)} == {
        "value",
        "missing",
        "unknown-key",
        "pool-overlaps-dhcp",  # stands in the file, whatever the hosts are
    }


GATES = """\
lab: home
network:
  lan: 192.168.0.0/24
  gateway:192.168.0.1
  dhcp: 192.168.0.20-210
  load_balancers: 192.168.0.200-250
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: server}
  pi-2: {board: pi9, os: raspbian, address: 192.168.0.11, k3s: agent}
services:
  trino:
workloads:
  jupyterlab: {expose: true}
  web: {image: nginx:1.29, ports: ["8080:80"]}
  nosuch:
streams:
  env:
    from: {files: drop/env}
    sensors: {temperature: {every: 1min}}
backups:
  to: {nas: nas:/x}
  nightly: {at: '25:00', keep: 7}
"""


def test_syntax_types_names_and_rules_are_told_in_one_go(tmp_path: Path) -> None:
    """One run names the mistakes of all kinds: a person does not mend one gate only to meet the next."""
    path = tmp_path / "lab.yaml"
    path.write_text(GATES, encoding="utf-8")
    found = {place(problem)[1]: str(problem) for problem in problems(path)}
    assert "a space is missing after the colon\n    Write gateway: 192.168.0.1" in found[4]
    assert "overlaps load_balancers" in found[5]
    assert "which pi-1 has already" in found[9] or "pi9 is not a board" in found[9]
    assert "Did you mean workloads?" in found[10]
    assert "expose: true does not say how\n    Write one of" in found[13]
    assert "Write ports: {http: 8080}" in found[14]
    assert "no workload is called nosuch" in found[15]
    assert "Write 1m." in found[19]
    assert "is not a place for backups" in found[21]
    assert "7 has no unit" in found[22] or "25:00 is not a time" in found[22]


def test_what_was_left_out_of_the_guess_is_not_told_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "lab: home\nnetwork: {lan: 192.168.0.0/24, gateway: 192.168.0.1}\nhosts:\n"
        "  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: agent}\n"
        "  pi-2: {os: raspios, address: 192.168.0.12, k3s: server}\n"
        "workloads:\n  postgresql: {on: pi-2}\n",
        encoding="utf-8",
    )
    (problem,) = problems(path)
    assert "board is missing" in problem.what

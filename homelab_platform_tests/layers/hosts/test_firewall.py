"""The firewall's rules in force, asked from the LAN and from a foreign address: the ports of the host and of its pods.

Three network namespaces that the test makes: a neighbour with an address of the LAN and a foreign one, the host, a pod
behind a translation as kube-proxy's. Answers come from a real listener, refusals from the real nftables.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.hosts.debian import host_view
from homelab_platform.paths import project_path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces need root")]

LAN, FOREIGN, NODE, POD, BALANCER = "192.168.0.50", "203.0.113.9", "192.168.0.11", "10.42.0.5", "192.168.0.200"
LAB = """
version: 1
lab: doors
domain: doors.test
timezone: Europe/London
network:
  lan: 192.168.0.0/24
  gateway: 192.168.0.1
  load_balancers: 192.168.0.200-210
  firewall: {nodes: {allow: 30000-30100, from: lan}}
hosts: {node: {board: pi5-8gb, os: raspios, address: 192.168.0.11, k3s: server, disks: {sd: 32Gi}}}
cluster: v1.33.13+k3s1
storage: local-path
people: {ada: {role: admin, ssh: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3 ada}}
workloads: {metallb: {}, mosquitto: {expose: {address: 192.168.0.200}}}
"""
LISTENER = """
import socket, sys, threading
for port in map(int, sys.argv[1:]):
    server = socket.create_server(("0.0.0.0", port))
    threading.Thread(target=lambda s=server: [s.accept()[0].close() for _ in iter(int, 1)], daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
ASKER = """
import json, socket, sys
def ask(source, target, port):
    with socket.socket() as s:
        s.bind((source, 0)); s.settimeout(0.4)
        try: s.connect((target, port))
        except OSError as error: return type(error).__name__
        return "answers"
print(json.dumps([ask(*row) for row in json.loads(sys.argv[1])]))
"""
TRANSLATION = f"""
table ip services {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        tcp dport {{ 80, 30080, 31080 }} fib daddr type local dnat to {POD}:8080
        ip daddr {BALANCER} meta l4proto tcp dnat to {POD}:8080
    }}
}}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules file as the role writes it."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "lab.yaml").write_text(LAB)
    lab = load_resolved(folder / "lab.yaml", load_catalogue())
    variables = {"host": host_view(lab, lab.hosts["node"])["hosts"]["node"]}
    (folder / "vars.json").write_text(json.dumps(variables))
    role = project_path("ansible", "roles", "firewall")
    subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible"), "localhost", "--module-name", "ansible.builtin.template"),
            *("--args", f"src={role}/templates/firewall.nft.j2 dest={folder}/firewall.nft"),
            *("-e", f"@{folder}/vars.json", "-e", f"@{role}/vars/main.yml"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "firewall.nft"


@pytest.fixture(scope="module")
def spaces(rules: Path) -> Iterator[dict[str, str]]:
    """The namespaces `neighbour`, `node` and `pod`, with everything that listens there, under the rules."""
    names = {part: f"hl-{secrets.token_hex(3)}-{part}" for part in ("neighbour", "node", "pod")}
    listeners: list[subprocess.Popen[str]] = []
    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        _join(names["neighbour"], "eth0", names["node"], "eth0")
        _join(names["pod"], "eth0", names["node"], "cni0")
        for name, address, link in (
            *(("neighbour", f"{LAN}/24", "eth0"), ("neighbour", f"{FOREIGN}/24", "eth0")),
            *(("node", f"{NODE}/24", "eth0"), ("node", "203.0.113.1/24", "eth0"), ("node", "10.42.0.1/24", "cni0")),
            ("pod", f"{POD}/24", "eth0"),
        ):
            ip("-n", names[name], "address", "add", address, "dev", link)
        ip("-n", names["pod"], "route", "add", "default", "via", "10.42.0.1")
        for target in (POD, BALANCER):
            ip("-n", names["neighbour"], "route", "add", f"{target}/32", "via", NODE)
        _inside(names["node"], "sysctl", "-qw", "net.ipv4.ip_forward=1")
        _inside(names["node"], "nft", "-f", "-", text=TRANSLATION)
        _inside(names["node"], "nft", "-f", str(rules))
        for part, ports in (("node", ("22", "9000")), ("pod", ("8080",)), ("neighbour", ("7000",))):
            command = ["ip", "netns", "exec", names[part], sys.executable, "-c", LISTENER, *ports]
            listeners.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for one in listeners:
            assert one.stdout is not None and one.stdout.readline() == "ready\n"
        yield names
    finally:
        for one in listeners:
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _join(first: str, first_link: str, second: str, second_link: str) -> None:
    ip("link", "add", first_link, "netns", first, "type", "veth", "peer", "name", second_link, "netns", second)
    ip("-n", first, "link", "set", first_link, "up")
    ip("-n", second, "link", "set", second_link, "up")


def _inside(name: str, *command: str, text: str = "") -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", name, *command], input=text, check=True, capture_output=True, text=True
    )
    return done.stdout


def _asked(name: str, *rows: tuple[str, str, int]) -> list[str]:
    answers: list[str] = json.loads(_inside(name, sys.executable, "-c", ASKER, json.dumps(rows)))
    return answers


def test_the_lan_reaches_what_the_lab_lets_in_and_nothing_else(spaces: dict[str, str]) -> None:
    answers = _asked(
        spaces["neighbour"],
        *((LAN, NODE, port) for port in (22, 30080, 9000, 80, 31080)),
        *((LAN, BALANCER, port) for port in (1883, 5432)),
        (LAN, POD, 8080),
    )
    assert answers == [
        *("answers", "answers"),
        *("TimeoutError", "TimeoutError", "TimeoutError"),
        *("answers", "TimeoutError"),
        "TimeoutError",
    ], "22, a NodePort of the rule, the broker's balancer; not a port of the host, of a pod, or one that is translated"


def test_a_foreign_address_reaches_neither_the_host_nor_what_is_translated_to_pods(spaces: dict[str, str]) -> None:
    rows = [
        *((FOREIGN, NODE, port) for port in (22, 80, 30080, 31080, 9000)),
        *((FOREIGN, BALANCER, 1883), (FOREIGN, POD, 8080)),
    ]
    assert _asked(spaces["neighbour"], *rows) == ["TimeoutError"] * len(rows)


def test_pods_reach_the_lan_and_answers_come_back(spaces: dict[str, str]) -> None:
    ip("-n", spaces["neighbour"], "route", "replace", "10.42.0.0/24", "via", NODE)
    assert _asked(spaces["pod"], (POD, LAN, 7000), (POD, FOREIGN, 7000)) == ["answers", "answers"]


def test_the_same_questions_are_answered_without_the_chain_ahead_of_translation(spaces: dict[str, str]) -> None:
    """What the test proves is the rules' doing: with the input hook alone a foreign address gets through to the pod."""
    for chain in ("prerouting", "forward"):
        _inside(spaces["node"], "nft", "flush", "chain", "inet", "homelab", chain)
        _inside(spaces["node"], "nft", f"chain inet homelab {chain} {{ policy accept; }}")
    assert _asked(spaces["neighbour"], (FOREIGN, NODE, 22), (FOREIGN, NODE, 30080)) == ["TimeoutError", "answers"]

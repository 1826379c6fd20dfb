"""What a host's own configuration takes from the rest of the lab."""

from __future__ import annotations

from pathlib import Path

from homelab_platform import paths
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolve.host_facts import networks_of
from homelab_platform.lab.resolved import ResolvedLab


def example(name: str) -> ResolvedLab:
    return load_resolved(paths.project_path("examples", name, "lab.yaml"), load_catalogue())


def test_words_of_firewall_rules_become_networks_without_overlaps() -> None:
    lab = example("pi-cluster")
    host = lab.hosts["pi-worker-1"]
    assert host.sources["lan"] == ("192.168.0.0/24",)
    assert host.sources["vpn"] == ("10.9.0.0/24",)
    assert "10.42.0.0/16" in host.sources["cluster"], "pods ask the kubelet and exporters"
    assert "192.168.0.120/30" in host.sources["cluster"], "the four nodes"
    assert "10.0.0.0/8" in host.sources["internet"], "what the internet is not"
    assert networks_of(lab, "management") == ("10.0.0.0/24",)
    assert networks_of(lab, "nas") == ("192.168.0.10/32",)
    assert networks_of(lab, "203.0.113.7") == ("203.0.113.7/32",)


def test_a_host_without_a_fixed_address_may_be_anywhere_in_the_lan() -> None:
    lab = example("single-pi")
    assert networks_of(lab, "cluster") == ("10.42.0.0/16", "192.168.1.0/24")


def test_readings_go_to_the_labs_broker_by_a_topic_of_the_host() -> None:
    lab = example("pi-cluster")
    assert lab.hosts["pi-worker-2"].telemetry == {
        "stream": "machines",
        "site": lab.hosts["pi-worker-2"].telemetry["site"],
        "every": 10.0,
        "to": "mqtt://192.168.0.227:1883",
        "topic": "homelab/machines/pi-worker-2",
        "user": "host-pi-worker-2",
    }
    assert lab.hosts["nas"].telemetry == {}, "nobody installs anything on it"


def test_a_lab_without_a_broker_has_nowhere_to_send_readings(tmp_path: Path) -> None:
    text = "version: 1\nlab: x\nhosts: {a: {board: pi5-8gb, os: raspios, address: 192.168.0.5}}\n"
    (tmp_path / "lab.yaml").write_text(text + "streams: {m: {from: machine}}\n")
    assert load_resolved(tmp_path / "lab.yaml", load_catalogue()).hosts["a"].telemetry == {}

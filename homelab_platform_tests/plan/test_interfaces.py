"""Whoever provides an interface satisfies a need, a person's own entry as well as the project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.broker_access import broker_users
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.values import values_of

ENTRY = """\
title: {name}
description: One of my own.
tier: core
kind: app
home: https://example.org
licence: MIT
image: registry.example.org/{name}:1.0
arm64: {{runs: 'yes', evidence: I built it}}
requests: {{cpu: 10m, memory: 32Mi, basis: estimate}}
namespace: mine
ports: {{{ports}}}
exposure: {exposure}
provides: [{provides}]
backup: {{method: none, note: nothing in it}}
health: {{tcp: {port}}}
"""
OWN = {
    "boxes": {"ports": "s3: 9005", "port": "s3", "exposure": "cluster", "provides": "s3"},
    "rows": {"ports": "postgresql: 5444", "port": "postgresql", "exposure": "cluster", "provides": "postgresql"},
    "news": {"ports": "mqtt: 1899", "port": "mqtt", "exposure": "lan", "provides": "mqtt"},
    "door": {"ports": "http: 80", "port": "http", "exposure": "cluster", "provides": "ingress"},
}
LAB = """\
version: 1
lab: own
domain: lab.example.org
network: {lan: 192.168.7.0/24, gateway: 192.168.7.1}
hosts:
  pi: {board: pi5-8gb, os: raspios, address: 192.168.7.10, k3s: server, disks: {ssd: 250Gi}}
workloads:
  boxes: {on: pi}
  rows: {on: pi}
  news: {on: pi}
  door: {on: pi}
  trino: {on: pi}
  kiwix: {size: 12Gi, expose: ingress}
cluster: {disable: [traefik]}
streams:
  machines: {from: {machine: {}}, sensors: {cpu: {unit: '%', every: 15s}}}
  air: {from: {mqtt: {topic: air/+}}, sensors: {co2: {unit: ppm, every: 1m}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab whose object store, database, broker and ingress are none of the project's."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "lab.yaml").write_text(LAB)
    for name, said in OWN.items():
        file = folder / "helm" / name / "workload.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(ENTRY.format(name=name, **said))
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> ResolvedLab:
    return load_resolved(folder / "lab.yaml", load_catalogue(folder / "helm"))


def test_what_needs_s3_and_postgresql_comes_after_ones_own_and_is_told_where_they_are(
    lab: ResolvedLab, folder: Path
) -> None:
    assert {"boxes", "rows"} <= set(lab.workloads["trino"].needs)
    values = str(values_of(lab, lab.workloads["trino"], load_catalogue(folder / "helm")["trino"], folder))
    assert "http://boxes.mine.svc:9005" in values
    assert "rows.mine.svc:5444" in values
    states = desired_states(lab)
    assert "workload/boxes" in states["bucket/lake"].deps
    assert "workload/rows" in states["table/sensor_data"].deps


def test_hosts_publish_to_ones_own_broker_which_gets_no_passwords_that_it_would_not_read(lab: ResolvedLab) -> None:
    told = lab.hosts["pi"].telemetry
    assert told["to"] == "mqtt://192.168.7.10:1899"
    assert "user" not in told
    assert broker_users(lab) == ()
    assert lab.streams["air"].source_settings["broker"]
    assert "workload/news" in desired_states(lab)["flow/air"].deps


def test_names_are_served_by_ones_own_ingress_under_its_class(lab: ResolvedLab, folder: Path) -> None:
    values = values_of(lab, lab.workloads["kiwix"], load_catalogue(folder / "helm")["kiwix"], folder)
    assert values["ingress"]["className"] == "door"

"""Every value says where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from homelab_platform.lab.load import load_lab
from homelab_platform.lab.why.trace import explain
from homelab_platform.paths import project_path
from homelab_platform_tests.lab.helpers import loaded
from homelab_platform_tests.lab.strategies import catalogue, example_paths

LAB = """\
lab: x
hosts:
  pi-1: {board: pi5-8gb, os: raspios, k3s: server, disks: {sd: 64Gi}}
workloads:
  trino: {memory: 3Gi}
  postgresql: {size: 30Gi}
backups: {to: {nas: 'ssh://b@h/x'}, nightly: {at: '03:30', keep: 9d}}
"""


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [("hosts.pi-1.board", "pi5-8gb", "lab.yaml:3:17"), ("hosts.pi-1.memory", "7987Mi", "board pi5-8gb"),
     ("hosts.pi-1.cpu", "4", "board pi5-8gb"), ("hosts.pi-1.disks.sd.size", "64Gi", "lab.yaml:3:64"),
     ("workloads.trino.memory", "3Gi", "lab.yaml:5:19"),
     ("workloads.trino.cpu", "500m", "catalogue helm/trino/workload.yaml"),
     ("workloads.postgresql.volumes.data.size", "30Gi", "lab.yaml:6:22"),
     ("workloads.postgresql.volumes.wal.size", "5Gi", "catalogue helm/postgresql/workload.yaml"),
     ("backups.postgresql.schedule", "30 3 * * *", "lab.yaml:7:51"),
     ("backups.postgresql.keep.daily", 9, "lab.yaml:7:66"),
     ("timezone", "UTC", "default: Zone of all times."),
     ("patching.drain_timeout", "10m", "default: How long pods"),
     ("network.pod_cidr", "10.42.0.0/16", "default: k3s' own"),
     ("cluster.datastore", "sqlite", "derived: SQLite for one")],
)  # fmt: skip
def test_a_value_names_its_origin(tmp_path: Path, path: str, value: object, origin: str) -> None:
    rows = {row[0]: row[1:] for row in explain(loaded(tmp_path, LAB), catalogue())}
    assert rows[path][0] == value
    assert rows[path][1].startswith(origin)


@pytest.mark.parametrize("path", example_paths(), ids=lambda p: p.parent.name)
def test_every_value_of_every_example_has_an_origin_that_exists(path: Path) -> None:
    rows = explain(load_lab(path), catalogue())
    assert len(rows) > 200
    lines = path.read_text().count("\n") + 1
    for dotted, value, origin in rows:
        assert value is not None, dotted
        if match := re.fullmatch(r"lab\.yaml:(\d+):\d+", origin):
            assert int(match[1]) <= lines
        elif origin.startswith("catalogue "):
            assert project_path(origin.removeprefix("catalogue ")).is_file(), dotted
        elif not re.fullmatch(r"[\w/-]+\.yaml:\d+:\d+", origin):  # an included file
            assert re.match(r"(board \S+|default: .+|derived: .+)", origin), f"{dotted}: {origin}"

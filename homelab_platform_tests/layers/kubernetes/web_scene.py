"""A lab with one workload, a page that says what it was told, on a real cluster in a namespace of its own.

Belongs here: the lab, the workload and what tests do to them; the tests of workloads use it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.apply.adapter import Observation
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
from homelab_platform.tools.kube import records
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.health import get
from homelab_platform.tools.kube.releases import Helm, history
from homelab_platform_tests.testlab.cluster import TestCluster

LAB = """\
version: 1
lab: workloads
domain: lab.example.org
network: {lan: 10.77.0.0/24, gateway: 10.77.0.1}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 10.77.0.11, k3s: server, disks: {ssd: 250Gi}}
workloads:
  web:
    namespace: SPACE
    expose: cluster
    values: {env: {GREETING: GREETS}}
"""
ENTRY = """\
title: Web
description: A page that says what it was told.
tier: extras
kind: app
home: https://example.org
licence: MIT
image: localhost/busybox:1
arm64: {runs: 'yes', evidence: busybox runs everywhere}
requests: {cpu: 10m, memory: 16Mi, basis: measured}
namespace: apps
ports: {http: 8080}
volumes: {data: {size: 10Mi, mount: /data, kind: local}}
backup: {method: volume, covers: its one file, volumes: [data]}
health: {http: /index.html}
secrets: {credentials: [password]}
"""
VALUES = """\
command: [sh, -c]
args: ['COMMAND']
pullPolicy: Never
readOnlyRoot: true
grace: 1
volumes: {data: {storageClass: ""}}
nodes: []
"""
SERVE = 'echo "$GREETING" > /data/index.html; exec httpd -f -p 8080 -h /data'


@dataclass
class Scene:
    """A lab in a folder, with its one workload in a namespace of the test's own."""

    cluster: TestCluster
    folder: Path
    space: str

    def write(self, greets: str = "hello", command: str = SERVE) -> tuple[WorkloadAdapter, DesiredState]:
        """The lab as a person would edit it; the adapter and the desired state of the workload."""
        home = self.folder / "helm" / "web"
        home.mkdir(parents=True, exist_ok=True)
        (home / "workload.yaml").write_text(ENTRY)
        (home / "values.yaml").write_text(VALUES.replace("COMMAND", command))
        text = LAB.replace("SPACE", self.space).replace("GREETS", greets)
        (self.folder / "lab.yaml").write_text(text)
        return self.read()

    def read(self) -> tuple[WorkloadAdapter, DesiredState]:
        """The adapter and the desired state of the lab as it lies there."""
        catalogue = load_catalogue(self.folder / "helm")
        lab = load_resolved(self.folder / "lab.yaml", catalogue)
        helm = Helm(helm_binary(), Cluster(self.cluster.kubeconfig))
        adapter = WorkloadAdapter(lab, catalogue, helm, kubectl_binary(), self.folder)
        return adapter, desired_states(lab)["workload/web"]

    def apply(self, greets: str = "hello", command: str = SERVE) -> list[str]:
        """Bring the workload there as `apply` does; what it said."""
        adapter, desired = self.write(greets, command)
        said: list[str] = []
        adapter.change(desired, adapter.probe(desired), said.append)
        return said

    def probe(self, greets: str = "hello") -> tuple[Observation, DesiredState]:
        """What is observed of it now."""
        adapter, desired = self.write(greets)
        return adapter.probe(desired), desired

    def page(self) -> str:
        """What it serves."""
        cluster = Cluster(self.cluster.kubeconfig)
        found = get(cluster, kubectl_binary(), self.space, "service/web", port=8080, path="/index.html")[1]
        return found.decode().strip()


def in_a_namespace(cluster: TestCluster, folder: Path) -> Iterator[Scene]:
    """A scene in `folder`, whose namespace goes afterwards."""
    space = f"test-{uuid.uuid4().hex[:8]}"
    yield Scene(cluster, folder, space)
    cluster.kubectl("delete", "namespace", space, "--wait=false", check=False)


def revisions(scene: Scene) -> list[str]:
    """The status of each revision of the workload's release."""
    return [release.status for release in history(Cluster(scene.cluster.kubeconfig), scene.space, "web")]


def leave_record(scene: Scene, status: str, later: int = 0) -> None:
    """Leave what a killed helm leaves: the newest record, or with `later` one after it, in `status`."""
    number = history(Cluster(scene.cluster.kubeconfig), scene.space, "web")[-1].revision
    fresh = scene.cluster.get("secret", f"sh.helm.release.v1.web.v{number}", "-n", scene.space)
    record = records.unpacked(fresh)
    record["version"], record["info"]["status"] = number + later, status
    labels = {**fresh["metadata"]["labels"], "version": str(number + later), "status": status}
    metadata = {"name": f"sh.helm.release.v1.web.v{number + later}", "namespace": scene.space, "labels": labels}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": fresh["type"], "data": {"release": records.packed(record)}}
    scene.cluster.apply({**secret, "metadata": metadata})

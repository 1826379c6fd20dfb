"""The order in which a vendor's chart is applied, on a cluster in memory: refused before anything is touched, open
before anything is waited for; what lies beside it written, pruned and taken away.

A vendor's chart cannot be had where the tests run, and its operator's kinds neither; the charts here are folders.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.tools.kube import drift, health, releases
from homelab_platform.tools.kube.api import Rejected, name_of

Object = dict[str, Any]
LAB = """\
lab: order
domain: lab.example.org
network: {lan: 192.168.7.0/24}
hosts:
  pi: {board: pi5-8gb, os: raspios, address: 192.168.7.10, k3s: server}
workloads:
  notes:
"""
ENTRY = """\
title: Notes
description: Keeps notes.
tier: extras
kind: helm
home: https://example.org
licence: MIT
chart: {repo: https://charts.example.org, name: notes, version: 1.0.0}
arm64: {runs: 'yes', evidence: a test}
requests: {cpu: 10m, memory: 16Mi, basis: measured}
namespace: apps
ports: {http: 8080}
volumes: {data: {size: 10Mi, mount: /data, kind: local}}
backup: {method: volume, covers: notes, volumes: [data]}
health: {http: /}
waive: {not-restricted: a chart as vendors write them}
secrets: {admin: {user: {is: notes}, password: {form: hex, bytes: 16}}}
"""
MANIFESTS = """\
objects:
  settings: {apiVersion: v1, kind: ConfigMap, metadata: {name: notes-lab}, data: {zone: '${lab.domain}'}}
  pool: {apiVersion: example.org/v1, kind: Pool, metadata: {name: notes}, spec: {size: 1}}
"""


def _chart(volume: bool = True) -> list[Object]:
    mounted = [{"name": "data", "persistentVolumeClaim": {"claimName": "notes"}}] if volume else []
    labels = {"app.kubernetes.io/instance": "notes"}
    container = {"name": "notes", "image": "example.org/notes:1", "ports": [{"name": "http", "containerPort": 8080}]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": mounted}}
    claim = {"storageClassName": "local-path", "resources": {"requests": {"storage": "10Mi"}}}
    ports = [{"name": "http", "port": 8080, "targetPort": "http"}]
    found: list[Object] = [
        {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "notes"}, "spec": {"template": pod}},
        {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": "notes"},
            "spec": {"ports": ports, "selector": labels},
        },
    ]
    if volume:
        found.append(
            {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "notes"}, "spec": claim}
        )
    return found


class Memory:
    """A cluster and Helm in memory; `calls` is what was written, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.calls: list[str] = []
        self.kinds = {"ConfigMap", "Secret", "Namespace", "NetworkPolicy", "PersistentVolumeClaim"}
        self.chart = _chart()
        self.cluster = self

    def get(self, item: Mapping[str, Any]) -> Object | None:
        self._known(item)
        return copy.deepcopy(self.objects.get(name_of(item)))

    def apply(self, item: Object) -> Object:
        self._known(item)
        self.objects[name_of(item)] = copy.deepcopy(item)
        self.calls.append(name_of(item))
        return item

    def delete(self, item: Mapping[str, Any]) -> bool:
        self.calls.append(f"delete {name_of(item)}")
        return self.objects.pop(name_of(item), None) is not None

    def list(self, version: str, kind: str, namespace: str | None = None, labels: str = "") -> Sequence[Object]:
        return [item for name, item in self.objects.items() if name.startswith(f"{kind} ")]

    def forget_kinds(self) -> None:
        self.kinds.add("Pool")  # the operator has brought it by now

    def _known(self, item: Mapping[str, Any]) -> None:
        if item["kind"] not in self.kinds:
            raise Rejected.of(name_of(item), f"the cluster knows no {item['kind']}")

    def patiently(self, action: Any) -> Any:
        return action()

    def template(self, *_: Any, **__: Any) -> Sequence[Object]:
        return self.chart

    def upgrade(self, name: str, *_: Any, **__: Any) -> None:
        self.calls.append(f"helm upgrade {name}")

    def settle(self, *_: Any) -> None:
        pass

    def uninstall(self, name: str, *_: Any) -> None:
        self.calls.append(f"helm uninstall {name}")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """A cluster that knows no Pool until it is asked again."""
    found = Memory()

    def put_back(cluster: Memory, wanted: Object) -> list[drift.Difference]:
        live = cluster.get(wanted)
        if live == wanted:
            return []
        cluster.apply(wanted)
        return [drift.Difference(name_of(wanted), "", None, "there")]

    monkeypatch.setattr(drift, "put_back", put_back)
    monkeypatch.setattr(releases, "current", lambda *_: None)
    monkeypatch.setattr(health, "ask", lambda *_: health.Verdict(True, "answered", 0.0))
    monkeypatch.setattr("homelab_platform.layers.kubernetes.beside.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("homelab_platform.tools.kube.volumes.claims_of", lambda *_: [])
    yield found


def _adapter(folder: Path, memory: Memory, manifests: str = MANIFESTS) -> tuple[WorkloadAdapter, DesiredState]:
    home = folder / "helm" / "notes"
    home.mkdir(parents=True, exist_ok=True)
    (folder / "lab.yaml").write_text(LAB)
    (home / "workload.yaml").write_text(ENTRY)
    (home / "values.yaml").write_text("keep: ${gib:${workload.volumes.data.size}}\n")
    (home / "manifests.yaml").write_text(manifests)
    catalogue = load_catalogue(folder / "helm")
    lab = load_resolved(folder / "lab.yaml", catalogue)
    adapter = WorkloadAdapter(lab, catalogue, memory, Path("kubectl"), folder)  # type: ignore[arg-type]
    return adapter, desired_states(lab)["workload/notes"]


def _apply(folder: Path, memory: Memory, manifests: str = MANIFESTS) -> list[str]:
    adapter, desired = _adapter(folder, memory, manifests)
    said: list[str] = []
    adapter.change(desired, None, said.append)  # type: ignore[arg-type]
    return said


def test_what_would_lose_data_is_refused_before_anything_is_touched(tmp_path: Path, memory: Memory) -> None:
    memory.chart = _chart(volume=False)
    with pytest.raises(HomelabError, match="its volumes are data, but its chart keeps nothing") as refused:
        _apply(tmp_path, memory)
    assert refused.value.problems[0].rule == "lost-data"
    assert memory.calls == []


def test_policies_and_secrets_are_there_before_helm_waits_and_late_kinds_come_after(
    tmp_path: Path, memory: Memory
) -> None:
    _apply(tmp_path, memory)
    assert memory.calls == [
        "Namespace apps",
        "Secret apps/notes-admin",
        "NetworkPolicy apps/flows-notes",
        "ConfigMap apps/notes-lab",
        "helm upgrade notes",
        "Pool apps/notes",
        "ConfigMap apps/homelab-beside-notes",
    ]
    assert memory.objects["ConfigMap apps/notes-lab"]["data"] == {"zone": "lab.example.org"}
    secret = memory.objects["Secret apps/notes-admin"]["data"]
    assert set(secret) == {"user", "password"}


def test_an_object_that_is_no_longer_asked_for_is_taken_away(tmp_path: Path, memory: Memory) -> None:
    _apply(tmp_path, memory)
    said = _apply(tmp_path, memory, MANIFESTS.rpartition("  pool:")[0])
    assert "taking away Pool apps/notes" in said
    assert "Pool apps/notes" not in memory.objects
    adapter, desired = _adapter(tmp_path, memory)
    adapter.remove("workload/notes", desired.document, said.append)
    assert memory.calls.index("delete ConfigMap apps/notes-lab") < memory.calls.index("helm uninstall notes")
    assert "delete NetworkPolicy apps/flows-notes" in memory.calls


def test_a_second_apply_keeps_made_up_secrets(tmp_path: Path, memory: Memory) -> None:
    _apply(tmp_path, memory)
    before = memory.objects["Secret apps/notes-admin"]
    _apply(tmp_path, memory)
    assert memory.objects["Secret apps/notes-admin"] == before


def test_no_policy_is_written_for_the_clusters_own_namespaces(tmp_path: Path, memory: Memory) -> None:
    from homelab_platform.layers.kubernetes.objects import Flows, flow_policies, objects_of
    from homelab_platform.layers.kubernetes.specs import ClusterSpec

    assert flow_policies(Flows("kube-system", "csi-driver-nfs", ({"a": "b"},))) == []
    made = objects_of(ClusterSpec(namespaces={"kube-system": (), "apps": ()}))
    denied = {item["metadata"]["namespace"] for item in made if item["kind"] == "NetworkPolicy"}
    assert denied == {"apps"}
    assert "kube-system" not in {item["metadata"]["name"] for item in made if item["kind"] == "Namespace"}


def test_the_api_server_reaches_webhooks_from_the_nodes() -> None:
    from homelab_platform.layers.kubernetes.objects import Flows, flow_policies

    flows = Flows("ops", "x", ({"a": "b"}, {"c": "d"}), webhooks=(9443,), nodes=("192.168.7.10/32",))
    first, second = flow_policies(flows)
    assert [p["spec"]["podSelector"]["matchLabels"] for p in (first, second)] == [{"a": "b"}, {"c": "d"}]
    rule = first["spec"]["ingress"][1]
    assert rule == {
        "from": [{"ipBlock": {"cidr": "192.168.7.10/32"}}], "ports": [{"port": 9443, "protocol": "TCP"}]
    }  # fmt: skip

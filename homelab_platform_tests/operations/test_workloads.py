"""A workload on a real cluster: installed, changed, put back, rolled back, taken away without its data."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.check import load_resolved
from homelab_platform.operations.adapters.base import Observation, World, observe_one
from homelab_platform.operations.adapters.workloads import WorkloadAdapter
from homelab_platform.plan.desired import DesiredState, desired_states
from homelab_platform.servers.helm_binary import helm_binary, kubectl_binary
from homelab_platform.tools.kube.api import Cluster, ClusterUnreachable
from homelab_platform.tools.kube.health import get
from homelab_platform.tools.kube.releases import Helm, history
from homelab_platform_tests.graph.world import MemoryStore
from homelab_platform_tests.testlab import busybox
from homelab_platform_tests.testlab.cluster import TestCluster

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]

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


@pytest.fixture(scope="module")
def with_busybox(test_cluster: TestCluster) -> TestCluster:
    """The cluster, whose nodes have the small image."""
    test_cluster.bring(busybox.busybox_image())
    return test_cluster


@pytest.fixture
def scene(with_busybox: TestCluster, tmp_path: Path) -> Iterator[Scene]:
    """A lab with a namespace of its own."""
    space = f"test-{uuid.uuid4().hex[:8]}"
    yield Scene(with_busybox, tmp_path, space)
    with_busybox.kubectl("delete", "namespace", space, "--wait=false", check=False)


def test_a_workload_is_installed_and_answers_and_a_second_look_finds_nothing_to_do(scene: Scene) -> None:
    scene.apply()
    assert scene.page() == "hello"
    found, desired = scene.probe()
    assert found.matches(desired), found.differences
    password = scene.cluster.get("secret", "web-credentials", "-n", scene.space)["data"]["password"]
    assert len(password) >= 32
    scene.apply("good morning")
    assert scene.page() == "good morning"
    again = scene.cluster.get("secret", "web-credentials", "-n", scene.space)["data"]["password"]
    assert again == password, "an upgrade must not change a password that is in use"


def test_what_people_changed_by_hand_is_told_and_put_back(scene: Scene) -> None:
    scene.apply()
    kubectl = scene.cluster.kubectl
    kubectl("set", "env", "deployment/web", "EXTRA=1", "-n", scene.space)
    kubectl("scale", "deployment/web", "--replicas=0", "-n", scene.space)
    kubectl("delete", "networkpolicy", "web", "-n", scene.space)
    found, desired = scene.probe()
    told = "\n".join(found.differences)
    assert "spec.replicas is 0, should be 1" in told
    assert "env[EXTRA]" in told
    assert "added by hand" in told
    assert f"NetworkPolicy {scene.space}/web is gone" in told
    said = scene.apply()
    assert any(line.startswith("put back: ") for line in said)
    found, desired = scene.probe()
    assert found.matches(desired), found.differences
    live = scene.cluster.get("deployment", "web", "-n", scene.space)
    names = [entry["name"] for entry in live["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert names == ["GREETING"]


def test_a_pod_that_is_ready_but_serves_nothing_counts_as_failed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homelab_platform.operations.adapters.workloads.PATIENCE", 2.0)
    adapter, desired = scene.write(command="exec httpd -f -p 8080 -h /tmp")
    file = scene.folder / "helm" / "web" / "values.yaml"
    file.write_text(file.read_text() + "probe: {tcp: http, http: null}\n")
    with pytest.raises(HomelabError, match=r"is up but does not answer: GET /index\.html on :8080 answered 404"):
        adapter.change(desired, Observation(exists=False), lambda _text: None)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo no such setting; exit 3", "exit code 3; its last words: no such setting"),
        ("exec sleep 600", "Startup probe failed: .*connection refused"),
    ],
)
def test_a_change_that_does_not_come_up_is_undone_and_says_which_pod_and_why(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, command: str, reason: str
) -> None:
    scene.apply()
    monkeypatch.setattr("homelab_platform.operations.adapters.workloads.COMES_UP", 30.0)
    with pytest.raises(HomelabError, match=rf"Pod {scene.space}/web-\S+ on pi-\d: .*{reason}") as caught:
        scene.apply("not to be", command)
    problem = caught.value.problems[0]
    assert problem.where == "workload web"
    assert "The former state is back." in problem.remedy
    assert scene.page() == "hello"
    found, desired = scene.probe()
    assert found.exists and found.fingerprint == desired.fingerprint


def test_an_image_that_a_node_lacks_is_named_with_the_way_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homelab_platform.operations.adapters.workloads.COMES_UP", 12.0)
    scene.write()
    file = scene.folder / "helm" / "web" / "workload.yaml"
    file.write_text(ENTRY.replace("localhost/busybox:1", "localhost/there-is-none:1"))
    adapter, desired = scene.read()
    with pytest.raises(HomelabError) as caught:
        adapter.change(desired, adapter.probe(desired), lambda _text: None)
    problem = caught.value.problems[0]
    assert problem.where == "workload web"
    assert re.search(r"Pod \S+ on pi-[12]: ErrImageNeverPull: .*localhost/there-is-none:1", problem.what)
    assert problem.remedy.startswith("Nothing of it is left. Bring the image to that node")
    assert not adapter.probe(desired).exists


def test_while_the_api_server_is_gone_nothing_counts_as_missing_and_afterwards_all_is_as_before(scene: Scene) -> None:
    scene.apply()
    adapter, desired = scene.write()
    store = MemoryStore()
    store.applied(desired.key, desired.fingerprint, desired.document, turn=store.turn())
    world = cast("World", SimpleNamespace(store=store, adapter=lambda _layer: adapter))
    with scene.cluster.without_api():
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"the API server https://10\.\d+\.0\.11:6443 does not answer"):
            adapter.probe(desired)
        with pytest.raises(Unreachable, match="does not answer"):
            adapter.change(desired, Observation(exists=True), lambda _text: None)
        status, _ = observe_one(world, desired, store.load()[desired.key])
        assert status == store.load()[desired.key].status == "unreachable"
        assert time.monotonic() - began < 60
    found = adapter.probe(desired)
    assert found.matches(desired), found.differences
    assert observe_one(world, desired, store.load()[desired.key])[0] == store.load()[desired.key].status == "ok"
    assert scene.page() == "hello"


def test_an_api_server_that_goes_in_the_middle_of_an_upgrade_leaves_nothing_half_done(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.apply()
    adapter, desired = scene.write("while it goes", f"sleep 8; {SERVE}")
    with monkeypatch.context() as short:
        short.setattr("homelab_platform.operations.adapters.workloads.COMES_UP", 5.0)
        _cut_off(scene, adapter, desired)
    scene.apply("after it came back")
    assert scene.page() == "after it came back"
    found, desired = scene.probe("after it came back")
    assert found.matches(desired), found.differences


def _cut_off(scene: Scene, adapter: WorkloadAdapter, desired: DesiredState) -> None:
    """Begin an upgrade, and take the API server away until it has failed."""
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(adapter.change, desired, adapter.probe(desired), lambda _text: None)
        scene.cluster.wait_for("the upgrade is under way", lambda: len(revisions(scene)) == 2)
        with scene.cluster.without_api(), pytest.raises(HomelabError) as caught:
            going.result(90)
    assert "does not answer" in str(caught.value)
    assert "settled first" in caught.value.problems[0].remedy


def revisions(scene: Scene) -> list[str]:
    """The status of each revision of the workload's release."""
    return [release.status for release in history(Cluster(scene.cluster.kubeconfig), scene.space, "web")]


def test_taking_a_workload_away_leaves_its_data(scene: Scene) -> None:
    scene.apply()
    adapter, desired = scene.write()
    said: list[str] = []
    adapter.remove(desired.key, desired.document, said.append)
    assert any("was kept" in line for line in said)
    assert not adapter.probe(desired).exists
    claims = scene.cluster.get("pvc", "-n", scene.space)["items"]
    assert [claim["metadata"]["name"] for claim in claims] == ["web-data"]
    scene.apply("back again")
    assert scene.page() == "back again"


def test_an_upgrade_that_was_cut_off_does_not_block_the_next(scene: Scene) -> None:
    scene.apply()
    cluster = Cluster(scene.cluster.kubeconfig)
    last = history(cluster, scene.space, "web")[-1]
    name = f"sh.helm.release.v1.web.v{last.revision}"
    secret = scene.cluster.get("secret", name, "-n", scene.space)
    _mark_pending(scene.cluster, secret, last.revision + 1)
    assert history(cluster, scene.space, "web")[-1].status == "pending-upgrade"
    said = scene.apply("after the kill")
    assert any("was cut off" in line for line in said)
    assert scene.page() == "after the kill"


def _mark_pending(cluster: TestCluster, secret: dict[str, object], revision: int) -> None:
    """What a helm leaves that was killed in the middle of an upgrade: a newer record, still pending."""
    import base64
    import gzip

    text = json.dumps(secret)
    fresh = json.loads(text)
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(fresh["data"]["release"]))))
    record["version"], record["info"]["status"] = revision, "pending-upgrade"
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
    meta = fresh["metadata"]
    labels = {**meta["labels"], "version": str(revision), "status": "pending-upgrade"}
    name = meta["name"].rpartition(".v")[0] + f".v{revision}"
    cluster.apply(
        {
            "apiVersion": "v1", "kind": "Secret", "type": fresh["type"], "data": {"release": packed},
            "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels},
        }
    )  # fmt: skip


def test_without_an_api_server_the_message_says_where_and_what_to_do(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    with pytest.raises(ClusterUnreachable) as caught:
        Cluster(kubeconfig).version()
    assert "https://127.0.0.1:9 does not answer (connection refused)" in str(caught.value)
    assert "systemctl status k3s" in str(caught.value)

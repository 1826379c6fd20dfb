"""A workload on a real cluster: installed, changed, put back, rolled back, taken away without its data."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from homelab_platform.apply.adapter import Observation, World, observe_one
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.kubernetes.workloads import COMES_UP, WorkloadAdapter
from homelab_platform.names import silent
from homelab_platform.plan.desired import DesiredState
from homelab_platform.tools.kube.api import Cluster, ClusterUnreachable
from homelab_platform_tests.graph.world import MemoryStore
from homelab_platform_tests.layers.kubernetes.web_scene import (
    ENTRY,
    SERVE,
    Scene,
    in_a_namespace,
    leave_record,
    revisions,
)
from homelab_platform_tests.testlab.cluster import TestCluster

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]


@pytest.fixture
def scene(with_busybox: TestCluster, tmp_path: Path) -> Iterator[Scene]:
    """A lab with a namespace of its own."""
    yield from in_a_namespace(with_busybox, tmp_path)


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
    monkeypatch.setattr("homelab_platform.layers.kubernetes.workloads.PATIENCE", 2.0)
    adapter, desired = scene.write(command="exec httpd -f -p 8080 -h /tmp")
    file = scene.folder / "helm" / "web" / "values.yaml"
    file.write_text(file.read_text() + "probe: {tcp: http, http: null}\n")
    with pytest.raises(HomelabError, match=r"is up but does not answer: GET /index\.html on :8080 answered 404"):
        adapter.change(desired, Observation(exists=False), silent)
    found = adapter.probe(desired)
    assert found.exists
    assert not found.matches(desired), "the next look would call applied what never answered"


def test_a_workload_without_pods_or_with_udp_alone_is_not_waited_for(scene: Scene) -> None:
    scene.write()
    entry, values = scene.folder / "helm" / "web" / "workload.yaml", scene.folder / "helm" / "web" / "values.yaml"
    entry.write_text(ENTRY.replace("8080}", "8080/udp}").replace("health: {http: /index.html}\n", ""))
    adapter, desired = scene.read()
    said: list[str] = []
    adapter.change(desired, Observation(exists=False), said.append)
    assert said[-1] == "1 of 1 pods ready"
    entry.write_text(ENTRY)
    values.write_text(f"{values.read_text()}replicas: 0\n")
    adapter, desired = scene.read()
    adapter.change(desired, adapter.probe(desired), said.append)
    assert said[-1] == "0 of 0 pods ready"


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
    monkeypatch.setattr("homelab_platform.layers.kubernetes.workloads.COMES_UP", 30.0)
    with pytest.raises(HomelabError, match=rf"Pod {scene.space}/web-\S+ on pi-\d: .*{reason}") as caught:
        scene.apply("not to be", command)
    problem = caught.value.problems[0]
    assert problem.where == "workload web"
    assert "The former state is back." in problem.remedy
    assert scene.page() == "hello"
    found, desired = scene.probe()
    assert found.exists and found.fingerprint == desired.fingerprint


def test_a_set_of_pods_is_put_back_goes_back_and_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write()
    entry = scene.folder / "helm" / "web" / "workload.yaml"
    values = scene.folder / "workloads" / "web" / "values.yaml"
    values.parent.mkdir(parents=True)
    values.write_text("controller: StatefulSet\n")
    scene.apply()
    scene.cluster.kubectl("set", "image", "statefulset/web", "app=localhost/none:1", "-n", scene.space)
    scene.cluster.kubectl("delete", "pod", "web-0", "-n", scene.space)
    scene.apply()
    assert scene.page() == "hello", "Kubernetes itself would wait for the broken pod"
    monkeypatch.setattr("homelab_platform.layers.kubernetes.workloads.COMES_UP", 60.0)
    entry.write_text(ENTRY.replace("localhost/busybox:1", "localhost/there-is-none:1"))
    adapter, desired = scene.read()
    with pytest.raises(HomelabError) as caught:
        adapter.change(desired, adapter.probe(desired), silent)
    assert "The former state is back." in caught.value.problems[0].remedy
    assert scene.page() == "hello"
    scene.apply("good morning")
    assert scene.page() == "good morning"


@pytest.mark.parametrize("before", ["", "hello"], ids=["of a new workload", "of a running one"])
def test_an_image_that_a_node_lacks_is_named_with_the_way_out_and_not_waited_for(scene: Scene, before: str) -> None:
    if before:
        scene.apply(before)
    scene.write()
    file = scene.folder / "helm" / "web" / "workload.yaml"
    file.write_text(ENTRY.replace("localhost/busybox:1", "localhost/there-is-none:1"))
    adapter, desired = scene.read()
    began = time.monotonic()
    with pytest.raises(HomelabError) as caught:
        adapter.change(desired, adapter.probe(desired), silent)
    assert time.monotonic() - began < COMES_UP / 2
    problem = caught.value.problems[0]
    assert problem.where == "workload web"
    assert re.search(r"Pod \S+ on pi-[12]: ErrImageNeverPull: .*localhost/there-is-none:1", problem.what)
    state = "The former state is back." if before else "Nothing of it is left."
    assert problem.remedy.startswith(f"{state} Bring the image to that node")
    assert adapter.probe(desired).exists == bool(before)
    assert not before or scene.page() == before


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
            adapter.change(desired, Observation(exists=True), silent)
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
        short.setattr("homelab_platform.layers.kubernetes.workloads.COMES_UP", 5.0)
        _cut_off(scene, adapter, desired)
    scene.apply("after it came back")
    assert scene.page() == "after it came back"
    found, desired = scene.probe("after it came back")
    assert found.matches(desired), found.differences


def _cut_off(scene: Scene, adapter: WorkloadAdapter, desired: DesiredState) -> None:
    """Begin an upgrade, and take the API server away until it has failed."""
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(adapter.change, desired, adapter.probe(desired), silent)
        scene.cluster.wait_for("the upgrade is under way", lambda: len(revisions(scene)) == 2)
        with scene.cluster.without_api(), pytest.raises(HomelabError) as caught:
            going.result(90)
    assert "does not answer" in str(caught.value)
    assert "settled first" in caught.value.problems[0].remedy


def test_an_upgrade_that_was_cut_off_does_not_block_the_next(scene: Scene) -> None:
    scene.apply()
    leave_record(scene, "pending-upgrade", later=1)
    assert revisions(scene)[-1] == "pending-upgrade"
    said = scene.apply("after the kill")
    assert any("was cut off" in line for line in said)
    assert scene.page() == "after the kill"


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

"""Patching a real node of a real Kubernetes: budgets, a drain that cannot end, a restart, everything back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.patches.machine import DebianMachine
from homelab_platform.operations.patch import patch_host
from homelab_platform.operations.patch_night import sweep
from homelab_platform.operations.patch_plan import PatchPlan, Turn
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.nodes import RUN_ANNOTATION, ClusterNodes
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform.tools.ssh.target import Target
from homelab_platform_tests.layers.hosts.support import access_to
from homelab_platform_tests.operations.fleet import own_journal
from homelab_platform_tests.operations.test_patch_real_host import ASKS_FOR_A_RESTART, offer
from homelab_platform_tests.testlab import busybox
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.cluster import TestCluster, start_cluster
from homelab_platform_tests.testlab.hosts import HostSpec

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

NODE, SERVER = "n-2", "n-1"
TURN = Turn(NODE, "agent", None, node=True, drain_timeout=60, settle=2, reboot="when-needed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    running = testlab.start(specs=(HostSpec(SERVER, "server"), HostSpec(NODE, "agent")))
    made = start_cluster(running)
    made.bring(busybox.busybox_image())
    yield made
    running.leave()


@pytest.fixture
def fleet(cluster: TestCluster, tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> Iterator[Fleet]:
    access = access_to(cluster.lab, tmp_path).ssh

    @contextmanager
    def machine(name: str) -> Iterator[DebianMachine]:
        host = cluster.lab.host(name)
        yield DebianMachine(Ssh(Target(host.name, host.address), access), node=True)

    nodes = ClusterNodes(Cluster(cluster.kubeconfig))
    with own_journal(postgres_endpoint) as journal:
        plan = PatchPlan("Europe/Berlin", (TURN,), backup_first=False)
        yield Fleet(plan, journal, machine, lambda: nodes, lambda _host, _say: nullcontext())


def workload(name: str, **spec: Any) -> dict[str, Any]:
    """Two pods that do nothing."""
    container = {"name": "main", "image": busybox.NAME, "imagePullPolicy": "Never", "command": ["sleep", "3600"]}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 0, **spec}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


def budget(name: str, least: int) -> dict[str, Any]:
    """How many of its pods must stay."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": name}}},
    }


def allowed(cluster: TestCluster, name: str, number: int) -> None:
    """Wait until a budget allows this many disruptions."""

    def reached() -> bool:
        status = cluster.get("pdb", name, "-n", "default").get("status") or {}
        return status.get("disruptionsAllowed") == number and status.get("expectedPods") == 2

    cluster.wait_for(f"budget {name} allows {number}", reached)


def on_the_node(cluster: TestCluster, name: str) -> int:
    pods = cluster.get("pods", "-n", "default", "-l", f"app={name}")["items"]
    return sum(pod["spec"].get("nodeName") == NODE and "deletionTimestamp" not in pod["metadata"] for pod in pods)


def node(cluster: TestCluster, name: str = NODE) -> tuple[bool, str]:
    """Whether it is cordoned, and by which run."""
    found = cluster.get("node", name)
    annotations = found["metadata"].get("annotations") or {}
    return bool(found["spec"].get("unschedulable")), annotations.get(RUN_ANNOTATION, "")


def quiet(_line: str) -> None:
    pass


@pytest.mark.timeout(900)
def test_a_node_is_drained_within_its_budgets_restarted_and_takes_pods_again(
    cluster: TestCluster, fleet: Fleet
) -> None:
    host = cluster.lab.host(NODE)
    offer(host, ("homelab-dummy", "1.0", ":"))
    host.ssh("apt-get -q update && apt-get -y -q install homelab-dummy", timeout=120)
    offer(host, ("homelab-dummy", "1.1", ASKS_FOR_A_RESTART))
    cluster.apply(workload("web"), budget("web", 2))
    _bring_to_the_node(cluster, "web")

    _a_budget_that_allows_nothing_is_found_before_the_cordon(cluster, fleet)
    cluster.apply(budget("web", 1))
    allowed(cluster, "web", 1)
    _a_drain_that_cannot_end_is_given_up_in_time(cluster, fleet)
    assert "1.0" in host.ssh("dpkg-query --show homelab-dummy").stdout, "nothing was updated so far"
    _bring_to_the_node(cluster, "web")
    allowed(cluster, "web", 1)

    boot = host.ssh("cat /proc/sys/kernel/random/boot_id").stdout
    done = patch_host(fleet, TURN, quiet)
    assert (done.updates, done.rebooted) == (1, True)
    assert host.ssh("cat /proc/sys/kernel/random/boot_id").stdout != boot
    assert cluster.is_ready(NODE)
    assert node(cluster) == (False, "")
    assert node(cluster, SERVER) == (False, "")
    evicted = fleet.journal.load(done.run).outcomes["drain the node"]["evicted"]
    assert isinstance(evicted, int)
    assert evicted >= 2, "pods left before it went down"
    assert on_the_node(cluster, "web") == 0
    assert int(cluster.get("deployment", "web", "-n", "default")["status"]["availableReplicas"]) == 2

    _cordons_of_others_and_of_dead_runs(cluster, fleet)
    _the_server_is_patched_although_the_cluster_does_not_answer_meanwhile(cluster, fleet)


def _bring_to_the_node(cluster: TestCluster, name: str) -> None:
    """Have a workload's pods start anew, all on the node."""
    cluster.kubectl("cordon", SERVER)
    cluster.kubectl("delete", "pod", "-n", "default", "-l", f"app={name}", "--wait=true")
    cluster.wait_for(f"{name} runs on the node", lambda: on_the_node(cluster, name) == 2)
    cluster.kubectl("rollout", "status", "-n", "default", f"deployment/{name}", "--timeout=60s")
    cluster.kubectl("uncordon", SERVER)


def _a_budget_that_allows_nothing_is_found_before_the_cordon(cluster: TestCluster, fleet: Fleet) -> None:
    allowed(cluster, "web", 0)
    with pytest.raises(HomelabError, match=r"PodDisruptionBudget default/web allows 0 of 2 pods to leave"):
        patch_host(fleet, TURN, quiet)
    assert node(cluster) == (False, "")
    assert on_the_node(cluster, "web") == 2


def _a_drain_that_cannot_end_is_given_up_in_time(cluster: TestCluster, fleet: Fleet) -> None:
    """Its pods may run on this node only: the first leaves, and none takes its place."""
    cluster.apply(workload("pinned", nodeSelector={"kubernetes.io/hostname": NODE}), budget("pinned", 1))
    allowed(cluster, "pinned", 1)
    began = time.monotonic()
    with pytest.raises(
        HomelabError, match=r"did not leave within 8 s \(default/pinned-\S+: Cannot evict pod"
    ) as failed:
        patch_host(fleet, replace(TURN, drain_timeout=8), quiet)
    assert node(cluster) == (False, ""), "uncordoned"
    assert "uncordoned again, nothing was updated" in str(failed.value)
    record = fleet.journal.of_kind("patch")[0]
    drain = next(step for step in record.records if step.name == "drain the node")
    assert record.ended is not None
    assert (record.ended - drain.began).total_seconds() < 8 + 10
    assert time.monotonic() - began < 90
    cluster.kubectl("delete", "-n", "default", "deployment/pinned", "pdb/pinned")


def _the_server_is_patched_although_the_cluster_does_not_answer_meanwhile(cluster: TestCluster, fleet: Fleet) -> None:
    host = cluster.lab.host(SERVER)
    offer(host, ("homelab-dummy", "1.0", ":"))
    host.ssh("apt-get -q update && apt-get -y -q install homelab-dummy", timeout=120)
    offer(host, ("homelab-dummy", "1.1", ASKS_FOR_A_RESTART))
    done = patch_host(fleet, replace(TURN, host=SERVER, group="server"), quiet)
    assert (done.updates, done.rebooted) == (1, True)
    assert node(cluster, SERVER) == (False, "")
    assert cluster.is_ready(SERVER)


def _cordons_of_others_and_of_dead_runs(cluster: TestCluster, fleet: Fleet) -> None:
    assert fleet.nodes is not None
    nodes = fleet.nodes()
    cluster.kubectl("cordon", NODE)
    assert nodes.cordon(NODE, "run-1") is False
    assert nodes.uncordon(NODE, "run-1") is False
    assert sweep(fleet, quiet) == []
    assert node(cluster) == (True, ""), "somebody else's cordon stays"
    cluster.kubectl("uncordon", NODE)
    assert nodes.cordon(NODE, "run-1")
    assert nodes.uncordon(NODE, "run-2") is False
    assert node(cluster) == (True, "run-1")
    assert sweep(fleet, quiet) == [NODE]
    assert node(cluster) == (False, "")

"""The platform on a real cluster: installed by itself, with few rights, and no run is lost with a daemon or a node."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.paths import project_path
from homelab_platform.servers.install.helm import helm_binary
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.releases import Helm
from homelab_platform_tests.sites.platform_scene import (
    PARTS,
    PLATFORM,
    PlatformScene,
    bring_images,
    platform_scene,
)
from homelab_platform_tests.testlab import lab
from homelab_platform_tests.testlab.cluster import start_cluster
from homelab_platform_tests.testlab.hosts import HostSpec

MIB = 1 << 20
MOST_MEMORY = 700 * MIB
LONGEST_START = 60.0
"""Seconds from launch to first step that a test allows, on a machine whose other work may be anything; the goal of 20
is bench/platform_on_cluster.py's to judge."""
TABLE, BUCKET = "table/sensor_data", "bucket/lake"
CHART = str(project_path("helm", "homelab-platform"))
VALUES: dict[str, Any] = {"lab": {"lab.yaml": "version: 1\n"}}


def rendered(tmp_path: Path, **values: Any) -> list[dict[str, Any]]:
    """What the chart would write."""
    helm = Helm(helm_binary(), Cluster(tmp_path / "no-cluster"))
    return [dict(item) for item in helm.template("platform", "somewhere", CHART, {**VALUES, **values})]


@pytest.mark.servers
def test_no_pod_of_the_platform_is_root_or_may_write_to_its_image_or_eat_the_node(tmp_path: Path) -> None:
    found = rendered(tmp_path)
    settings = next(item for item in found if item["metadata"]["name"] == "platform-instance")
    pods = [item["spec"]["template"]["spec"] for item in found if item["kind"] == "Deployment"]
    assert len(pods) == len(PARTS)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert {entry["tolerationSeconds"] for entry in pod["tolerations"]} == {30}
        for container in (*pod["initContainers"], *pod["containers"]):
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], container["name"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= pod["containers"][0].keys()
    launcher = settings["data"]["dagster.yaml"]
    for needed in (
        "run_as_non_root: true",
        "read_only_root_filesystem: true",
        "automount_service_account_token: false",
    ):
        assert needed in launcher


@pytest.mark.servers
def test_no_value_of_a_secret_is_in_what_the_chart_writes_and_only_work_with_readings_knows_the_keys(
    tmp_path: Path,
) -> None:
    found = rendered(tmp_path)
    assert not [item for item in found if item["kind"] == "Secret"]
    knowing = {
        item["metadata"]["name"]
        for item in found
        if item["kind"] == "Deployment" and "HOMELAB_S3_SECRET_KEY" in json.dumps(item)
    }
    assert knowing == {"platform-code"}


@pytest.mark.servers
def test_the_page_answers_under_its_own_names_and_starts_nothing_behind_an_ingress_without_sign_in(
    tmp_path: Path,
) -> None:
    def page(**values: Any) -> dict[str, Any]:
        found = rendered(tmp_path, **values)
        (web,) = (item for item in found if item["kind"] == "Deployment" and item["metadata"]["name"] == "platform")
        return dict(web["spec"]["template"]["spec"]["containers"][0])

    ingress = {"host": "dagster.lab.example.org"}
    for values, read_only in (
        ({}, False),
        ({"ingress": ingress}, True),
        ({"ingress": ingress, "web": {"readOnly": False}}, False),
        ({"web": {"readOnly": True}}, True),
    ):
        container = page(**values)
        assert container["command"][:3] == ["python3", "-m", "homelab_platform.graph.page"]
        assert ("--read-only" in container["command"]) is read_only, values
    container = page(ingress=ingress)
    names = next(one["value"] for one in container["env"] if one["name"] == "HOMELAB_PAGE_NAMES").split(",")
    assert {"dagster.lab.example.org", "platform.somewhere.svc"} <= set(names)
    assert container["readinessProbe"]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"image": "somewhere/homelab-platform:latest"}, "image"),
        ({"image": "somewhere/homelab-platform"}, "image"),
        ({"lab": {}}, "the lab file, under the key lab.yaml"),
        ({"lab": {"lab.yaml": "", "../etc/passwd": ""}}, "passwd"),
        ({"web": {"limit": {}}}, "limit"),
        ({"user": 0}, "user"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_before_anything_is_installed(
    tmp_path: Path, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(HomelabError, match=complaint):
        rendered(tmp_path, **values)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[PlatformScene]:
    """PostgreSQL, an S3 server and the platform on a cluster of the test's own: one of its nodes dies for minutes."""
    running = lab.start(specs=(HostSpec("pi-1", "server"), HostSpec("pi-2", "agent")))
    try:
        cluster = start_cluster(running)
        bring_images(cluster)
        yield platform_scene(cluster, tmp_path / "lab", f"platform-{uuid.uuid4().hex[:6]}")
    finally:
        running.leave()


@pytest.mark.testlab
@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_platform_in_pods_finishes_its_runs_whoever_dies(scene: PlatformScene) -> None:
    server, node = scene.cluster.nodes
    scene.cluster.kubectl("cordon", node)  # all but runs on the other one: this node is the one that dies
    # and the lab's one server of names: like k3s' it would stay on a dead node for five minutes
    scene.cluster.kubectl("rollout", "restart", "deployment/coredns", "-n", "kube-system")
    took = scene.install()
    scene.cluster.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
    scene.cluster.kubectl("uncordon", node)
    scene.until_at_rest()
    assert scene.matches(f"workload/{PLATFORM}")
    it_may_do_what_it_needs_and_nothing_else(scene)
    a_run_is_a_job_of_its_own(scene)
    a_run_outlives_the_daemon_that_launched_it(scene)
    a_run_whose_node_dies_is_started_again_elsewhere(scene)
    no_job_stays(scene)
    assert {scene.pod(part)["spec"]["nodeName"] for part in PARTS} == {server}
    print({key: round(seconds, 1) for key, seconds in took.items()})


def it_may_do_what_it_needs_and_nothing_else(scene: PlatformScene) -> None:
    for verb in ("create", "get", "list", "delete"):
        assert scene.may("daemon", verb, "jobs.batch"), verb
    assert scene.may("daemon", "get", "pods", "--subresource=log")
    assert scene.may("web", "delete", "jobs.batch"), "the page ends runs"
    assert not scene.may("web", "create", "jobs.batch")
    for part in ("daemon", "web", "code", "runs"):
        for words in (
            ("get", "secrets"), ("list", "configmaps"), ("create", "pods"), ("create", "pods", "--subresource=exec"),
            ("update", "jobs.batch"), ("patch", "deployments.apps"), ("list", "nodes"),
            ("create", "rolebindings.rbac.authorization.k8s.io"), ("impersonate", "users"),
        ):  # fmt: skip
            assert not scene.may(part, *words), (part, words)
        assert not scene.may(part, "create", "jobs.batch", space="default")
        assert not scene.may(part, "list", "pods", space="kube-system")
    for part in ("code", "runs"):
        assert not scene.may(part, "list", "pods")
        assert not scene.may(part, "list", "jobs.batch")


def a_run_is_a_job_of_its_own(scene: PlatformScene) -> None:
    run = scene.launch("observe")
    assert scene.until_over(run) == "SUCCESS"
    job = scene.jobs()[run]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 20
    pod = scene.pod_of(run)["spec"]
    assert not pod["automountServiceAccountToken"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    seconds = scene.to_first_step(run)
    memory = scene.memory()
    together = sum(rss for rss, _ in memory.values())
    print(f"launch to first step {seconds:.1f} s; { ({part: rss // MIB for part, (rss, _) in memory.items()}) } MiB")
    assert seconds < LONGEST_START
    assert together < MOST_MEMORY


def a_run_outlives_the_daemon_that_launched_it(scene: PlatformScene) -> None:
    with scene.locked(BUCKET):
        run = scene.launch("apply", BUCKET)
        scene.until_said(run, "waits for a test")
        before = scene.pod("daemon")["metadata"]["name"]
        scene.cluster.kubectl("delete", "pod", before, "-n", scene.space, "--grace-period=0", "--force")
    assert scene.until_over(run) == "SUCCESS"
    assert scene.run(run)["rootRunId"] is None, "it was never started again"
    scene.cluster.kubectl(
        "rollout", "status", f"deployment/{PLATFORM}-daemon", "-n", scene.space, "--timeout=120s", timeout=130
    )
    assert scene.pod("daemon")["metadata"]["name"] != before


def a_run_whose_node_dies_is_started_again_elsewhere(scene: PlatformScene) -> None:
    server, node = scene.cluster.nodes
    with scene.locked(BUCKET):
        scene.cluster.kubectl("cordon", server)
        run = scene.launch("apply", BUCKET)
        scene.until_said(run, "waits for a test")
        assert scene.pod_of(run)["spec"]["nodeName"] == node
        scene.cluster.kubectl("uncordon", server)
        scene.cluster.lab.host(node).unplug()
        unplugged = time.monotonic()
        scene.cluster.wait_for("the run counts as failed", lambda: scene.run(run)["status"] == "FAILURE", 150)
        print(f"noticed {time.monotonic() - unplugged:.0f} s after the plug was pulled")
        assert any("K8s job has no active pods" in text for _, _, text in scene.events(run)), scene.events(run)
        scene.cluster.wait_for("it is started again", lambda: "dagster/auto_retry_run_id" in scene.run(run)["tags"], 60)
        again = scene.run(run)["tags"]["dagster/auto_retry_run_id"]
        scene.until_said(again, "waits for a test")
        assert scene.pod_of(again)["spec"]["nodeName"] == server
    assert scene.until_over(again) == "SUCCESS"
    scene.cluster.lab.host(node).plug()
    scene.cluster.wait_for(f"{node} is ready", lambda: scene.cluster.is_ready(node), 120)


def no_job_stays(scene: PlatformScene) -> None:
    """Of runs that are over, wherever they ended."""

    def left() -> list[str]:
        over = {run["runId"] for run in scene.runs() if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")}
        return sorted(over & scene.jobs().keys())

    scene.cluster.wait_for("the Jobs of runs that are over go", lambda: not left(), 120)

"""The lab's Kubernetes: real nodes, real pods, real refusals."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform_tests.testlab import busybox
from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.lab import TestLab

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]


@pytest.fixture
def space(with_busybox: TestCluster) -> Iterator[str]:
    """A namespace of this test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    with_busybox.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with_busybox.until_controllers_work()  # no pod is let in before the namespace has its service account
    yield name
    with_busybox.kubectl("delete", "namespace", name, "--wait=false")


def pod(space: str, name: str, command: str, *, node: str | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that runs a shell command."""
    container = {"name": "main", "image": busybox.NAME, "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
    container |= spec.get("container", {})
    spec = {key: value for key, value in spec.items() if key != "container"}
    chosen = {"nodeName": node} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **chosen, **spec},
    }


def service(space: str, name: str, port: int, **spec: Any) -> dict[str, Any]:
    """A service in front of the pod of the same name."""
    ports = [{"port": port, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": space},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def ready(cluster: TestCluster, space: str, *names: str) -> None:
    """Wait until these pods are ready."""
    for name in names:
        cluster.kubectl("wait", "-n", space, "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def says(cluster: TestCluster, space: str, name: str, command: str) -> tuple[int, str]:
    """What a command says inside a pod."""
    done = cluster.kubectl("exec", "-n", space, name, "--", "sh", "-c", command, check=False)
    return done.returncode, done.stdout.strip()


SERVE = "mkdir -p /tmp/w; hostname >/tmp/w/index.html; httpd -f -p 8080 -h /tmp/w"


def test_a_service_is_reached_by_name_from_every_node_and_from_outside(with_busybox: TestCluster, space: str) -> None:
    cluster = with_busybox
    first, second = cluster.nodes
    cluster.apply(
        service(space, "web", 8080),
        pod(space, "web", SERVE, node=second),
        pod(space, "near", "sleep 600", node=second),
        pod(space, "far", "sleep 600", node=first),
    )
    ready(cluster, space, "web", "near", "far")
    for asking in ("near", "far"):
        fetch = f"timeout 5 wget -q -O - http://web.{space}.svc.cluster.local:8080/"
        assert says(cluster, space, asking, fetch) == (0, "web")
    assert cluster.get("pod", "web", "-n", space)["spec"]["nodeName"] == second
    address = cluster.get("service", "web", "-n", space)["spec"]["clusterIP"]
    outside = cluster.lab.host("pi-3").ssh(
        f"ip route add {cluster.lab.place.addresses.services} via {cluster.lab.host(first).address} 2>/dev/null;"
        f"python3 -c 'import urllib.request as u; print(u.urlopen(\"http://{address}:8080/\", timeout=5).read())'"
    )
    assert "web" in outside.stdout


def test_a_claimed_volume_outlives_its_pod_and_goes_with_its_claim(with_busybox: TestCluster, space: str) -> None:
    cluster = with_busybox
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": space},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    volumes: dict[str, Any] = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        "securityContext": {"runAsUser": 1234},
    }
    cluster.apply(claim, pod(space, "writer", "echo kept >/data/file; sleep 600", **volumes))
    ready(cluster, space, "writer")
    volume = cluster.get("pvc", "data", "-n", space)["spec"]["volumeName"]
    cluster.kubectl("delete", "pod", "writer", "-n", space)
    cluster.apply(pod(space, "reader", "cat /data/file; sleep 600", **volumes))
    ready(cluster, space, "reader")
    assert cluster.kubectl("logs", "reader", "-n", space).stdout == "kept\n"
    folder = cluster.get("pv", volume)["spec"]["hostPath"]["path"]
    cluster.kubectl("delete", "pod/reader", "pvc/data", "-n", space)
    cluster.wait_for("the volume is gone", lambda: cluster.kubectl("get", "pv", volume, check=False).returncode != 0)
    assert cluster.lab.place.machine("pi-1").run("ls", folder, check=False).returncode != 0


def test_network_policies_block_what_they_do_not_allow(with_busybox: TestCluster, space: str) -> None:
    cluster = with_busybox
    first, second = cluster.nodes
    cluster.apply(
        service(space, "web", 8080),
        pod(space, "web", SERVE, node=first),
        pod(space, "friend", "sleep 600", node=second),
        pod(space, "stranger", "sleep 600", node=first),
        policy(space, "deny-all", {}, ["Ingress", "Egress"]),
    )
    ready(cluster, space, "web", "friend", "stranger")
    fetch = f"timeout 2 wget -q -O - http://web.{space}.svc.cluster.local:8080/"
    cluster.wait_for("nobody gets through", lambda: says(cluster, space, "friend", fetch)[0] != 0, 20)
    assert says(cluster, space, "stranger", fetch)[0] != 0
    friends = [{"podSelector": {"matchLabels": {"app": "friend"}}}]
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    cluster.apply(
        policy(space, "let-in", {"app": "web"}, ["Ingress"], ingress=[{"from": friends, "ports": [{"port": 8080}]}]),
        policy(
            space,
            "let-out",
            {},
            ["Egress"],
            egress=[{"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}]}, {"to": [web]}],
        ),
    )
    cluster.wait_for("the friend gets through", lambda: says(cluster, space, "friend", fetch) == (0, "web"), 20)
    assert says(cluster, space, "stranger", fetch)[0] != 0


def policy(space: str, name: str, selected: dict[str, str], kinds: list[str], **rules: Any) -> dict[str, Any]:
    """A network policy for pods with these labels; none means all."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": space},
        "spec": {"podSelector": {"matchLabels": selected}, "policyTypes": kinds, **rules},
    }


def test_a_node_without_power_is_noticed_and_comes_back(with_busybox: TestCluster, lab_alone: TestLab) -> None:
    cluster, node = with_busybox, with_busybox.nodes[1]
    host = lab_alone.host(node)
    host.unplug()
    cluster.wait_for("the dead node is noticed", lambda: not cluster.is_ready(node), 60)
    host.plug()
    cluster.wait_for("the node is back", lambda: cluster.is_ready(node), 60)


def test_the_cluster_survives_a_minute_without_its_api_server(with_busybox: TestCluster, space: str) -> None:
    cluster = with_busybox
    cluster.apply(pod(space, "steady", "sleep 600", node=cluster.nodes[1]))
    ready(cluster, space, "steady")
    started = cluster.get("pod", "steady", "-n", space)["status"]["containerStatuses"][0]["state"]["running"]
    with cluster.without_api(), pytest.raises(HomelabError, match="refused"):
        cluster.kubectl("get", "nodes", timeout=30)
    cluster.wait_for("the pod is known again", lambda: bool(cluster.get("pod", "steady", "-n", space)))
    running = cluster.get("pod", "steady", "-n", space)["status"]["containerStatuses"][0]["state"]["running"]
    assert running == started


def test_helm_installs_and_rolls_back_a_release_that_never_gets_ready(
    with_busybox: TestCluster, space: str, tmp_path: Any
) -> None:
    cluster = with_busybox
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: little\nversion: 0.1.0\n")
    (tmp_path / "values.yaml").write_text(f"image: {busybox.NAME}\n")
    template = json.dumps(deployment("little"), indent=1).replace(busybox.NAME, "{{ .Values.image }}")
    (tmp_path / "templates" / "deployment.yaml").write_text(template)
    install = ("upgrade", "--install", "little", str(tmp_path), "-n", space, "--wait", "--rollback-on-failure")
    cluster.helm(*install, "--timeout=60s")
    with pytest.raises(HomelabError):
        cluster.helm(*install, "--set=image=localhost/there-is-none:1", "--timeout=5s")
    history = json.loads(cluster.helm("history", "little", "-n", space, "-o", "json").stdout)
    assert [entry["status"] for entry in history] == ["superseded", "failed", "deployed"]


def deployment(name: str) -> dict[str, Any]:
    """A deployment of one pod that only waits."""
    template = pod("", name, "sleep 600")
    del template["metadata"]["name"], template["metadata"]["namespace"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }

"""The cluster of a lab under our adapter: what it makes, what it notices, what people and pods may do then."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.pod_levels import LEVELS
from homelab_platform.tools.kube.api import Cluster, Forbidden
from homelab_platform.tools.kube.people import kubeconfig_for
from homelab_platform_tests.layers.kubernetes.lab_scene import CLUSTER, LabScene
from homelab_platform_tests.plan.workload.pods_by_level import PODS, SAFE, WHOLE
from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.test_cluster import pod

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]

LAB = """\
version: 1
lab: roles
domain: lab.example.org
network: {lan: LAN.0/24, gateway: LAN.1}
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: LAN.11, k3s: server, disks: {ssd: 250Gi}}
  pi-2:
    {board: pi5-8gb, os: raspios, address: LAN.12, k3s: agent, disks: {ssd: 250Gi},
     labels: {lab/room: attic}, taints: ['lab/slow=yes:PreferNoSchedule']}
people:
  ada: {role: admin, ssh: keys/ada.pub}
  ben: {role: dev, ssh: keys/ada.pub}
  cleo: {role: guest, ssh: keys/ada.pub}
workloads:
  shop: {image: 'localhost/busybox:1', namespace: SPACE, for: [dev, guest]}
  vault-of-ada: {image: 'localhost/busybox:1', namespace: SPACE-own}
"""

RESTRICTED = {"securityContext": WHOLE, "container": {"securityContext": SAFE}}


@dataclass
class Scene(LabScene):
    """A lab of two nodes and two workloads in namespaces of the test's own."""

    space: str = ""

    def edit(self, old: str, new: str) -> None:
        """Change the lab file as a person would."""
        file = self.folder / "lab.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        for name in ("lab", "desired"):
            self.__dict__.pop(name, None)

    def may(self, role: str, *words: str) -> bool:
        """Whether somebody with this role may do it (kubectl auth can-i)."""
        asked = ("auth", "can-i", *words, "--as=somebody", f"--as-group=homelab:{role}")
        return self.cluster.kubectl(*asked, check=False).stdout.strip() == "yes"


@pytest.fixture
def scene(with_busybox: TestCluster, tmp_path: Path) -> Iterator[Scene]:
    """The lab, applied once."""
    with_busybox.lab.write_lab(tmp_path / "example")
    (tmp_path / "example" / "keys").rename(tmp_path / "keys")
    space = f"test-{uuid.uuid4().hex[:8]}"
    lan = with_busybox.lab.host("pi-1").address.rpartition(".")[0]
    (tmp_path / "lab.yaml").write_text(LAB.replace("LAN", lan).replace("SPACE", space))
    scene = Scene(with_busybox, tmp_path, space=space)
    scene.apply(CLUSTER)
    yield scene
    with_busybox.kubectl("taint", "node", "pi-2", "lab/slow-", check=False)
    with_busybox.kubectl("label", "node", "pi-2", "lab/room-", check=False)
    scene.remove(CLUSTER)
    with_busybox.kubectl("delete", "namespace", space, f"{space}-own", "--wait=false", check=False)


def test_a_second_look_finds_nothing_and_what_people_change_by_hand_is_put_back(scene: Scene) -> None:
    assert scene.matches(CLUSTER)
    assert scene.apply(CLUSTER) == []
    kubectl = scene.cluster.kubectl
    kubectl("label", "node", "pi-2", "lab/room=cellar", "--overwrite")
    kubectl("taint", "node", "pi-2", "lab/slow-")
    kubectl("taint", "node", "pi-1", "by/hand=yes:PreferNoSchedule")
    kubectl("delete", "networkpolicy", "default-deny", "-n", scene.space)
    kubectl("create", "rolebinding", "everything", "--clusterrole=admin", "--group=homelab:guest", "-n", scene.space)
    kubectl("label", "rolebinding", "everything", "-n", scene.space, *marks())
    told = scene.probe(CLUSTER).differences
    assert set(told) == {
        "node pi-2: label lab/room is cellar, should be attic",
        "node pi-2: its taints are none, should be lab/slow=yes:PreferNoSchedule",
        "node pi-1: its taints are by/hand=yes:PreferNoSchedule, should be none",
        f"NetworkPolicy {scene.space}/default-deny is gone",
        f"RoleBinding {scene.space}/everything is not asked for",
    }
    scene.apply(CLUSTER)
    assert scene.matches(CLUSTER)
    node = scene.cluster.get("node", "pi-2")
    assert node["metadata"]["labels"]["lab/room"] == "attic"
    assert node["spec"]["taints"] == [{"key": "lab/slow", "value": "yes", "effect": "PreferNoSchedule"}]
    assert "taints" not in scene.cluster.get("node", "pi-1")["spec"]


def marks() -> list[str]:
    """The labels by which what is ours is known."""
    return ["app.kubernetes.io/part-of=homelab", "app.kubernetes.io/managed-by=homelab"]


def test_what_the_lab_no_longer_says_goes(scene: Scene) -> None:
    scene.edit("labels: {lab/room: attic}, taints: ['lab/slow=yes:PreferNoSchedule']", "cpu: 4")
    scene.edit("for: [dev, guest]", "for: [dev]")
    assert not scene.probe(CLUSTER).matches(scene.desired[CLUSTER])
    scene.apply(CLUSTER)
    assert scene.matches(CLUSTER)
    node = scene.cluster.get("node", "pi-2")
    assert "lab/room" not in node["metadata"]["labels"]
    assert "taints" not in node["spec"]
    assert not scene.may("guest", "get", "pods", "-n", scene.space)
    assert scene.may("dev", "get", "pods", "-n", scene.space)


def test_people_may_do_what_their_role_says_and_no_more(scene: Scene) -> None:
    here, other = ("-n", scene.space), ("-n", f"{scene.space}-own")
    assert scene.may("guest", "get", "pods", *here)
    assert scene.may("guest", "list", "deployments.apps", *here)
    for words in ("get secrets", "get configmaps", "get pods --subresource=log", "delete pods", "create pods"):
        assert not scene.may("guest", *words.split(), *here), words
    assert scene.may("dev", "update", "deployments.apps", *here)
    assert scene.may("dev", "get", "pods", "--subresource=log", *here)
    assert scene.may("dev", "create", "pods", "--subresource=exec", *here)
    for words in (
        "create rolebindings", "update resourcequotas", "delete networkpolicies", "create networkpolicies",
        "get secrets", "list secrets", "create secrets",
    ):  # fmt: skip
        assert not scene.may("dev", *words.split(), *here), words
    for role in ("guest", "dev"):
        assert not scene.may(role, "get", "pods", *other)
        assert not scene.may(role, "get", "nodes")
        assert not scene.may(role, "get", "secrets", "-n", "kube-system")
    assert scene.may("admin", "*", "*", *other)
    assert scene.may("admin", "delete", "nodes")


def test_a_namespace_takes_the_pods_of_its_level_and_refuses_all_others(scene: Scene) -> None:
    """Asked of the API server for each pod of the table, as the dev who has the namespace and as an admin: what it
    refuses is what our judgement of a rendering says that it will refuse, at each of the levels."""
    kubectl = scene.cluster.kubectl
    for level in LEVELS:
        kubectl("label", "namespace", scene.space, f"pod-security.kubernetes.io/enforce={level}", "--overwrite")
        for name, (needs, spec) in PODS.items():
            made = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "asked", "namespace": scene.space},
                "spec": spec,
            }
            for role in ("dev", "admin") if level == "restricted" else ("admin",):
                who = ("--as=somebody", f"--as-group=homelab:{role}")
                said = kubectl("create", "--dry-run=server", "-f", "-", *who, text=json.dumps(made), check=False)
                taken = LEVELS.index(needs) <= LEVELS.index(level)
                assert (said.returncode == 0) is taken, (level, name, role, said.stderr)
                assert taken or f'violates PodSecurity "{level}:latest"' in said.stderr, (level, name, said.stderr)
    assert f"Namespace {scene.space}: " in " ".join(scene.probe(CLUSTER).differences), "a label by hand is noticed"


def test_a_persons_own_kubeconfig_has_the_rights_of_their_role(scene: Scene, tmp_path: Path) -> None:
    api = Cluster(scene.cluster.kubeconfig)
    for person, role in (("ada", "admin"), ("ben", "dev"), ("cleo", "guest")):
        file = tmp_path / f"{person}.kubeconfig"
        file.write_text(kubeconfig_for(api, person, role))
        own = Cluster(file)
        assert own.list("v1", "Pod", scene.space) == []
        if role == "admin":
            assert own.list("v1", "Secret", "kube-system") is not None
            continue
        with pytest.raises(Forbidden, match=f'User "{person}" cannot list resource "secrets"'):
            own.list("v1", "Secret", "kube-system")
        with pytest.raises(Forbidden):
            own.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.space}})
    assert scene.cluster.get("certificatesigningrequests")["items"] == []


def test_nobody_reaches_a_pod_of_the_lab_that_nothing_opens(scene: Scene) -> None:
    cluster = scene.cluster
    serve = "mkdir -p /dev/shm/w; echo open >/dev/shm/w/index.html; httpd -f -p 8080 -h /dev/shm/w"
    for name, space, node, command in (
        ("shop", scene.space, "pi-1", serve),
        ("same", scene.space, "pi-2", "sleep 600"),
        ("other", f"{scene.space}-own", "pi-1", "sleep 600"),
    ):
        cluster.apply(pod(space, name, command, node=node, **RESTRICTED))
        cluster.kubectl("wait", "-n", space, "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    address = cluster.get("pod", "shop", "-n", scene.space)["status"]["podIP"]
    fetch = f"timeout 2 wget -q -O - http://{address}:8080/"
    for name, space in (("same", scene.space), ("other", f"{scene.space}-own")):
        cluster.wait_for("nobody gets through", lambda: not says(cluster, space, name, fetch), 20)  # noqa: B023
        assert says(cluster, space, name, "nslookup kubernetes.default.svc.cluster.local"), "names are answered"
    cluster.kubectl("delete", "networkpolicy", "default-deny", "-n", scene.space)
    cluster.kubectl("delete", "networkpolicy", "default-deny", "-n", f"{scene.space}-own")
    cluster.wait_for("without it they do", lambda: says(cluster, scene.space, "same", fetch), 20)


def says(cluster: TestCluster, space: str, name: str, command: str) -> bool:
    """Whether a command inside a pod ends well."""
    return cluster.kubectl("exec", "-n", space, name, "--", "sh", "-c", command, check=False).returncode == 0


def test_a_host_that_did_not_join_is_named_and_nothing_is_called_applied(scene: Scene) -> None:
    lan = scene.cluster.lab.host("pi-1").address.rpartition(".")[0]
    host = f"pi-9: {{board: pi5-8gb, os: raspios, address: {lan}.19, k3s: agent, disks: {{ssd: 250Gi}}}}"
    scene.edit("people:", f"  {host}\npeople:")
    assert "node pi-9 has not joined" in scene.probe(CLUSTER).differences
    before = record(scene.cluster)
    with pytest.raises(HomelabError, match="has not joined the cluster") as caught:
        scene.apply(CLUSTER)
    assert caught.value.problems[0].where == "host pi-9"
    assert "k3s-agent" in caught.value.problems[0].remedy
    assert record(scene.cluster) == before


def record(cluster: TestCluster) -> str:
    """The fingerprint that lies at the cluster."""
    return str(cluster.get("configmap", "homelab", "-n", "kube-system")["data"]["fingerprint"])


def test_taken_away_it_leaves_namespaces_and_nodes(scene: Scene) -> None:
    said = scene.remove(CLUSTER)
    assert said
    assert not scene.probe(CLUSTER).exists
    assert scene.cluster.get("namespace", scene.space)["status"]["phase"] == "Active"
    kinds = "clusterroles,clusterrolebindings,rolebindings,networkpolicies"
    left = scene.cluster.get(kinds, "-A", "-l", ",".join(marks()))
    assert left["items"] == [], json.dumps(left)[:1000]
    assert not scene.may("admin", "delete", "nodes")
    assert scene.cluster.is_ready("pi-2")

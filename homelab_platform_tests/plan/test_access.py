"""Who may do what where, as it follows from the roles of workloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.pod_levels import LEVELS
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.kubernetes.objects import objects_of
from homelab_platform.layers.kubernetes.specs import ClusterSpec
from homelab_platform.paths import project_path
from homelab_platform.plan.access import deployed, namespaces, pod_security
from homelab_platform.plan.specs import read


def lab_of(example: str) -> ResolvedLab:
    file = Path(project_path("examples", example, "lab.yaml"))
    return load_resolved(file, load_catalogue(file.parent / "helm"))


def roles_of(example: str) -> dict[str, list[str]]:
    return namespaces(lab_of(example))


def test_a_dev_has_rights_only_where_nothing_serves_the_platform() -> None:
    """In data-platform lie the superuser's password and the S3 keys, in flux-system an account that may do all."""
    roles = roles_of("pi-cluster")
    assert [name for name, found in roles.items() if "dev" in found] == ["dev"]
    assert roles["monitoring"] == ["guest"]


@pytest.mark.parametrize("example", ["pi-cluster", "single-nixos", "single-pi", "hybrid", "test-lab"])
def test_every_namespace_enforces_the_most_open_level_that_a_workload_of_it_waives(example: str) -> None:
    lab = lab_of(example)
    objects = objects_of(read(ClusterSpec, {"namespaces": namespaces(lab), "pod_security": pod_security(lab)}))
    spaces = {o["metadata"]["name"]: o["metadata"]["labels"] for o in objects if o["kind"] == "Namespace"}
    for name, labels in spaces.items():
        levels = [workload.pod_security for workload in deployed(lab) if workload.namespace == name]
        assert labels["pod-security.kubernetes.io/enforce"] == max(levels, key=LEVELS.index), name


def test_where_devs_have_rights_no_pod_may_have_its_node() -> None:
    lab = lab_of("pi-cluster")
    for name, roles in namespaces(lab).items():
        assert "dev" not in roles or pod_security(lab)[name] != "privileged", name


def test_a_labs_own_level_holds_for_all_its_namespaces_and_is_never_made_stricter_than_a_waiver(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "version: 1\nlab: x\ndomain: x.example.org\ncluster: {pod_security: baseline}\n"
        "hosts:\n  pi: {board: pi5-8gb, os: raspios, k3s: server, disks: {ssd: 250Gi}}\n"
        "storage: {longhorn: {}}\nworkloads:\n  own: {image: 'example.org/own:1'}\n  longhorn:\n"
    )
    levels = pod_security(load_resolved(tmp_path / "lab.yaml", load_catalogue()))
    assert levels["apps"] == "baseline"
    assert levels["longhorn-system"] == "privileged"


def test_ports_of_a_node_and_a_chart_of_ones_own_open_their_namespaces_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "charts" / "notes").mkdir(parents=True)
    (tmp_path / "charts" / "notes" / "Chart.yaml").write_text("apiVersion: v2\nname: notes\nversion: 1.0.0\n")
    (tmp_path / "lab.yaml").write_text(
        "version: 1\nlab: x\ndomain: x.example.org\ncluster: {disable: [servicelb]}\n"
        "hosts:\n  pi: {board: pi5-8gb, os: raspios, k3s: server, address: 192.168.1.2, disks: {ssd: 250Gi}}\n"
        "workloads:\n  web: {image: 'example.org/own:1', namespace: web}\n"
        "  talk: {image: 'example.org/own:1', namespace: talk, ports: {main: 1883}, expose: lan}\n"
        "  notes: {chart: ./charts/notes, namespace: notes}\n"
    )
    levels = pod_security(load_resolved(tmp_path / "lab.yaml", load_catalogue()))
    assert levels == {"web": "restricted", "talk": "privileged", "notes": "baseline"}


def test_a_dev_reads_no_secret_and_opens_no_network() -> None:
    objects = objects_of(read(ClusterSpec, {"namespaces": roles_of("pi-cluster")}))
    (dev,) = (o for o in objects if o["kind"] == "ClusterRole" and o["metadata"]["name"] == "homelab-dev")
    granted = {resource for rule in dev["rules"] for resource in rule["resources"]}
    assert not granted & {"secrets", "roles", "rolebindings", "serviceaccounts", "serviceaccounts/token", "nodes", "*"}
    policies = [rule for rule in dev["rules"] if "networkpolicies" in rule["resources"]]
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in policies)

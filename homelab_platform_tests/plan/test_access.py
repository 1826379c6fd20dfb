"""Who may do what where, as it follows from the roles of workloads."""

from __future__ import annotations

from pathlib import Path

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.layers.kubernetes.objects import objects_of
from homelab_platform.paths import project_path
from homelab_platform.plan.access import namespaces


def roles_of(example: str) -> dict[str, list[str]]:
    return namespaces(load_resolved(Path(project_path("examples", example, "lab.yaml")), load_catalogue()))


def test_a_dev_has_rights_only_where_nothing_serves_the_platform() -> None:
    """In data-platform lie the superuser's password and the S3 keys, in flux-system an account that may do all."""
    roles = roles_of("pi-cluster")
    assert [name for name, found in roles.items() if "dev" in found] == ["dev"]
    assert roles["monitoring"] == ["guest"]


def test_where_devs_start_pods_the_namespace_refuses_those_that_have_the_node() -> None:
    objects = objects_of({"namespaces": roles_of("pi-cluster")})
    spaces = {o["metadata"]["name"]: o["metadata"]["labels"] for o in objects if o["kind"] == "Namespace"}
    enforced = {n for n, labels in spaces.items() if labels.get("pod-security.kubernetes.io/enforce") == "baseline"}
    assert enforced == {"dev"}
    (dev,) = (o for o in objects if o["kind"] == "ClusterRole" and o["metadata"]["name"] == "homelab-dev")
    granted = {resource for rule in dev["rules"] for resource in rule["resources"]}
    assert not granted & {"secrets", "roles", "rolebindings", "serviceaccounts", "serviceaccounts/token", "nodes", "*"}
    policies = [rule for rule in dev["rules"] if "networkpolicies" in rule["resources"]]
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in policies)

"""What keeps pods on a node that is to be cordoned, by the objects alone (a real node: test_patch_real_node.py)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.nodes import ClusterNodes, selects

LAKE, OTHER = {"cnpg.io/cluster": "lake"}, {"cnpg.io/cluster": "other"}


class Objects:
    """A cluster of these objects, by kind."""

    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self._objects = objects

    def list(self, _version: str, kind: str) -> list[dict[str, Any]]:
        return self._objects.get(kind, [])


def node(name: str, *, cordoned: bool = False) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": ready}


def pod(
    name: str, where: str, labels: dict[str, str], *, owner: str = "ReplicaSet", ready: bool = True
) -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "db", "labels": labels, "ownerReferences": owners},
        "spec": {"nodeName": where},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def budget(allowed: int, labels: dict[str, str]) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": labels}}
    return {"metadata": {"name": "keep", "namespace": "db"}, "spec": spec, "status": {"disruptionsAllowed": allowed}}


def obstacles(*pods: dict[str, Any], keep: dict[str, Any], others: bool = True) -> list[str]:
    nodes = [node("a"), node("b"), node("c", cordoned=True)]
    objects = Objects(Pod=list(pods), Node=nodes, PodDisruptionBudget=[keep])
    return ClusterNodes(cast("Cluster", objects)).obstacles("a", others=others)


def test_a_budget_must_let_one_pod_go_or_all_where_no_other_node_takes_them() -> None:
    label = {"app": "web"}
    web = [pod("web-1", "a", label), pod("web-2", "a", label)]
    assert obstacles(*web, keep=budget(1, label)) == []
    (found,) = obstacles(*web, keep=budget(0, label))
    assert found == "PodDisruptionBudget db/keep allows 0 of 2 pods to leave (such as db/web-1)"
    assert len(obstacles(*web, keep=budget(1, label), others=False)) == 1
    assert obstacles(*web, keep=budget(2, label), others=False) == []
    assert obstacles(pod("web-1", "b", label), keep=budget(0, label)) == []


def test_pods_of_daemonsets_stay_and_pods_of_nobody_are_named() -> None:
    keep = budget(0, {"app": "agent"})
    assert obstacles(pod("agent", "a", {"app": "agent"}, owner="DaemonSet"), keep=keep) == []
    (found,) = obstacles(pod("by-hand", "a", {}, owner=""), keep=keep)
    assert found == "pod db/by-hand has no controller: it would not come back"


def test_a_primary_of_cloudnative_pg_moves_only_where_a_replica_is_ready_elsewhere() -> None:
    role = {"cnpg.io/instanceRole": "primary"}
    primary, keep = pod("lake-1", "a", LAKE | role, owner="Cluster"), budget(0, LAKE | role)
    assert obstacles(primary, pod("lake-2", "b", LAKE, owner="Cluster"), keep=keep) == []
    for replica in (
        pod("lake-2", "b", LAKE, owner="Cluster", ready=False),
        pod("lake-2", "c", LAKE, owner="Cluster"),
        pod("other-2", "b", OTHER, owner="Cluster"),
    ):
        assert len(obstacles(primary, replica, keep=keep)) == 1


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors_are_kubernetes_own(selector: dict[str, object], selected: bool) -> None:
    assert selects(selector, {"app": "web"}) is selected

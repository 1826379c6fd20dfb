"""The Kubernetes objects that every lab's cluster has before its first workload: namespaces, roles, network policies.

Belongs here: pure functions from the cluster's document to objects. Not here: writing them (cluster.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]
PART_OF = {"app.kubernetes.io/part-of": "homelab", "app.kubernetes.io/managed-by": "homelab"}
GROUP = "homelab"
"""Client certificates of people carry the group `homelab:<role>`."""
DNS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}


def objects_of(document: Mapping[str, Any]) -> list[Object]:
    """Everything that the cluster's document asks for beside its nodes, in an order in which it can be applied."""
    spaces: Mapping[str, Sequence[str]] = document.get("namespaces") or {}
    found = [_namespace(name) for name in sorted(spaces)]
    found += [_guest_role(), _dev_role(), _admins()]
    for name, roles in sorted(spaces.items()):
        found += [_default_deny(name), *_bindings(name, roles)]
    return found


def flow_policy(namespace: str, workload: str, callers: Sequence[str]) -> Object:
    """The policy of a workload whose vendor's chart brings none: callers of the lab, its own parts, any way out."""
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": workload}}}
    lab = [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/instance": caller}}}
        for caller in callers
    ]
    entrance: Object = {} if "any" in callers else {"from": [own, *lab]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(f"flows-{workload}", namespace),
        "spec": {**own, "policyTypes": ["Ingress", "Egress"], "ingress": [entrance], "egress": [{}]},
    }


def _meta(name: str, namespace: str | None = None) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(PART_OF)}


def _namespace(name: str) -> Object:
    meta = _meta(name)
    meta["labels"] |= {
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _default_deny(namespace: str) -> Object:
    """Nothing gets in or out but questions to the cluster's DNS; each workload's own policy opens what it needs."""
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta("default-deny", namespace),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [dict(DNS)], "ports": ports}],
        },
    }


def _role_binding(namespace: str, role: str, granted: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _meta(f"homelab-{role}", namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": granted},
        "subjects": [_group(role)],
    }


def _group(role: str) -> Object:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"{GROUP}:{role}"}


def _bindings(namespace: str, roles: Sequence[str]) -> list[Object]:
    """dev may change what runs in the namespaces of its workloads; guest may look."""
    found = []
    if "dev" in roles:
        found.append(_role_binding(namespace, "dev", "homelab-dev"))
    if "guest" in roles:
        found.append(_role_binding(namespace, "guest", "homelab-guest"))
    return found


LOOK = ["get", "list", "watch"]
CHANGE = [*LOOK, "create", "update", "patch", "delete", "deletecollection"]


def _dev_role() -> Object:
    """Workloads and what they take, their logs, a shell in them: Kubernetes' own `edit` but for network policies, which
    would let a dev open what the lab keeps shut. Roles, quotas and limits are not theirs either.
    """
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": _meta("homelab-dev"),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims"],
                "verbs": CHANGE,
            },
            {
                "apiGroups": [""],
                "resources": ["pods/exec", "pods/attach", "pods/portforward"],
                "verbs": ["get", "create"],
            },
            {
                "apiGroups": [""],
                "resources": ["pods/log", "pods/status", "events", "endpoints", "resourcequotas", "limitranges"],
                "verbs": LOOK,
            },
            {
                "apiGroups": ["apps"],
                "resources": ["deployments", "statefulsets", "daemonsets", "replicasets", "deployments/scale"],
                "verbs": CHANGE,
            },
            {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": CHANGE},
            {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": CHANGE},
            {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": CHANGE},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": LOOK},
        ],
    }


def _guest_role() -> Object:
    """What runs, and whether it is well: no secrets, no configuration, no logs."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": _meta("homelab-guest"),
        "rules": [
            {"apiGroups": [""], "resources": ["pods", "services"], "verbs": LOOK},
            {
                "apiGroups": ["apps"],
                "resources": ["deployments", "statefulsets", "daemonsets"],
                "verbs": LOOK,
            },
        ],
    }


def _admins() -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta("homelab-admin"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [_group("admin")],
    }

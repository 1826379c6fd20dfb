"""The Kubernetes objects that every lab's cluster has before its first workload: namespaces, roles, network policies.

Belongs here: pure functions from the cluster's document to objects. Not here: writing them (cluster.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homelab_platform.layers.kubernetes.specs import ClusterSpec, MediaSpec

Object = dict[str, Any]
PART_OF = {"app.kubernetes.io/part-of": "homelab", "app.kubernetes.io/managed-by": "homelab"}
GROUP = "homelab"
"""Client certificates of people carry the group `homelab:<role>`."""
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""The cluster's own: default-deny there would cut it off from its DNS and its parts from the API server."""
MEDIA = "media"
"""The storage class of the lab's media folder, and the claim of it that a namespace has."""
DNS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}


def objects_of(spec: ClusterSpec) -> list[Object]:
    """Everything that the cluster's document asks for beside its nodes, in an order in which it can be applied."""
    spaces, levels = spec.namespaces, spec.pod_security
    found = [_namespace(name, levels.get(name, "restricted")) for name in sorted(set(spaces) - SYSTEM_NAMESPACES)]
    found += [_guest_role(), _dev_role(), _admins()]
    for name, roles in sorted(spaces.items()):
        found += [_default_deny(name)] if name not in SYSTEM_NAMESPACES else []
        found += _bindings(name, roles)
    return [*found, *_media(spec.media)]


def _media(media: MediaSpec | None) -> list[Object]:
    """The lab's one media folder as a volume and a claim in each namespace whose workloads use it.

    All claims lead to the same folder, so that a hard link from downloads to media stays one file.
    """
    found: list[Object] = []
    if media is None:
        return found
    for namespace in media.namespaces:
        name = f"media-{namespace}"
        size = {"storage": f"{media.size // 1024**2}Mi"}
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": MEDIA}
        volume = {
            **common, "capacity": size, "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
            "claimRef": {"namespace": namespace, "name": MEDIA}, **media.source,
        }  # fmt: skip
        found.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": _meta(name), "spec": volume})
        claim = {**common, "resources": {"requests": size}, "volumeName": name}
        meta = _meta(MEDIA, namespace)
        found.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim})
    return found


def flow_policies(flows: Flows) -> list[Object]:
    """The policies of a workload whose vendor's chart brings none: callers of the lab, its own parts, any way out.

    One for each set of labels that its pods are known by. The API server calls webhooks from a node's address, which no
    selector of pods lets in. None in the cluster's own namespaces.
    """
    if flows.namespace in SYSTEM_NAMESPACES:
        return []
    own = [{"podSelector": {"matchLabels": dict(labels)}} for labels in flows.pods]
    lab = [{"namespaceSelector": {}, "podSelector": {"matchLabels": dict(labels)}} for labels in flows.callers]
    entrance: list[Object] = [{}] if flows.anyone else [{"from": [*own, *lab]}]
    if flows.webhooks and flows.nodes and not flows.anyone:
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in flows.nodes]
        entrance.append({"from": blocks, "ports": [{"port": port, "protocol": "TCP"} for port in flows.webhooks]})
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _flows_meta(flows, index),
            "spec": {**selector, "policyTypes": ["Ingress", "Egress"], "ingress": entrance, "egress": [{}]},
        }
        for index, selector in enumerate(own)
    ]


def _flows_meta(flows: Flows, index: int) -> Object:
    meta = _meta(f"flows-{flows.workload}{f'-{index}' if index else ''}", flows.namespace)
    meta["labels"]["homelab/flows"] = flows.workload
    return meta


@dataclass(frozen=True)
class Flows:
    """Who may reach a workload: sets of labels of its own `pods` and of its `callers`, or `anyone`; at which ports the
    API server calls it (`webhooks`), and the networks of the `nodes` that it calls from."""

    namespace: str
    workload: str
    pods: tuple[Mapping[str, str], ...]
    callers: tuple[Mapping[str, str], ...] = ()
    anyone: bool = False
    webhooks: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()


def _meta(name: str, namespace: str | None = None) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(PART_OF)}


def _namespace(name: str, level: str) -> Object:
    """A namespace whose API server refuses pods beyond a level of the Pod Security Standards, and warns of those beyond
    the strictest."""
    meta = _meta(name)
    meta["labels"] |= {
        "pod-security.kubernetes.io/enforce": level,
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
    """Workloads and what they take, their logs, a shell in them: Kubernetes' own `edit` but for Secrets, which hold
    what the lab made for others, and network policies, which would let a dev open what the lab keeps shut. Roles,
    quotas and limits are not theirs either.
    """
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": _meta("homelab-dev"),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["pods", "services", "configmaps", "persistentvolumeclaims"],
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

"""The lab's Kubernetes cluster: its nodes with labels and taints, and what every cluster has before its workloads.

Belongs here: comparing and applying it. Not here: which objects there are (objects.py), installing k3s on a
host (a host's own layer), or workloads (workloads.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.layers.kubernetes.objects import PART_OF, objects_of
from homelab_platform.layers.kubernetes.specs import ClusterSpec, NodeSpec
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.specs import read
from homelab_platform.tools.kube import drift
from homelab_platform.tools.kube.api import Cluster, Object, name_of
from homelab_platform.wire.json_types import Document

RECORD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "homelab", "namespace": "kube-system"}}
"""Carries the fingerprint, at the cluster itself."""
_KINDS = (
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
)
"""Kinds of which the cluster holds none of ours that the lab does not ask for; namespaces may hold data and stay."""


class ClusterAdapter:
    """The one cluster of a lab."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def probe(self, desired: DesiredState) -> Observation:
        """Nodes, objects, and the record of what was last applied."""
        spec = read(ClusterSpec, desired.document)
        record = self._cluster.get(RECORD)
        nodes = {node["metadata"]["name"]: node for node in self._cluster.list("v1", "Node")}
        differences = [*_node_differences(spec, nodes)]
        if record is not None:
            for wanted in objects_of(spec):
                differences += [difference.line() for difference in drift.differences(self._cluster, wanted)]
            differences += [f"{name_of(item)} is not asked for" for item in self._left_over(spec)]
        facts = {
            "version": self._cluster.version(),
            "nodes": ", ".join(f"{n} {_state(nodes[n])}" for n in sorted(nodes)),
        }
        fingerprint = str(((record or {}).get("data") or {}).get("fingerprint", ""))
        return Observation(record is not None, fingerprint, tuple(differences), facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Label and taint nodes, apply objects, take away ours that nobody asks for, and then leave the fingerprint.

        Raises HomelabError when a node of the lab has not joined.
        """
        spec = read(ClusterSpec, desired.document)
        nodes = {node["metadata"]["name"]: node for node in self._cluster.list("v1", "Node")}
        missing = sorted(set(spec.nodes) - set(nodes))
        if missing:
            raise HomelabError.of(
                f"host {missing[0]}",
                f"has not joined the cluster{f' (nor {len(missing) - 1} more)' if len(missing) > 1 else ''}",
                f"Look there with `journalctl -u k3s-agent`; apply host/{missing[0]} again if k3s is not installed.",
            )
        for name, wanted in spec.nodes.items():
            self._node(nodes[name], wanted, say)
        for item in objects_of(spec):
            for difference in drift.put_back(self._cluster, item):
                say(difference.line() if difference.path else f"making {name_of(item)}")
        for item in self._left_over(spec):
            say(f"taking away {name_of(item)}")
            self._cluster.delete(item)
        self._cluster.apply({**RECORD, "data": {"fingerprint": desired.fingerprint}})

    def _node(self, node: Object, wanted: NodeSpec, say: Say) -> None:
        name, labels = node["metadata"]["name"], wanted.labels
        has = node["metadata"].get("labels") or {}
        if any(has.get(key) != value for key, value in labels.items()):
            say(f"labelling {name}")
        # applied even when empty: labels that we set before and that the lab no longer names go
        metadata = {"name": name, "labels": dict(labels)}
        self._cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        taints = _taints(wanted)
        if _own_taints(node) != taints:
            say(f"tainting {name}")
            fresh = copy.deepcopy(self._cluster.get(node) or node)
            others = [t for t in (fresh["spec"].get("taints") or ()) if t["key"].startswith("node.kubernetes.io/")]
            fresh["spec"]["taints"] = [*others, *({"key": k, "value": v, "effect": e} for k, v, e in sorted(taints))]
            fresh["metadata"].pop("managedFields", None)
            self._cluster.replace(fresh)

    def _left_over(self, spec: ClusterSpec) -> list[Object]:
        wanted = {name_of(item) for item in objects_of(spec)}
        marks = ",".join(f"{key}={value}" for key, value in PART_OF.items())
        found = [item for version, kind in _KINDS for item in self._cluster.list(version, kind, labels=marks)]
        # what belongs to one workload is that workload's own
        found = [item for item in found if not item["metadata"]["name"].startswith("flows-")]
        return [item for item in found if name_of(item) not in wanted]

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Take our roles and policies away; nodes, namespaces and what runs in them stay."""
        for item in self._left_over(ClusterSpec()):
            self._cluster.delete(item)
        for item in objects_of(ClusterSpec()):
            self._cluster.delete(item)
        self._cluster.delete(RECORD)
        say("roles, policies and the record are gone; nodes and namespaces stay as they are")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Its nodes."""
        rows = [
            {
                "node": node["metadata"]["name"],
                "state": _state(node),
                "version": node["status"]["nodeInfo"]["kubeletVersion"],
                "arch": node["status"]["nodeInfo"]["architecture"],
                "memory": node["status"]["allocatable"].get("memory", "?"),
            }
            for node in sorted(self._cluster.list("v1", "Node"), key=lambda item: item["metadata"]["name"])
        ]
        yield Exhibit("nodes", "table", rows)


def _state(node: Object) -> str:
    ready: Object = next((c for c in node["status"].get("conditions") or () if c["type"] == "Ready"), {})
    cordoned = ", cordoned" if (node.get("spec") or {}).get("unschedulable") else ""
    return ("ready" if ready.get("status") == "True" else "not ready") + cordoned


def _node_differences(spec: ClusterSpec, nodes: Mapping[str, Object]) -> Iterable[str]:
    for name, wanted in spec.nodes.items():
        if name not in nodes:
            yield f"node {name} has not joined"
            continue
        has = nodes[name]["metadata"].get("labels") or {}
        for key, value in wanted.labels.items():
            if has.get(key) != value:
                yield f"node {name}: label {key} is {has.get(key, 'gone')}, should be {value}"
        if _own_taints(nodes[name]) != _taints(wanted):
            yield f"node {name}: its taints are {_shown(_own_taints(nodes[name]))}, should be {_shown(_taints(wanted))}"


Taint = tuple[str, str, str]


def _taints(wanted: NodeSpec) -> set[Taint]:
    """`key=value:Effect`, as the lab writes them."""
    found = set()
    for text in wanted.taints:
        head, _, effect = text.rpartition(":")
        key, _, value = head.partition("=")
        found.add((key, value, effect))
    return found


def _own_taints(node: Object) -> set[Taint]:
    """Those that people set; the cluster's own come and go with a node's health."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return {
        (t["key"], t.get("value", ""), t["effect"]) for t in taints if not t["key"].startswith("node.kubernetes.io/")
    }


def _shown(taints: set[Taint]) -> str:
    return ", ".join(f"{key}{'=' + value if value else ''}:{effect}" for key, value, effect in sorted(taints)) or "none"

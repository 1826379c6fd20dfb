"""Nodes of a cluster: cordoning one for a run, and what must leave it before it goes down.

Belongs here: reading and writing the nodes' own objects, pods and disruption budgets. Not here: how long is waited, or
why a node goes down (operations/patch.py).

A cordon of ours carries the run that made it as an annotation. One without it is somebody else's and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.api import Cluster, ClusterError, ClusterUnreachable, Object
from homelab_platform.tools.kube.health import CONTROLLERS, pod_counts

RUN_ANNOTATION = "homelab/patch-run"
CNPG_LABEL = "cnpg.io/cluster"
"""On the pods and in the budgets of a database that CloudNativePG keeps: which one."""
WRITES = 5
"""How often a node is read and written again when the kubelet wrote it in between."""
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class NodeState:
    """A node: `boot` is the id of the boot that its kubelet last reported, `run` the run of ours that cordoned it."""

    name: str
    ready: bool
    boot: str
    cordoned: bool
    run: str

    @property
    def takes_pods(self) -> bool:
        """Whether pods that leave another node may come here."""
        return self.ready and not self.cordoned


@dataclass(frozen=True)
class PodRef:
    """A pod on a node; `leaving` says that it was asked to go."""

    namespace: str
    name: str
    leaving: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ClusterNodes:
    """The nodes of one cluster through its API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def states(self) -> dict[str, NodeState]:
        """Every node by name. Raises ClusterUnreachable while the API server does not answer."""
        return {state.name: state for state in map(_state, self._cluster.list("v1", "Node"))}

    def cordon(self, name: str, run: str) -> bool:
        """Keep new pods from a node, for a run; False where somebody else's cordon is there, which stays as it is."""
        return self._write(name, run, cordon=True)

    def uncordon(self, name: str, run: str) -> bool:
        """Take back the cordon that this run made; False where there is none of it, and nothing is changed."""
        return self._write(name, run, cordon=False)

    def _write(self, name: str, run: str, *, cordon: bool) -> bool:
        for attempt in range(WRITES):
            node = self._node(name)
            state = _state(node)
            if cordon and state.cordoned:
                return state.run == run
            if not cordon and state.run != run:
                return False
            annotations = node["metadata"].setdefault("annotations", {})
            if cordon:
                annotations[RUN_ANNOTATION] = run
            else:
                annotations.pop(RUN_ANNOTATION, None)
            node["spec"]["unschedulable"] = cordon
            try:
                self._cluster.patiently(lambda found=node: self._cluster.replace(found))  # type: ignore[misc]
            except ClusterUnreachable:
                raise
            except ClusterError:  # somebody wrote it since it was read
                if attempt == WRITES - 1:
                    raise
            else:
                return True
        return False

    def _node(self, name: str) -> Object:
        manifest: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        node = self._cluster.patiently(lambda: self._cluster.get(manifest))
        if node is None:
            raise HomelabError.of(f"node {name}", "the cluster has no such node", "Is its k3s running? homelab apply.")
        return node

    def to_leave(self, name: str) -> list[PodRef]:
        """Pods that must leave a node before it goes down: all but those of DaemonSets, static ones, and ended ones."""
        return [_ref(pod) for pod in self._pods(name) if _must_leave(pod)]

    def _pods(self, name: str) -> list[Object]:
        return [pod for pod in self._cluster.list("v1", "Pod") if _node_of(pod) == name]

    def evict(self, pod: PodRef) -> str:
        """Ask a pod to leave; why it may not now, empty if it was asked."""
        return self._cluster.evict(pod.namespace, pod.name)

    def obstacles(self, name: str, *, others: bool) -> list[str]:
        """Why the pods of a node would not leave it once it is cordoned; `others`: another node could take them.

        A budget that allows no disruption now never lets the first pod go. Where no other node takes pods, a budget
        must allow all of its pods here at once, as none is replaced before the node is back. The budget of a primary
        that CloudNativePG keeps is no obstacle where a replica is ready elsewhere: it is promoted at the cordon.
        """
        everywhere = self._cluster.list("v1", "Pod")
        leaving = [pod for pod in everywhere if _node_of(pod) == name and _must_leave(pod)]
        free = {state.name for state in self.states().values() if state.takes_pods and state.name != name}
        found = [f"pod {_ref(pod)} has no controller: it would not come back" for pod in leaving if not _owners(pod)]
        for budget in self._cluster.list("policy/v1", "PodDisruptionBudget"):
            chosen = [pod for pod in leaving if _selects(budget, pod)]
            allowed = int((budget.get("status") or {}).get("disruptionsAllowed") or 0)
            need = 1 if others else len(chosen)
            if chosen and allowed < need and not _switches_over(budget, everywhere, free):
                meta = budget["metadata"]
                found.append(
                    f"PodDisruptionBudget {meta['namespace']}/{meta['name']} allows {allowed} of {len(chosen)} pods "
                    f"to leave (such as {_ref(chosen[0])})"
                )
        return found

    def unready(self) -> frozenset[str]:
        """Controllers that have fewer pods ready than they want, as `Kind namespace/name`."""
        return frozenset(
            f"{kind} {item['metadata']['namespace']}/{item['metadata']['name']}"
            for kind in sorted(CONTROLLERS)
            for item in self._cluster.list("apps/v1", kind)
            if _lacks_pods(kind, item)
        )


def _lacks_pods(kind: str, item: Object) -> bool:
    ready, wanted = pod_counts(kind, item)
    return ready < wanted


def _is_ready(item: Object) -> bool:
    """Whether a node or a pod says that it is Ready."""
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _state(node: Object) -> NodeState:
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    boot = str((status.get("nodeInfo") or {}).get("bootID") or "")
    run = str((meta.get("annotations") or {}).get(RUN_ANNOTATION) or "")
    return NodeState(str(meta["name"]), _is_ready(node), boot, bool(spec.get("unschedulable")), run)


def _ref(pod: Object) -> PodRef:
    meta = pod["metadata"]
    return PodRef(str(meta["namespace"]), str(meta["name"]), bool(meta.get("deletionTimestamp")))


def _owners(pod: Object) -> list[str]:
    owners = pod["metadata"].get("ownerReferences") or ()
    return [str(owner.get("kind")) for owner in owners if owner.get("controller")]


def _must_leave(pod: Object) -> bool:
    mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    ended = (pod.get("status") or {}).get("phase") in _ENDED
    return not (mirror or ended or "DaemonSet" in _owners(pod))


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _switches_over(budget: Object, pods: list[Object], free: set[str]) -> bool:
    """Whether CloudNativePG moves what a budget protects once its node is cordoned: another instance of the same
    database is ready on a node that takes pods (https://cloudnative-pg.io/documentation, Kubernetes Upgrade).
    """
    selector = (budget.get("spec") or {}).get("selector") or {}
    database = (selector.get("matchLabels") or {}).get(CNPG_LABEL)
    return database is not None and any(
        pod["metadata"]["namespace"] == budget["metadata"]["namespace"]
        and (pod["metadata"].get("labels") or {}).get(CNPG_LABEL) == database
        and _node_of(pod) in free
        and _is_ready(pod)
        for pod in pods
    )


def _selects(budget: Object, pod: Object) -> bool:
    """Whether a budget counts a pod (labels.Selector of the API: an empty selector selects all of the namespace)."""
    if budget["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    selector: Mapping[str, object] | None = (budget.get("spec") or {}).get("selector")
    return selector is not None and selects(selector, pod["metadata"].get("labels") or {})


def selects(selector: Mapping[str, object], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes selects an object with these labels."""
    wanted = selector.get("matchLabels")
    if isinstance(wanted, Mapping) and any(labels.get(key) != value for key, value in wanted.items()):
        return False
    rules = selector.get("matchExpressions")
    return all(_holds(rule, labels) for rule in (rules if isinstance(rules, list) else ()))


def _holds(rule: Mapping[str, object], labels: Mapping[str, str]) -> bool:
    key, operator, values = str(rule["key"]), rule["operator"], rule.get("values")
    options = values if isinstance(values, list) else []
    if operator == "In":
        return labels.get(key) in options
    if operator == "NotIn":
        return labels.get(key) not in options
    return (key in labels) == (operator == "Exists")

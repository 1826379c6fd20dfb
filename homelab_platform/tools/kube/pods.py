"""What pods say of themselves when they do not come up: image, crash, no room, no volume; and what helps.

Belongs here: reading pods, their claims and their events. Not here: what is done about it (releases.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.api import Cluster, Object, name_of

WAYS_OUT = (
    (("ErrImageNeverPull",), "Bring the image to that node (nothing here may pull it), or name another: image:."),
    (("ErrImagePull", "ImagePullBackOff"), "Correct image:, or look whether that node reaches the registry."),
    (("InvalidImageName",), "Correct image:; a name is registry/name:tag."),
    (("CreateContainerConfigError",), "Make the Secret or ConfigMap that it names, and apply again."),
    (("FailedMount",), "Make the Secret or volume that it waits for, and apply again."),
    (("OOMKilled",), "Give it more memory: memory:."),
    (("Unschedulable",), "Make room on a node, or let it run on another: on:."),
    (("field is immutable",), "Delete that object (kubectl delete) and apply again, or make it a hook of its chart."),
    (("waits for a volume",), "Look whether the cluster has that storage class: kubectl get storageclass."),
)
"""What a person does about each word that pods say of themselves."""


def way_out(said: str) -> str | None:
    """What a person does about what pods said; None where nothing better is known than to look."""
    return next((way for words, way in WAYS_OUT if any(word in said for word in words)), None)


HOPELESS = (
    (("ErrImageNeverPull", "InvalidImageName"), 15.0),
    (("CreateContainerConfigError",), 60.0),
    (("CrashLoopBackOff",), 90.0),
    (("ErrImagePull", "ImagePullBackOff"), 120.0),
    (("Insufficient", "didn't match", "untolerated taint", "didn't tolerate"), 120.0),
)
"""Words of pods that waiting does not cure, and for how many seconds it is waited all the same: a Secret may be a
moment late, a registry may have hiccups, a database may come up after the third crash, an old pod may make room."""


KILLED = "exit code 137"
"""What a container says that was ended from outside: why, only its events tell."""


@dataclass
class Hope:
    """Whether pods may still come up; asked again and again with what they say. `clock` counts seconds."""

    clock: Callable[[], float] = time.monotonic
    _since: dict[tuple[str, ...], float] = field(default_factory=dict)

    def gone(self, reasons: Iterable[str]) -> bool:
        """Whether one of these reasons is of a kind that lasts for longer than waiting helps."""
        said, now = " ".join(reasons), self.clock()
        return any(
            now - self._since.setdefault(words, now) >= patience
            for words, patience in HOPELESS
            if any(word in said for word in words)
        )


def why_not_ready(cluster: Cluster, namespace: str, name: str) -> list[str]:
    """What the pods of a release say of themselves when they are not ready: image, crash, no room, no volume."""
    try:
        pods = cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/instance={name}")
        claims = cluster.list("v1", "PersistentVolumeClaim", namespace, f"app.kubernetes.io/instance={name}")
    except HomelabError:
        return []
    found = [
        f"{name_of(claim)} waits for a volume of class {claim['spec'].get('storageClassName', 'default')}"
        for claim in claims
        if (claim.get("status") or {}).get("phase") == "Pending"
    ]
    for pod in pods:
        if (pod.get("status") or {}).get("phase") == "Succeeded":
            continue  # a Job that is done
        node = (pod.get("spec") or {}).get("nodeName")
        reasons = _pod_reasons(pod)
        if not reasons or any(KILLED in reason for reason in reasons):
            reasons = [*_complaints(cluster, pod), *reasons]
        found += [f"{name_of(pod)}{f' on {node}' if node else ''}: {reason}" for reason in reasons]
    return sorted(set(found))[:6]


def free_stuck(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete pods of the release's StatefulSets that cannot come up by a former template; the set makes them anew.

    Kubernetes waits for such a pod for ever, also once the template is right again
    (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback). Its volumes stay. One that
    runs and is not ready is left alone: a database that recovers would never get to its end.
    """
    try:
        for each in cluster.list("apps/v1", "StatefulSet", namespace):
            if (each["metadata"].get("annotations") or {}).get("meta.helm.sh/release-name") == name:
                for pod in _stuck(cluster, each):
                    cluster.delete(pod)
    except HomelabError:
        return  # it is tried again while it is waited for


def _stuck(cluster: Cluster, each: Object) -> list[Object]:
    status, strategy = each.get("status") or {}, each["spec"].get("updateStrategy") or {}
    by_hand = strategy.get("type") == "OnDelete" or (strategy.get("rollingUpdate") or {}).get("partition")
    if by_hand or status.get("observedGeneration") != each["metadata"].get("generation"):
        return []
    labels = ",".join(f"{key}={value}" for key, value in (each["spec"]["selector"].get("matchLabels") or {}).items())
    own, wanted = each["metadata"]["uid"], status.get("updateRevision")
    return [
        pod
        for pod in cluster.list("v1", "Pod", each["metadata"]["namespace"], labels)
        if any(owner["uid"] == own for owner in pod["metadata"].get("ownerReferences") or ())
        and (pod["metadata"].get("labels") or {}).get("controller-revision-hash") != wanted
        and "deletionTimestamp" not in pod["metadata"]
        and cannot_come_up(pod)
    ]


def cannot_come_up(pod: Object) -> bool:
    """Whether a pod says of itself something that waiting does not cure."""
    return any(word in reason for reason in _pod_reasons(pod) for words, _ in HOPELESS for word in words)


def _complaints(cluster: Cluster, pod: Object) -> list[str]:
    """The last warning about a pod that is not ready and says nothing itself: a probe that fails, a missing Secret."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions):
        return []
    try:
        events = cluster.list("v1", "Event", pod["metadata"]["namespace"])
    except HomelabError:
        return []
    about = [
        event
        for event in events
        if event.get("type") == "Warning" and (event.get("involvedObject") or {}).get("uid") == pod["metadata"]["uid"]
    ]
    # A failed probe is why Kubernetes restarts a container; that it restarts it, is what its other warnings say.
    about.sort(
        key=lambda said: (said.get("reason") == "Unhealthy", said.get("lastTimestamp") or said.get("eventTime") or "")
    )
    return [f"{event.get('reason', '')}: {' '.join(str(event.get('message', '')).split())}" for event in about[-1:]]


def _pod_reasons(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    found = [
        f"Unschedulable: {condition.get('message', 'no node takes it')}"
        for condition in status.get("conditions") or ()
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found += _container_reasons(container)
    return found


def _container_reasons(container: Object) -> list[str]:
    """Why a container does not run, or ran and ended; nothing of one that runs or is about to start."""
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason")
    if reason in ("ContainerCreating", "PodInitializing") and not ended:
        return []
    code = f"exit code {ended['exitCode']}" if "exitCode" in ended else ""
    how = f"{ended['reason']}, {code}" if ended.get("reason", "Error") not in ("Error", "Completed") else code
    words = [line.strip() for line in str(ended.get("message") or "").splitlines() if line.strip()]
    how += f"; its last words: {words[-1][:200]}" if how and words else ""
    if "running" in state:
        return []
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        message = "" if reason == "CrashLoopBackOff" else waiting.get("message", "")
        return [f"{reason}{f' ({how})' if how else ''}{': ' + message if message else ''}"]
    return [f"it ended ({how})"] if how else []


def logs_of(cluster: Cluster, namespace: str, name: str, lines: int) -> dict[str, str]:
    """The last lines of each container of a release's pods, by `pod/container`; of one that crashed, its last run's."""
    found: dict[str, str] = {}
    for pod in cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/instance={name}"):
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            crashed = "waiting" in (container.get("state") or {}) and bool(container.get("lastState"))
            path = f"/api/v1/namespaces/{namespace}/pods/{name_of(pod)}/log?container={container['name']}"
            status, text = cluster.request(f"{path}&tailLines={lines}{'&previous=true' if crashed else ''}")
            where = f"{name_of(pod)}/{container['name']}"
            found[where] = text if status == 200 else f"no log: {' '.join(text.split())[:200]}"
    return found

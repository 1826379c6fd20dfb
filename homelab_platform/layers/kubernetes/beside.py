"""Objects beside a workload's release: applied, compared, pruned.

Belongs here: writing and reading them. Not here: which there are (plan/workload/manifests.py).

What a chart's pods stand on (claims, ConfigMaps, Services) is written before the release; objects of a kind that the
release or its operator brings along come after it, tried again while the operator's webhook does not answer. A record
at the cluster says which were written, so that what the lab no longer asks for is taken away; claims and volumes stay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from homelab_platform.names import Say
from homelab_platform.tools.kube import drift
from homelab_platform.tools.kube.api import Cluster, ClusterError, Object, Rejected, name_of

RECORD = "homelab-beside"
KEPT_KINDS = frozenset({"PersistentVolumeClaim", "PersistentVolume"})
RETRY_SECONDS = 2.0


def is_early(item: Object) -> bool:
    """Whether an object is of a kind that every cluster knows, so that it can come before the release."""
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    return not group or group.endswith(".k8s.io") or group in ("apps", "batch", "policy", "autoscaling")


def write(cluster: Cluster, items: Iterable[Object], say: Say, patience: float = 0.0) -> None:
    """Write objects, in order; one that is refused is tried again for `patience` seconds.

    Raises ClusterError for what the cluster does not take by then.
    """
    deadline = time.monotonic() + patience
    for item in items:
        while True:
            try:
                _put(cluster, item, say)
                break
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
                cluster.forget_kinds()


def _put(cluster: Cluster, item: Object, say: Say) -> None:
    for difference in drift.put_back(cluster, item):
        say(difference.line() if difference.path else f"making {name_of(item)}")


def difference_lines(cluster: Cluster, namespace: str, workload: str, items: Sequence[Object]) -> list[str]:
    """Where live objects differ from what they should be, and what of ours nothing asks for."""
    lines: list[str] = []
    for item in items:
        try:
            lines += [difference.line() for difference in drift.differences(cluster, item)]
        except Rejected as error:
            lines.append(f"{name_of(item)}: {error.problems[0].what}")
    lines += [f"{name_of(item)} is not asked for" for item in _left_over(cluster, namespace, workload, items)]
    return lines


def prune(cluster: Cluster, namespace: str, workload: str, items: Sequence[Object], say: Say) -> None:
    """Take away what was written and is no longer asked for, and record what there is now."""
    for item in _left_over(cluster, namespace, workload, items):
        say(f"taking away {name_of(item)}")
        cluster.delete(item)
    rows = [_reference(item) for item in items]
    if rows or cluster.get(_record(namespace, workload)) is not None:
        cluster.apply({**_record(namespace, workload), "data": {"objects": json.dumps(rows, sort_keys=True)}})


def remove_all(cluster: Cluster, namespace: str, workload: str, say: Say) -> None:
    """Take all of them away but claims and volumes, which hold data."""
    for item in _left_over(cluster, namespace, workload, ()):
        say(f"taking away {name_of(item)}")
        cluster.delete(item)
    cluster.delete(_record(namespace, workload))


def _left_over(cluster: Cluster, namespace: str, workload: str, items: Sequence[Object]) -> list[Object]:
    wanted = {name_of(item) for item in items}
    found = []
    for row in recorded(cluster, namespace, workload):
        if row["kind"] in KEPT_KINDS or name_of(row) in wanted:
            continue
        try:
            if cluster.get(row) is not None:
                found.append(row)
        except Rejected:
            continue  # its kind is gone, and with it every object of that kind
    return found


def recorded(cluster: Cluster, namespace: str, workload: str) -> list[Object]:
    """References to the objects that were written for a workload."""
    record = cluster.get(_record(namespace, workload))
    rows: list[Any] = json.loads(((record or {}).get("data") or {}).get("objects") or "[]")
    return [dict(row) for row in rows]


def fingerprint(cluster: Cluster, namespace: str, workload: str) -> str:
    """What was last signed; empty when nothing was, or when objects were written since."""
    record = cluster.get(_record(namespace, workload))
    return str(((record or {}).get("data") or {}).get("fingerprint", ""))


def sign(cluster: Cluster, namespace: str, workload: str, mark: str) -> None:
    """Leave a fingerprint beside the list of what was written."""
    record = cluster.get(_record(namespace, workload))
    data = {**((record or {}).get("data") or {}), "fingerprint": mark}
    cluster.apply({**_record(namespace, workload), "data": data})


def _record(namespace: str, workload: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": f"{RECORD}-{workload}"}
    }  # fmt: skip


def _reference(item: Object) -> Object:
    meta = item["metadata"]
    place = {"namespace": meta["namespace"]} if meta.get("namespace") else {}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"name": meta["name"], **place}}

"""What is shown of a workload: its pods, volumes and releases as tables, and how it differs as lines.

Belongs here: rows and lines for people. Not here: what the differences are (tools/kube/drift.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.tools.kube import drift, releases, volumes
from homelab_platform.tools.kube.api import Cluster, Object

SHOWN = 12
"""Differences that are spelled out; the rest is counted."""


def exhibits(cluster: Cluster, name: str, namespace: str) -> Iterator[Exhibit]:
    """The pods of a release, its volumes where it has some, and its revisions, newest first."""
    running = cluster.list("v1", "Pod", namespace, f"app.kubernetes.io/instance={name}")
    yield Exhibit("pods", "table", [_pod_row(pod) for pod in running])
    known = releases.history(cluster, namespace, name)
    manifest = known[-1].manifest if known else ()
    claims = [
        {"volume": claim["metadata"]["name"], "size": claim["spec"]["resources"]["requests"]["storage"],
         "phase": (claim.get("status") or {}).get("phase", "?")}
        for claim in volumes.claims_of(cluster, namespace, name, manifest)
    ]  # fmt: skip
    if claims:
        yield Exhibit("volumes", "table", claims)
    rows = [
        {"revision": item.revision, "status": item.status, "chart": item.chart, "what": item.description}
        for item in reversed(known)
    ]
    yield Exhibit("releases", "table", rows)


def value_lines(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Which values the release was installed with that are others now, whichever file they stand in."""
    return [
        f"value {path} is {was or 'not set'}, should be {now or 'not set'}"
        for path, was, now in drift.compare(old, new)
    ]


def shortened(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"and {more} more differences"] if more > 0 else lines


def _pod_row(pod: Object) -> dict[str, object]:
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    return {
        "pod": pod["metadata"]["name"],
        "node": (pod.get("spec") or {}).get("nodeName", "none yet"),
        "phase": status.get("phase", "?"),
        "ready": f"{sum(bool(item.get('ready')) for item in containers)}/{len(containers)}",
        "restarts": sum(int(item.get("restartCount", 0)) for item in containers),
    }

"""The volumes of a release: which they are, that they outlive it, and their end on a person's word.

Belongs here: claims (PersistentVolumeClaim) and what is done to them. Not here: the release itself (releases.py). Helm
deletes a claim with its release unless the release's record carries a mark for it
(https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource); our own chart sets that
mark, a vendor's seldom does, so it is set here on whatever lacks it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

from homelab_platform.tools.kube import records
from homelab_platform.tools.kube.api import Cluster, Object, name_of

KEEP = {"helm.sh/resource-policy": "keep"}
MANAGER = "homelab-keeps"
"""Owner of the mark on live claims: another than that of the objects, whose apply would take the mark off again."""
CLAIM = "PersistentVolumeClaim"
GONE_WITHIN = 90.0
"""Seconds in which a claim whose pods are gone should be deleted."""


def claims_of(cluster: Cluster, namespace: str, name: str, manifest: Iterable[Object] = ()) -> list[Object]:
    """The live claims of a release: those with its marks, in its `manifest`, or made for a set of pods in it."""
    objects = list(manifest)
    named = {item["metadata"]["name"] for item in objects if item["kind"] == CLAIM}
    sets = [re.compile(pattern) for item in objects if item["kind"] == "StatefulSet" for pattern in _of_set(item)]
    return [
        claim
        for claim in cluster.list("v1", CLAIM, namespace)
        if (claim["metadata"].get("labels") or {}).get("app.kubernetes.io/instance") == name
        or (claim["metadata"].get("annotations") or {}).get("meta.helm.sh/release-name") == name
        or claim["metadata"]["name"] in named
        or any(pattern.fullmatch(claim["metadata"]["name"]) for pattern in sets)
    ]


def _of_set(pods: Object) -> Iterator[str]:
    """Patterns of the names of the claims that Kubernetes makes for a set: template, set, number."""
    for template in pods["spec"].get("volumeClaimTemplates") or ():
        yield rf"{re.escape(template['metadata']['name'])}-{re.escape(pods['metadata']['name'])}-\d+"


def keep_live(cluster: Cluster, manifest: Iterable[Object]) -> None:
    """Mark the claims of a release in the cluster, so that an upgrade to a chart without them leaves them, and have
    sets of pods leave theirs."""
    for item in manifest:
        identity = {"apiVersion": item["apiVersion"], "kind": item["kind"]}
        metadata = {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]}
        wanted: Object | None = None
        if item["kind"] == CLAIM and not _marked(item):
            wanted = {**identity, "metadata": {**metadata, "annotations": KEEP}}
        if item["kind"] == "StatefulSet" and "Delete" in (item["spec"].get(RETENTION) or {}).values():
            retain = {RETENTION: {"whenDeleted": "Retain", "whenScaled": "Retain"}}
            wanted = {**identity, "metadata": metadata, "spec": retain}
        if wanted is not None and cluster.get(item) is not None:
            cluster.apply(wanted, MANAGER)


RETENTION = "persistentVolumeClaimRetentionPolicy"


def _marked(item: Object) -> bool:
    return KEEP.items() <= (item["metadata"].get("annotations") or {}).items()


def keep_in_records(cluster: Cluster, namespace: str, name: str) -> None:
    """Mark the claims in Helm's own records of a release: it is these that an uninstall asks, not the cluster."""
    for secret in cluster.list("v1", "Secret", namespace, f"owner=helm,name={name}"):
        record = records.unpacked(secret)
        marked = with_marks(record.get("manifest") or "")
        if marked is not None:
            secret["data"]["release"] = records.packed({**record, "manifest": marked})
            cluster.replace(secret)


def with_marks(manifest: str) -> str | None:
    """A rendered manifest with a mark on each claim; None where nothing lacks one."""
    import yaml

    objects = [item for item in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if item]
    lacking = [item for item in objects if item["kind"] == CLAIM and not _marked(item)]
    for item in lacking:
        item["metadata"] = {**item["metadata"], "annotations": {**(item["metadata"].get("annotations") or {}), **KEEP}}
    return str(yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False)) if lacking else None


def delete(cluster: Cluster, claim: Object) -> str:
    """Delete a claim whose pods are gone, and with it its data; what became of it, in words."""
    said = name_of(claim).removeprefix(f"{CLAIM} ")
    volume = (claim.get("spec") or {}).get("volumeName")
    retained = volume and _retained(cluster, volume)
    cluster.delete(claim)
    deadline = time.monotonic() + GONE_WITHIN
    while cluster.get(claim) is not None:
        if time.monotonic() > deadline:
            return f"volume {said} is being deleted; something still uses it"
        time.sleep(0.5)
    if retained:
        return f"volume {said} was deleted; its storage keeps the data as PersistentVolume {volume} (reclaim: Retain)"
    return f"volume {said} was deleted, with its data"


def _retained(cluster: Cluster, volume: str) -> bool:
    found: dict[str, Any] | None = cluster.get(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}}
    )
    return found is not None and found["spec"].get("persistentVolumeReclaimPolicy") == "Retain"

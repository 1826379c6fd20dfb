"""Objects beside a workload's release: pools, issuers, certificates, middlewares, claims, storage classes.

Belongs here: reading `helm/<workload>/manifests.yaml` and its overlays, with the same references as values. Not here:
writing them to a cluster (layers/kubernetes/beside.py).

A file holds `objects:`, a map from a name of one's choice to an object; an overlay adds to it, changes it, or takes one
away (`name: null`). An object of a namespaced kind that names none lies in the workload's own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError, Position
from homelab_platform.lab.yaml_reader import read_yaml
from homelab_platform.plan.references import TEMPLATES, Layer, filled
from homelab_platform.plan.values import overlaid

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload

Object = dict[str, Any]
OWNER = "homelab/beside"
"""The label that says to which workload an object beside a release belongs."""
CLUSTER_WIDE = frozenset(
    {"Namespace", "PersistentVolume", "StorageClass", "ClusterRole", "ClusterRoleBinding", "ClusterIssuer",
     "PriorityClass", "IngressClass", "CSIDriver", "RuntimeClass", "CustomResourceDefinition"}
)  # fmt: skip


def manifests_of(lab: ResolvedLab, workload: ResolvedWorkload, lab_folder: Path | None = None) -> list[Object]:
    """The objects beside a workload's release, in the order of the files.

    Raises HomelabError with file, line and column for a file that is no such map and for a reference to nothing.
    """
    layers = list(_layers(lab, workload, lab_folder))
    if not layers:
        return []
    found = filled(lab, workload, layers)["objects"]
    return [_marked(copy.deepcopy(item), workload) for item in found.values() if item]


def manifest_files(lab: ResolvedLab, workload: ResolvedWorkload, lab_folder: Path | None = None) -> list[Path]:
    """The files that count for a workload, in order."""
    return [file for file in overlaid("manifests", workload, lab, lab_folder) if file.is_file()]


def _layers(lab: ResolvedLab, workload: ResolvedWorkload, lab_folder: Path | None) -> Iterator[Layer]:
    for file in manifest_files(lab, workload, lab_folder):
        data = read_yaml(file.read_bytes(), str(file)).data
        objects = data.get("objects") if isinstance(data, dict) else None
        if not isinstance(objects, dict) or not set(data) <= {"objects", TEMPLATES}:
            raise HomelabError.of(
                Position(str(file), 1, 1), "holds no objects", "Write `objects:` and a name for each."
            )
        for name, item in objects.items():
            if item is not None and not isinstance(item, dict):
                raise HomelabError.of(Position(str(file), 1, 1), f"{name} is no object", "Write kind: and so on.")
        yield Layer(data, file)


def _marked(item: Object, workload: ResolvedWorkload) -> Object:
    meta = item.setdefault("metadata", {})
    meta.setdefault("labels", {})[OWNER] = workload.name
    if item.get("kind") not in CLUSTER_WIDE:
        meta.setdefault("namespace", workload.namespace)
    return item

"""What the cluster's and a workload's documents say to their adapters.

Belongs here: the typed part of these documents that applying them needs; plan/documents.py writes them. Not here: the
Kubernetes objects that come of them (objects.py).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from homelab_platform.lab.pod_levels import PodLevel


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True)


class NodeSpec(_Spec):
    """What the lab says of one node; `taints` as `key=value:Effect`."""

    labels: dict[str, str] = {}
    taints: tuple[str, ...] = ()


class MediaSpec(_Spec):
    """The lab's media folder: the namespaces that use it, its size in bytes, and the source of each volume, in the
    language of a PersistentVolume.
    """

    namespaces: tuple[str, ...]
    size: int
    source: dict[str, object]


class ClusterSpec(_Spec):
    """The nodes of the cluster, its namespaces with the roles that have rights there and the pods that each takes, and
    the media folder.
    """

    nodes: dict[str, NodeSpec] = {}
    namespaces: dict[str, tuple[str, ...]] = {}
    pod_security: dict[str, PodLevel] = {}
    media: MediaSpec | None = None


class DerivedSpec(_Spec):
    """What a workload takes from the rest of the lab: the workloads that may call it."""

    callers: tuple[str, ...] = ()


class WorkloadSpec(_Spec):
    """Where a workload lies and how it gets there: enough to take away one that the lab no longer has."""

    name: str
    namespace: str
    kind: str = "helm"
    catalogue: str = ""
    chart: str = "app"
    derived: DerivedSpec = DerivedSpec()

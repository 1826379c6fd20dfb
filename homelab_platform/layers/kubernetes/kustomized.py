"""Workloads of kind kustomize: their objects applied, compared, pruned, and their fingerprint at the cluster.

Belongs here: how a kustomization becomes objects of the cluster. Not here: releases (workloads.py), or the writing of
objects (beside.py). There is no going back to a former state: what does not answer is left to be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homelab_platform.apply.adapter import Observation
from homelab_platform.layers.kubernetes import beside
from homelab_platform.names import Say
from homelab_platform.tools.kube.api import Cluster, Object


@dataclass(frozen=True)
class Kustomized:
    """One workload's objects on a cluster."""

    cluster: Cluster
    namespace: str
    name: str
    objects: Sequence[Object]

    def probe(self) -> Observation:
        """Whether it was applied, with which fingerprint, and where it differs."""
        if not beside.recorded(self.cluster, self.namespace, self.name):
            return Observation(exists=False)
        lines = beside.difference_lines(self.cluster, self.namespace, self.name, self.objects)
        fingerprint = beside.fingerprint(self.cluster, self.namespace, self.name)
        return Observation(True, fingerprint, tuple(lines), {"objects": str(len(self.objects))})

    def write(self, say: Say, patience: float) -> None:
        """Write every object, and take away what was written before and is not asked for."""
        early = [item for item in self.objects if beside.is_early(item)]
        late = [item for item in self.objects if not beside.is_early(item)]
        beside.write(self.cluster, early, say)
        beside.write(self.cluster, late, say, patience=patience)
        beside.prune(self.cluster, self.namespace, self.name, self.objects, say)

    def own(self, fingerprint: str) -> None:
        """Leave the fingerprint, now that it answers."""
        beside.sign(self.cluster, self.namespace, self.name, fingerprint)

"""examples/test-lab on the session's cluster, brought there by our own adapters, and asked from outside.

Belongs here: what the tests of the cluster and of its workloads share. Not here: what they expect.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from homelab_platform.apply.adapter import Observation
from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.kubernetes.cluster import ClusterAdapter
from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
from homelab_platform.plan.broker_access import lab_secrets
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
from homelab_platform.tools.kube import health
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.releases import Helm
from homelab_platform_tests.testlab.cluster import TestCluster

CLUSTER = "cluster/k3s"
SECRET = "of this test alone"


@dataclass
class LabScene:
    """The lab in `folder`, as a person has it, and the cluster that it describes."""

    cluster: TestCluster
    folder: Path
    secret_of_site: str = SECRET
    """What the passwords of the broker's users follow from."""

    @cached_property
    def catalogue(self) -> Catalogue:
        """Ours, with the lab's own entries."""
        own = self.folder / "helm"
        return load_catalogue(own if own.is_dir() else None)

    @cached_property
    def lab(self) -> ResolvedLab:
        """The lab file, checked and resolved."""
        return load_resolved(self.folder / "lab.yaml", self.catalogue)

    @cached_property
    def desired(self) -> dict[str, DesiredState]:
        """What its assets should be."""
        return dict(desired_states(self.lab))

    @cached_property
    def workloads(self) -> WorkloadAdapter:
        """The adapter of its workloads."""
        helm = Helm(helm_binary(), Cluster(self.cluster.kubeconfig))
        secrets = lab_secrets(self.lab, self.secret_of_site)
        return WorkloadAdapter(self.lab, self.catalogue, helm, kubectl_binary(), self.folder, given=secrets)

    @cached_property
    def clusters(self) -> ClusterAdapter:
        """The adapter of its cluster."""
        return ClusterAdapter(Cluster(self.cluster.kubeconfig))

    def adapter(self, key: str) -> Any:
        """The adapter that an asset has."""
        return self.clusters if key == CLUSTER else self.workloads

    def probe(self, key: str) -> Observation:
        """What is there of an asset."""
        found: Observation = self.adapter(key).probe(self.desired[key])
        return found

    def apply(self, key: str) -> list[str]:
        """Bring an asset there as `homelab apply` does; what it said."""
        said: list[str] = []
        self.adapter(key).change(self.desired[key], self.probe(key), said.append)
        return said

    def matches(self, key: str) -> bool:
        """Whether a look finds nothing to do; else the test says what was found."""
        found = self.probe(key)
        assert found.matches(self.desired[key]), (key, found)
        return True

    def remove(self, key: str) -> list[str]:
        """Take an asset away; what it said."""
        said: list[str] = []
        self.adapter(key).remove(key, self.desired[key].document, said.append)
        return said

    def secret(self, name: str, space: str) -> dict[str, str]:
        """What a Secret of the cluster holds."""
        data = self.cluster.get("secret", name, "-n", space)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    @contextmanager
    def reached(self, name: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to a workload's port."""
        space = self.lab.workloads[name].namespace
        api = Cluster(self.cluster.kubeconfig)
        with health.forwarded(api, kubectl_binary(), space, f"service/{name}", port) as local:
            yield local

    def get(self, name: str, port: int, path: str) -> tuple[int, bytes]:
        """GET a path of a workload."""
        space = self.lab.workloads[name].namespace
        api = Cluster(self.cluster.kubeconfig)
        return health.get(api, kubectl_binary(), space, f"service/{name}", port=port, path=path)

    def clear(self) -> None:
        """Leave the cluster as it was: workloads, their volumes, namespaces, roles and policies go."""
        spaces = sorted({workload.namespace for workload in self.lab.workloads.values()})
        self.cluster.kubectl("delete", "namespace", *spaces, "--ignore-not-found", "--wait=true", timeout=120)
        self.remove(CLUSTER)
        for node in self.cluster.nodes:
            found = self.cluster.get("node", node)
            assert not found["spec"].get("taints"), json.dumps(found["spec"])

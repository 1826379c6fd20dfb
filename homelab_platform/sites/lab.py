"""A site that steers a lab: its hosts over SSH, its cluster, what runs there; the readings in the site's own servers.

Belongs here: which adapter serves which layer, opened when it is first needed. Not here: how each of them is reached
(reach.py) or brought about.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Adapter, Answering
from homelab_platform.errors import HomelabError
from homelab_platform.layers.flows.direct import FlowAdapter
from homelab_platform.plan.layers import LAB, Capabilities
from homelab_platform.sites.local import EmbeddedWorld
from homelab_platform.sites.reach import Reach

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.layers.hosts.adapter import HostAdapter
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.endpoints import Lakehouse
    from homelab_platform.tools.kube.api import Cluster

BRIDGE = "bridge"


class LabWorld(EmbeddedWorld):
    """The lab of a site of profile lab."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, root: Path, site: Site) -> None:
        super().__init__(lab, lakehouse, root, site)
        self._lab_folder = site.lab_path.parent
        self._broker_secret = _broker_secret(root)
        self.reach = Reach(lab, self._lab_folder, root, site.reach, self._broker_secret)

    @property
    def capabilities(self) -> Capabilities:
        """What a site of this profile can do."""
        return LAB

    def adapter(self, layer: str) -> Adapter:
        """The adapter of a layer. Raises HomelabError for a layer that this site cannot reach, or whatever reaching the
        cluster raises.
        """
        if layer == "host":
            return self._hosts
        if layer == "cluster":
            return self._cluster
        return self._workloads if layer == "workload" else super().adapter(layer)

    def answering(self, hosts: Iterable[DesiredState]) -> dict[str, Answering]:
        """Ask hosts, side by side and within seconds, whether they are there; by key."""
        return self._hosts.answering(hosts)

    def _flows(self) -> Adapter:
        return FlowAdapter(self.lab, self.lakehouse, self.root, carrier=BRIDGE)

    @cached_property
    def _hosts(self) -> HostAdapter:
        from homelab_platform.layers.hosts.adapter import HostAdapter

        return HostAdapter(self.lab, self.reach.hosts())

    @cached_property
    def _api(self) -> Cluster:
        """One client for the cluster and its workloads: each of its own would ask anew what kinds there are."""
        from homelab_platform.tools.kube.api import Cluster

        return Cluster(self.reach.kubeconfig())

    @cached_property
    def _cluster(self) -> Adapter:
        from homelab_platform.layers.kubernetes.cluster import ClusterAdapter

        return ClusterAdapter(self._api)

    @cached_property
    def _workloads(self) -> Adapter:
        from homelab_platform.catalog.load import load_catalogue
        from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
        from homelab_platform.plan.broker_access import lab_secrets
        from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
        from homelab_platform.tools.kube.releases import Helm

        own = self._lab_folder / "helm"
        return WorkloadAdapter(
            self.lab,
            load_catalogue(own if own.is_dir() else None),
            Helm(helm_binary(), self._api),
            kubectl_binary(),
            self._lab_folder,
            given=lab_secrets(self.lab, self._broker_secret),
        )


def _broker_secret(root: Path) -> str:
    """What the passwords of the lab's broker follow from. Raises HomelabError for a site that does not have it."""
    from homelab_platform.servers.site.files import Layout, load_secrets

    found = load_secrets(Layout(root))
    if found is None or not found.mqtt_password:
        raise HomelabError.of(str(root), "holds no secret for the lab's broker", "`homelab up` makes it.")
    return found.mqtt_password

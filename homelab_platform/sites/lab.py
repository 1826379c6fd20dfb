"""What a site of kind lab reaches besides its own servers: the lab's hosts over SSH, its cluster, what runs there.

Belongs here: which adapter serves which of these layers, each opened when it is first needed. Not here: how hosts and
cluster are reached (reach.py) or brought about (layers/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.layers.flows.direct import FlowAdapter
from homelab_platform.sites.reach import KNOWN_HOSTS, Reach

if TYPE_CHECKING:
    from homelab_platform.apply.adapter import Adapter
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.layers.hosts.adapter import HostAdapter
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.kube.api import Cluster

BRIDGE = "bridge"
IMAGES = "images"
"""The folder of a site that holds the images of hosts."""


@dataclass(frozen=True)
class SteeredLayers:
    """The adapters of a steered lab by layer, each opened once; the one of hosts, and the client of the cluster."""

    adapters: Mapping[str, Callable[[], Adapter]]
    hosts: Callable[[], HostAdapter]
    cluster: Callable[[], Cluster]


def reach_of(lab: ResolvedLab, site: Site) -> Reach:
    """How a running site of kind lab gets at hosts and cluster. Raises HomelabError if it lacks its broker's secret."""
    return Reach(lab, site.lab_path.parent, site.root, site.reach, _broker_secret(site.root))


def steered_layers(lab: ResolvedLab, site: Site) -> SteeredLayers:
    """The layers that a running site of kind lab steers. Raises HomelabError if it lacks its broker's secret."""
    reach = reach_of(lab, site)

    @cache
    def hosts() -> HostAdapter:
        from homelab_platform.layers.hosts.adapter import HostAdapter

        return HostAdapter(lab, reach.hosts())

    @cache
    def api() -> Cluster:
        """One client for the cluster and its workloads: each of its own would ask anew what kinds there are."""
        from homelab_platform.tools.kube.api import Cluster

        return Cluster(reach.kubeconfig())

    def cluster() -> Adapter:
        from homelab_platform.layers.kubernetes.cluster import ClusterAdapter

        return ClusterAdapter(api())

    return SteeredLayers(
        {
            "image": lambda: _images(lab, site),
            "host": hosts,
            "cluster": cluster,
            "workload": lambda: _workloads(lab, site, api()),
            "flow": lambda: FlowAdapter(lab, site.lakehouse, site.root, carrier=BRIDGE),
        },
        hosts,
        api,
    )


def _images(lab: ResolvedLab, site: Site) -> Adapter:
    from homelab_platform.layers.images.adapter import ImageAdapter

    folder = site.lab_path.parent
    return ImageAdapter(lab, folder, site.root / IMAGES, folder / KNOWN_HOSTS)


def _workloads(lab: ResolvedLab, site: Site, api: Cluster) -> Adapter:
    from homelab_platform.catalog.lab import catalogue_of
    from homelab_platform.layers.kubernetes.workloads import WorkloadAdapter
    from homelab_platform.plan.broker_access import lab_secrets
    from homelab_platform.servers.install.helm import helm_binary, kubectl_binary
    from homelab_platform.tools.kube.releases import Helm

    folder = site.lab_path.parent
    return WorkloadAdapter(
        lab,
        catalogue_of(site.lab_path),
        Helm(helm_binary(), api),
        kubectl_binary(),
        folder,
        given=lab_secrets(lab, _broker_secret(site.root)),
    )


def _broker_secret(root: Path) -> str:
    """What the passwords of the lab's broker follow from. Raises HomelabError for a site that does not have it."""
    from homelab_platform.servers.site.files import Layout, load_secrets

    found = load_secrets(Layout(root))
    if found is None or not found.mqtt_password:
        raise HomelabError.of(str(root), "holds no secret for the lab's broker", "`homelab up` makes it.")
    return found.mqtt_password

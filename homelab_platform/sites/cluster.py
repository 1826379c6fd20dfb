"""The site on a lab's own cluster as the graph sees it: PostgreSQL and S3 in pods, no data folder that lasts.

Belongs here: what differs from the embedded site, whose adapters of buckets, tables and marts it shares. Not here:
where its servers are (servers/site/in_cluster.py), how its pods are made (helm/homelab-platform).
"""

from __future__ import annotations

import os
import signal
import threading
from functools import cached_property

from homelab_platform.apply.adapter import Adapter
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.buckets.adapter import BucketAdapter
from homelab_platform.paths import site_path
from homelab_platform.plan.layers import CLUSTER, Capabilities
from homelab_platform.servers.site.in_cluster import lakehouse_here
from homelab_platform.sites.local import EmbeddedWorld

LAST_WORD = 3.0
"""Seconds that a process which starts anew has left to answer what it was asked."""


class ClusterWorld(EmbeddedWorld):
    """The site of a lab on its own cluster. `root` lasts as long as the pod."""

    @property
    def capabilities(self) -> Capabilities:
        """What a site in pods can do."""
        return CLUSTER

    @cached_property
    def _buckets(self) -> BucketAdapter:
        # Keys of users would have to outlive the pod; the lab's S3 server has its users from who deploys it.
        return BucketAdapter(self.lakehouse, None)

    @cached_property
    def _adapters(self) -> dict[str, Adapter]:
        return self._data_layers()

    def reload_code(self) -> None:
        """End this process, the code location's: its pod starts it again, with the lab as it is by then.

        Runs have pods of their own and go on. Dagster's own way keeps a second process for this, of a hundred MiB.
        """
        timer = threading.Timer(LAST_WORD, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()


def open_cluster(lab: ResolvedLab) -> ClusterWorld:
    """The site that this pod belongs to. Raises HomelabError that names what its environment lacks."""
    root = site_path(lab.name)
    root.mkdir(parents=True, exist_ok=True)
    return ClusterWorld(lab, lakehouse_here(os.environ), root)

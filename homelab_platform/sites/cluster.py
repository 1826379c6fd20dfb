"""The site on a lab's own cluster: PostgreSQL and S3 in pods, no data folder that lasts.

Belongs here: which adapters it has. Not here: where its servers are (servers/site/in_cluster.py), how its pods are made
(helm/homelab-platform).
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from homelab_platform.layers.buckets.adapter import BucketAdapter
from homelab_platform.paths import site_path
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site.in_cluster import lakehouse_here, postgres_here
from homelab_platform.sites.local import data_layers
from homelab_platform.sites.world import Parts, SiteWorld

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

SECONDS_TO_ANSWER = 3.0
"""How long a process that starts anew still answers what it was asked."""


def open_cluster(lab: ResolvedLab) -> SiteWorld:
    """The site that this pod belongs to. Raises HomelabError that names what its environment lacks."""
    site_path(lab.name).mkdir(parents=True, exist_ok=True)  # lasts as long as the pod
    lakehouse = lakehouse_here(os.environ)
    # Keys of users would have to outlive the pod; the lab's S3 server has its users from who deploys it.
    buckets = BucketAdapter(lakehouse, None)
    layers = data_layers(lab, lakehouse, buckets)
    parts = Parts(SiteKind.CLUSTER, buckets, layers, _restart_this_process, dagster=postgres_here(os.environ))
    return SiteWorld(lab, lakehouse, parts)


def _restart_this_process() -> None:
    """End this process, the code location's: its pod starts it again, with the lab as it is by then.

    Runs have pods of their own and go on. Dagster's own way keeps a second process for this, of a hundred MiB.
    """
    timer = threading.Timer(SECONDS_TO_ANSWER, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()

"""The kinds of site that a graph can run on.

Belongs here: for each kind what it can do and how it is opened. Opening imports the clients of its servers, so it
happens only when a run or a sensor first needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from homelab_platform.apply.adapter import World
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.layers import CLUSTER, EMBEDDED, FULL, LAB, Capabilities

PROFILE_VARIABLE = "HOMELAB_PROFILE"


@dataclass(frozen=True)
class SiteKind:
    """A kind of site: `open` gives the World of a lab, or raises HomelabError that says how to start it.

    `begins` says whether its daemon may make a lab real of which nothing was ever applied. Where the lab's own machines
    are in reach, a person does that; what is edited afterwards follows by itself.
    """

    name: str
    capabilities: Capabilities
    open: Callable[[ResolvedLab], World]
    begins: bool = True


def _embedded(lab: ResolvedLab) -> World:
    from homelab_platform.sites.local import open_embedded

    return open_embedded(lab)


def _cluster(lab: ResolvedLab) -> World:
    from homelab_platform.sites.cluster import open_cluster

    return open_cluster(lab)


_KINDS = {
    "embedded": SiteKind("embedded", EMBEDDED, _embedded),
    "full": SiteKind("full", FULL, _embedded),
    "lab": SiteKind("lab", LAB, _embedded, begins=False),
    "cluster": SiteKind("cluster", CLUSTER, _cluster),
}


def kind_here() -> str:
    """The kind of site that this process belongs to: the supervisor tells the graph's processes its profile."""
    said = os.environ.get(PROFILE_VARIABLE, "")
    return said if said in _KINDS else "embedded"


def site_kind(name: str) -> SiteKind:
    """The kind of site of this name. Raises HomelabError that lists the names there are."""
    if name not in _KINDS:
        raise HomelabError.of(name, "no such kind of site", f"There are: {', '.join(sorted(_KINDS))}.")
    return _KINDS[name]

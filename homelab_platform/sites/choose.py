"""How each kind of site is opened for a graph.

Belongs here: what a graph needs to know of its site before it opens it. Opening imports the clients of its servers, so
it happens only when a run or a sensor first needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from homelab_platform.apply.adapter import World
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.layers import Capabilities
from homelab_platform.plan.sites import CAPABILITIES, SiteKind


@dataclass(frozen=True)
class SiteChoice:
    """The site of a graph: `open` gives the World of a lab, or raises HomelabError that says how to start it.

    `begins` says whether its daemon may make a lab real of which nothing was ever applied. Where the lab's own machines
    are in reach, a person does that; what is edited afterwards follows by itself.
    """

    name: str
    capabilities: Capabilities
    open: Callable[[ResolvedLab], World]
    begins: bool = True


def _local(lab: ResolvedLab) -> World:
    from homelab_platform.sites.local import open_local

    return open_local(lab)


def _cluster(lab: ResolvedLab) -> World:
    from homelab_platform.sites.cluster import open_cluster

    return open_cluster(lab)


def site_choice(kind: SiteKind) -> SiteChoice:
    """The site of this kind, unopened."""
    opening = _cluster if kind is SiteKind.CLUSTER else _local
    return SiteChoice(kind.value, CAPABILITIES[kind], opening, begins=kind is not SiteKind.LAB)

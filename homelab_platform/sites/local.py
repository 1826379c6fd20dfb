"""Sites on this machine: its own servers, as the graph sees them; of kind lab, the hosts and the cluster besides.

Belongs here: which adapters such a site has. Not here: starting servers (servers/), reaching hosts (lab.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.layers.buckets.adapter import BucketAdapter
from homelab_platform.layers.flows.direct import FlowAdapter
from homelab_platform.layers.marts.adapter import MartAdapter
from homelab_platform.layers.tables.readings import ReadingsAdapter
from homelab_platform.plan.sites import SiteKind
from homelab_platform.sites.world import Parts, SiteWorld
from homelab_platform.tools.objects.access import KeyFile

if TYPE_CHECKING:
    from homelab_platform.apply.adapter import Adapter
    from homelab_platform.apply.state_store import StateStore
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.operations.patch_site import Fleet
    from homelab_platform.operations.site import Protection
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.endpoints import Lakehouse


def data_layers(lab: ResolvedLab, lakehouse: Lakehouse, buckets: BucketAdapter) -> dict[str, Callable[[], Adapter]]:
    """The layers of every site that holds readings, wherever it runs."""
    return {
        "bucket": lambda: buckets,
        "table": lambda: ReadingsAdapter(lab, lakehouse),
        "mart": lambda: MartAdapter(lab, lakehouse),
    }


def folder_world(lab: ResolvedLab, lakehouse: Lakehouse, root: Path) -> SiteWorld:
    """A small site by its servers and its data folder alone; no process of it is told of anything."""
    buckets = BucketAdapter(lakehouse, KeyFile(root))
    adapters = data_layers(lab, lakehouse, buckets) | {"flow": lambda: FlowAdapter(lab, lakehouse, root)}
    return SiteWorld(lab, lakehouse, Parts(SiteKind.SMALL, buckets, adapters, reload=lambda: None))


def world_of(lab: ResolvedLab, site: Site) -> SiteWorld:
    """A running site of this machine as the graph sees it."""
    buckets = BucketAdapter(site.lakehouse, KeyFile(site.root))
    adapters = data_layers(lab, site.lakehouse, buckets)
    hosts, fleet = None, None
    if site.kind is SiteKind.LAB:
        from homelab_platform.sites.lab import steered_layers

        steered = steered_layers(lab, site)
        adapters |= steered.adapters
        hosts = steered.hosts

        def fleet(store: StateStore) -> Fleet:
            from homelab_platform.sites.patching import fleet_of_site

            return fleet_of_site(lab, site, steered, store)

    else:
        adapters["flow"] = lambda: _flows(lab, site)
    adapters |= {"backup": lambda: _saved(lab, site, "backup"), "drill": lambda: _saved(lab, site, "drill")}
    parts = Parts(
        site.kind,
        buckets,
        adapters,
        lambda: _reload_beside(site),
        site.engines,
        hosts,
        lambda: _protection(lab, site),
        fleet,
    )
    return SiteWorld(lab, site.lakehouse, parts)


def open_local(lab: ResolvedLab) -> SiteWorld:
    """The running site of a lab on this machine. Raises HomelabError that says how to start it when it does not run."""
    from homelab_platform.servers.site.site import open_site

    return world_of(lab, open_site(lab.name))


def _flows(lab: ResolvedLab, site: Site) -> Adapter:
    if site.engines.nifi is None:
        return FlowAdapter(lab, site.lakehouse, site.root)
    from homelab_platform.layers.flows.adapter import FlowLayer

    return FlowLayer(lab, site.lakehouse, site, site.root)


def _saved(lab: ResolvedLab, site: Site, layer: str) -> Adapter:
    from homelab_platform.sites.protection import backup_adapter, drill_adapter

    return backup_adapter(lab, site) if layer == "backup" else drill_adapter(lab, site)


def _protection(lab: ResolvedLab, site: Site) -> Protection:
    from homelab_platform.sites.protection import protection_of

    return protection_of(lab, site)


def _reload_beside(site: Site) -> None:
    threading.Thread(target=_reload, args=(site,), name="reload", daemon=True).start()


def _reload(site: Site) -> None:
    from homelab_platform.servers.site.site import reload_code

    try:
        reload_code(site)
    except HomelabError as error:
        # The reconcile sensor notices at its next tick that the old lab is still loaded, and asks again.
        print(error)  # noqa: T201 (the log of the code server)

"""The hosts that a site of kind lab patches: how each is reached, its cluster, what protects the lab meanwhile.

Belongs here: putting the value together. Not here: patching (operations/patch.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.layers.patches.machine import DebianMachine, Machine
from homelab_platform.names import Say
from homelab_platform.operations.coverage import coverage
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.patch_plan import plan_of
from homelab_platform.operations.patch_site import Fleet, Nodes
from homelab_platform.plan.layers import layer_of, name_of
from homelab_platform.sites.protection import protection_of
from homelab_platform.tools.kube.nodes import ClusterNodes
from homelab_platform.tools.ssh.client import opened

if TYPE_CHECKING:
    from homelab_platform.apply.state_store import StateStore
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.servers.site.site import Site
    from homelab_platform.sites.lab import SteeredLayers


def fleet_of_site(lab: ResolvedLab, site: Site, steered: SteeredLayers, store: StateStore) -> Fleet:
    """What a running site of kind lab patches."""

    @contextmanager
    def machine(name: str) -> Iterator[Machine]:
        access, host = steered.hosts().access, lab.hosts[name]
        with opened(access.target(lab, host), access.ssh) as ssh:
            yield DebianMachine(ssh, node=host.k3s is not None)

    @cache
    def nodes() -> Nodes:
        return ClusterNodes(steered.cluster())

    def holding(host: str, say: Say) -> AbstractContextManager[None]:
        return store.held(f"host/{host}", "patch", say)

    def begun() -> frozenset[str]:
        applied = [key for key, state in store.load().items() if state.fingerprint]
        return frozenset(name_of(key) for key in applied if layer_of(key) == "host")

    return Fleet(
        plan=plan_of(lab),
        journal=Journal(site.lakehouse.postgres),
        machine=machine,
        nodes=nodes if lab.cluster is not None else None,
        holding=holding,
        begun=begun,
        unproven=lambda: unproven_items(lab, site),
        unsaved=unsaved_items(lab, site),
    )


def unproven_items(lab: ResolvedLab, site: Site) -> list[str]:
    """Items that this site saves and of which no target holds a proven snapshot, a line each."""
    try:
        rows = coverage(protection_of(lab, site))
    except HomelabError as error:
        return [str(error.problems[0].what)]
    proven = {row.item for row in rows if row.state == "proven"}
    return [
        f"{row.item} at {row.target} is {row.state}{f' ({row.why})' if row.why else ''}"
        for row in rows
        if row.item not in proven
    ]


def unsaved_items(lab: ResolvedLab, site: Site) -> tuple[str, ...]:
    """Items that the lab has a backup of and that this site does not reach."""
    try:
        known = protection_of(lab, site).items
    except HomelabError:
        known = {}
    return tuple(sorted({backup.item for backup in lab.backups.values()} - set(known)))

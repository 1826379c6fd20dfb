"""A site of kind lab has the fleet of its lab; one that reaches no hosts says so."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.operations.patch_site import fleet_of
from homelab_platform.paths import project_path
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site.files import Layout, Secrets
from homelab_platform.servers.site.site import Site
from homelab_platform.sites.local import world_of
from homelab_platform.tools.endpoints import PostgresEndpoint

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def site_of(kind: SiteKind, root: Path, lab_file: Path, postgres: PostgresEndpoint) -> Site:
    """A site whose database answers; nothing else of it runs."""
    Secrets.fresh().save(Layout(root))
    return Site(root, "test-lab", lab_file, Mock(postgres=postgres), "", root, kind)


def test_a_lab_site_patches_the_hosts_of_its_lab_once_they_were_applied(
    tmp_path: Path, postgres_endpoint: PostgresEndpoint
) -> None:
    file = project_path("examples", "test-lab", "lab.yaml")
    lab = load_resolved(file, load_catalogue())
    world = world_of(lab, site_of(SiteKind.LAB, tmp_path, file, postgres_endpoint))
    fleet = fleet_of(world)
    assert [(turn.host, turn.group, turn.node) for turn in fleet.plan.turns] == [
        ("pi-2", "agent", True),
        ("pi-1", "server", True),
        ("pi-3", "other", False),
    ]
    assert fleet.nodes is not None
    assert fleet.begun is not None
    store = world.store
    before = fleet.begun()
    store.applied("host/pi-3", "a fingerprint", {}, turn=store.turn())
    try:
        assert fleet.begun() == before | {"pi-3"}
    finally:
        store.forget("host/pi-3")
    assert fleet.unproven(), "nothing is saved yet, and that is said"


def test_a_site_that_reaches_no_hosts_says_so(tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> None:
    file = project_path("examples", "test-lab", "lab.yaml")
    lab = load_resolved(file, load_catalogue())
    world = world_of(lab, site_of(SiteKind.SMALL, tmp_path, file, postgres_endpoint))
    with pytest.raises(HomelabError, match=r"a site of kind small reaches no hosts\n.*--profile lab"):
        fleet_of(world)

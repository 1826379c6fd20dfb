"""What every kind of site promises to the graph, held to the same words on real servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from homelab_platform import paths
from homelab_platform.apply import locks
from homelab_platform.apply.adapter import apply_one, delete_one, observe_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.cursors import InboxCursor
from homelab_platform.graph.reading_sensors import look
from homelab_platform.lab.resolved import ResolvedLab, ResolvedMart
from homelab_platform.layers.backups.recovery_key import recovery_key
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import LAYERS
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.servers.site.files import Layout, Secrets
from homelab_platform.servers.site.site import Site
from homelab_platform.sites import cluster
from homelab_platform.sites.choose import site_choice
from homelab_platform.sites.local import world_of
from homelab_platform.sites.world import SiteWorld
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.plan.labs import small_lab

pytestmark = [pytest.mark.servers, pytest.mark.slow]

NOW = datetime.now(UTC)
DATA = ("bucket/lake", "bucket/readings-raw", "table/sensor_data", "mart/readings_hourly")


def the_lab() -> ResolvedLab:
    return small_lab(marts={"readings_hourly": ResolvedMart(name="readings_hourly", reads=("default.sensor_data",))})


@pytest.fixture(params=list(SiteKind))
def world(
    request: pytest.FixtureRequest, lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SiteWorld:
    """A site of each kind, with a lake of its own; what its other servers would be asked for is not asked here."""
    lab = the_lab()
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path))
    if request.param is SiteKind.CLUSTER:
        monkeypatch.setattr(cluster, "lakehouse_here", lambda _environment: lakehouse)
        monkeypatch.setattr(cluster, "postgres_here", lambda _environment: lakehouse.postgres)
        return cluster.open_cluster(lab)
    Secrets.fresh().save(Layout(tmp_path))
    recovery_key(paths.recovery_key_path(lab.name), make=True)
    site = Site(
        root=tmp_path,
        lab_name=lab.name,
        lab_path=tmp_path / "lab.yaml",
        lakehouse=lakehouse,
        dagster_url="http://127.0.0.1:1",
        dagster_home=tmp_path,
        kind=request.param,
    )
    return world_of(lab, site)


def drop(lakehouse: Lakehouse, count: int) -> str:
    lines = b"".join(Reading(NOW.replace(microsecond=n), "attic", "temperature", 20.0 + n).line() for n in range(count))
    key = object_key("environment", NOW.date(), "tests", "a")
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    return key


def test_what_it_says_that_it_reaches_it_opens_and_the_rest_it_refuses_by_name(world: SiteWorld) -> None:
    can = world.capabilities
    for layer in LAYERS:
        reaches = layer in can.layers or {
            "flow": bool(can.flow_sources),
            "image": bool(can.image_kinds),
            "backup": bool(can.backup_kinds),
            "drill": bool(can.backup_kinds),
        }.get(layer, False)
        try:
            world.adapter(layer)
        except HomelabError as error:
            refused = "cannot reach this layer" in str(error)
            assert refused is not reaches, f"{layer}: {error}"
            assert not refused or can.lacks(layer) in str(error)
        else:
            assert reaches or layer == "flow", f"{layer} opens, and the site says that it cannot reach it"
    assert world.capabilities is CAPABILITIES[SiteKind(can.name)]
    assert site_choice(SiteKind(can.name)).capabilities is can


def test_data_is_made_observed_put_back_remembered_and_taken_away(world: SiteWorld) -> None:
    states = desired_states(the_lab())
    for key in DATA:
        assert apply_one(world, states[key]).wrote
        assert observe_one(world, states[key], world.store.load()[key])[0] == "ok"
        assert not apply_one(world, states[key]).wrote
    with ObjectStore(world.lakehouse.objects) as store:
        store.set_lifecycle(world.lakehouse.raw_bucket, [])
    raw = states["bucket/readings-raw"]
    assert observe_one(world, raw, world.store.load()[raw.key])[0] == "drifted"
    assert apply_one(world, raw).wrote
    for key in DATA:
        world.store.forget(key)
        assert observe_one(world, states[key], None)[0] == "ok"
    delete_one(world, "mart/readings_hourly")
    assert not world.adapter("mart").probe(states["mart/readings_hourly"]).exists


def test_readings_are_found_taken_in_once_and_told(world: SiteWorld) -> None:
    apply_one(world, desired_states(the_lab())["table/sensor_data"])
    key = drop(world.lakehouse, 20)
    found = look(world, InboxCursor(), 0)
    assert found.keys == (key,)
    world.take_in(found.keys)
    world.take_in(found.keys)
    newest, exhibits = world.arrivals(0)
    shown = {exhibit.name: exhibit.value for exhibit in exhibits}
    assert (shown["objects"], shown["new readings"], shown["dagster/row_count"]) == (1, 20, 20)
    assert world.arrivals(newest) == (newest, [])
    assert world.changed_dates(0)[0] == (NOW.date(),)
    assert all(verdict.passed for verdict in world.integrity(True))


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        (SiteWorld.protection, {kind for kind in SiteKind if CAPABILITIES[kind].backup_kinds}),
        (SiteWorld.fleet, {kind for kind in SiteKind if "host" in CAPABILITIES[kind].layers}),
    ],
    ids=["saves", "patches"],
)
def test_what_it_saves_and_patches_is_there_or_refused_with_the_way_out(
    world: SiteWorld, asked: Callable[[SiteWorld], object], kinds: set[SiteKind]
) -> None:
    refusal = r"a site of kind \w+ (saves nothing itself|reaches no hosts)"
    if SiteKind(world.capabilities.name) in kinds:
        assert asked(world)
    else:
        with pytest.raises(HomelabError, match=refusal):
            asked(world)


def test_it_says_who_applies_it_by_hand(world: SiteWorld) -> None:
    assert world.applying() == ""
    with locks.held(world.lakehouse.postgres, locks.LAB, "apply"):
        assert world.applying().startswith("apply of ")
    assert world.applying() == ""
    assert world.answering([]) == {}

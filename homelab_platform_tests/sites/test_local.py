"""The embedded site's adapters on real servers: applied means observed, and the target itself remembers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from homelab_platform.apply.adapter import FOUNDATIONS, INTEGRITY, UPKEEP, apply_one, delete_one, observe_one
from homelab_platform.errors import HomelabError
from homelab_platform.graph.cursors import InboxCursor, recent_from
from homelab_platform.graph.reading_sensors import look
from homelab_platform.lab.resolved import ResolvedLab, ResolvedMart
from homelab_platform.layers.tables.upkeep import retention_day
from homelab_platform.names import silent
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.documents import TABLE_CHECKS
from homelab_platform.plan.gather import desired_states
from homelab_platform.sites.local import folder_world
from homelab_platform.sites.world import SiteWorld
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.plan.labs import small_lab

pytestmark = pytest.mark.servers

NOW = datetime.now(UTC)


def the_lab() -> ResolvedLab:
    return small_lab(marts={"readings_hourly": ResolvedMart(name="readings_hourly", reads=("default.sensor_data",))})


@pytest.fixture
def world(lakehouse: Lakehouse, tmp_path: Path) -> SiteWorld:
    return folder_world(the_lab(), lakehouse, tmp_path)


def desired(key: str, lab: ResolvedLab | None = None) -> DesiredState:
    return desired_states(lab or the_lab())[key]


def drop(lakehouse: Lakehouse, name: str, count: int = 20) -> str:
    """Put an object with `count` readings into the raw bucket."""
    lines = b"".join(Reading(NOW.replace(microsecond=n), "attic", "temperature", 20.0 + n).line() for n in range(count))
    key = object_key("environment", NOW.date(), "tests", name)
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    return key


def test_a_bucket_is_set_up_and_its_tag_says_so(world: SiteWorld) -> None:
    state = desired("bucket/readings-raw")
    assert apply_one(world, state).wrote
    found = world.adapter("bucket").probe(state)
    assert found.matches(state)
    assert found.facts["objects expire"] == "after 30 days"
    assert not apply_one(world, state).wrote


def test_a_bucket_that_somebody_changed_is_seen_and_put_back(world: SiteWorld) -> None:
    state = desired("bucket/readings-raw")
    apply_one(world, state)
    with ObjectStore(world.lakehouse.objects) as store:
        store.set_lifecycle(world.lakehouse.raw_bucket, [])
    assert observe_one(world, state, world.store.load()[state.key])[0] == "drifted"
    assert "objects expire never" in world.store.load()[state.key].reason
    assert apply_one(world, state).wrote
    assert world.store.load()[state.key].status == "ok"


def test_a_table_has_its_columns_its_fingerprint_and_its_readings(world: SiteWorld) -> None:
    lab = the_lab()
    table = lab.tables["default.sensor_data"].model_copy(update={"columns": {"battery": "double"}})
    wider = lab.model_copy(update={"tables": {"default.sensor_data": table}})
    apply_one(world, desired("table/sensor_data"))
    apply_one(world, desired("table/sensor_data", wider))
    drop(world.lakehouse, "a")
    state = desired("table/sensor_data", wider)
    shown = {exhibit.name: exhibit.value for exhibit in world.adapter("table").work(state, {}, silent)}
    assert shown["dagster/row_count"] == 20
    assert shown["new readings"] == 20
    found = world.adapter("table").probe(state)
    assert found.matches(state)
    assert "battery" in str(found.facts["columns"])


@pytest.mark.slow
def test_a_mart_is_computed_and_says_by_which_recipe(world: SiteWorld) -> None:
    apply_one(world, desired("table/sensor_data"))
    drop(world.lakehouse, "a")
    list(world.adapter("table").work(desired("table/sensor_data"), {}, silent))
    state = desired("mart/readings_hourly")
    assert apply_one(world, state).wrote
    shown = {exhibit.name: exhibit.value for exhibit in world.adapter("mart").work(state, {}, silent)}
    assert shown["newest rows"][0]["readings"] == 20
    assert world.adapter("mart").probe(state).matches(state)


def test_losing_the_state_store_loses_nothing(world: SiteWorld) -> None:
    states = [desired(key) for key in ("bucket/lake", "table/sensor_data", "mart/readings_hourly")]
    for state in states:
        apply_one(world, state)
        world.store.forget(state.key)
    for state in states:
        assert observe_one(world, state, None)[0] == "ok"
    assert {k: s.fingerprint for k, s in world.store.load().items()} == {s.key: s.fingerprint for s in states}


def test_a_mart_that_left_the_lab_is_taken_away(world: SiteWorld) -> None:
    apply_one(world, desired("table/sensor_data"))
    apply_one(world, desired("mart/readings_hourly"))
    delete_one(world, "mart/readings_hourly")
    assert not world.adapter("mart").probe(desired("mart/readings_hourly")).exists
    assert "mart/readings_hourly" not in world.store.load()


def test_a_flow_gives_its_carrier_the_lab_and_is_not_green_where_nothing_carries_it(
    world: SiteWorld, tmp_path: Path
) -> None:
    with pytest.raises(HomelabError, match="no collector runs on this site, and nothing brings its readings"):
        apply_one(world, desired("flow/machine"))
    assert (tmp_path / "lab.json").read_bytes() == the_lab().to_json()
    assert not world.adapter("flow").probe(desired("flow/machine")).matches(desired("flow/machine"))


def test_a_mart_that_nobody_knows_is_refused_with_the_names_there_are(world: SiteWorld) -> None:
    lab = small_lab()
    with pytest.raises(HomelabError, match="readings_hourly"):
        apply_one(world, desired("mart/hourly", lab))
    assert world.store.load()["mart/hourly"].status == "failed"


def test_the_inbox_holds_what_no_ingest_took(world: SiteWorld) -> None:
    apply_one(world, desired("table/sensor_data"))
    key = drop(world.lakehouse, "a")
    found = look(world, InboxCursor(), 0)
    assert (found.act, found.keys, found.small) == (True, (key,), True)
    assert found.size > 0
    with world.inbox() as inbox:
        assert inbox.recent(lambda folder: recent_from(folder, NOW)) == [key]
    world.take_in(found.keys)
    newest, exhibits = world.arrivals(0)
    shown = {exhibit.name: exhibit.value for exhibit in exhibits}
    assert (shown["objects"], shown["new readings"], shown["dagster/row_count"]) == (1, 20, 20)
    assert shown["bytes taken in"] == found.size
    assert datetime.fromtimestamp(shown["newest reading"], UTC).date() == NOW.date()
    assert world.arrivals(newest) == (newest, [])
    assert look(world, found.cursor, 0).keys == ()
    assert world.changed_dates(0)[0] == (NOW.date(),)


@pytest.mark.slow
def test_upkeep_merges_files_keeps_every_row_and_says_what_it_saved(world: SiteWorld) -> None:
    apply_one(world, desired("table/sensor_data"))
    for name in "abc":
        drop(world.lakehouse, name, 5 + ord(name))
        list(world.adapter("table").work(desired("table/sensor_data"), {}, silent))
    done = {task: {e.name: e.value for e in world.upkeep(task, {}, lambda _t: None)} for task in UPKEEP}
    assert (done["compact"]["files before"], done["compact"]["files after"]) == (3, 1)
    assert done["compact"]["scan after (s)"] > 0
    assert done["expire"]["snapshots given up"] == 0  # time travel within a day stays possible
    assert done["clean"]["orphans deleted"] == 0
    assert "no Trino" in done["analyze"]["engine"]
    assert done["analyze"]["files with bounds"] == done["analyze"]["files"] == 1
    shown = {e.name: e.value for e in world.adapter("table").work(desired("table/sensor_data"), {}, lambda _t: None)}
    assert shown["dagster/row_count"] == 5 + ord("c")


def test_the_checks_on_real_state_see_a_site_that_is_sound(world: SiteWorld) -> None:
    apply_one(world, desired("table/sensor_data"))
    drop(world.lakehouse, "a")
    list(world.adapter("table").work(desired("table/sensor_data"), {}, silent))
    assert [verdict.name for verdict in world.integrity(True) if verdict.passed] == list(INTEGRITY)
    assert [verdict.name for verdict in world.foundations() if verdict.passed] == list(FOUNDATIONS)
    assert [verdict.name for verdict in world.quality()] == list(TABLE_CHECKS)
    assert world.first_day() == NOW.date()


def test_readings_are_kept_as_long_as_the_lab_says() -> None:
    lab = the_lab()
    assert retention_day(lab, NOW) is None
    table = lab.tables["default.sensor_data"].model_copy(update={"keep": 86400 * 2})
    kept = lab.model_copy(update={"tables": {"default.sensor_data": table}})
    day = retention_day(kept, datetime(2026, 11, 21, 1, tzinfo=UTC))
    assert day is not None and day.isoformat() == "2026-11-19"

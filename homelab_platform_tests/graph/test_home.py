"""The page of the lab: what it shows, and that it is said again only when something changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance

from homelab_platform.graph.home import REPEAT_EVERY, after_look, home_metadata
from homelab_platform.plan.health import Finding, Health
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.test_sensors import evaluate
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab

NOW = datetime(2026, 12, 1, tzinfo=UTC)
RED = Finding("error", "job marts", "failed 15 times in a row", "See `homelab logs 1234abcd`.")
ILL = Health(in_sync=9, total=10, external=77, findings=(Finding("note", "stream x", "silent"), RED))


def test_the_page_shows_what_is_red_first_and_what_to_do() -> None:
    shown = home_metadata(ILL)
    table = str(shown["what needs a person"].value)
    assert table.index("failed 15 times") < table.index("silent")
    assert "homelab logs 1234abcd" in table
    assert (shown["assets in sync"].value, shown["assets out of reach"].value) == (9, 77)


def test_it_is_said_again_when_something_changed_and_every_half_hour() -> None:
    (event,), cursor = after_look("small", ILL, None, NOW)
    assert event.asset_key == dg.AssetKey(["lab", "small"])
    assert event.description == "1 broken, 0 waiting. 9 of 10 assets within reach in sync."
    assert after_look("small", ILL, cursor, NOW + timedelta(minutes=1))[0] == []
    assert after_look("small", Health(in_sync=10, total=10), cursor, NOW + timedelta(minutes=1))[0]
    assert after_look("small", ILL, cursor, NOW + REPEAT_EVERY)[0]
    assert after_look("small", ILL, "no cursor of ours", NOW)[0]


def test_the_sensor_keeps_the_page(tmp_path: Path, instance: DagsterInstance) -> None:
    world = FolderWorld(tmp_path / "world")
    world.is_well = ILL
    found = evaluate(build(small_lab(), world), "lab_health", world, instance)
    (event,) = found.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert found.skip_message == "1 broken, 0 waiting. 9 of 10 assets within reach in sync."


def test_the_page_leads_to_the_lineage_of_each_layer() -> None:
    shown = home_metadata(ILL, ("host", "mart"))["lineage"].value
    assert "[all](/asset-groups)" in shown
    assert "[layer host](/asset-groups~group%3A%22host%22/)" in shown
    assert "[from sensors to marts](/asset-groups~%2Bkey%3A%22mart%2F%2A%22/)" in shown
    assert "mart" not in str(home_metadata(ILL, ("host",))["lineage"].value)

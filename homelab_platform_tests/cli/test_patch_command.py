"""`homelab patch`: what is printed before anything changes, what is asked, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest

from homelab_platform.cli import common, main
from homelab_platform.graph.assets import asset_key
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.operations.fleet import World, fleet_in, own_journal, world_of_four

pytestmark = pytest.mark.servers


class Site:
    """A site whose hosts are in memory."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def fleet(self) -> Fleet:
        return self._fleet


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def memory(
    postgres_endpoint: PostgresEndpoint, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    world = world_of_four()
    with own_journal(postgres_endpoint) as journal:
        site = Site(fleet_in(world, journal))
        monkeypatch.setattr(common, "find_lab", lambda _given: Path("lab.yaml"))
        monkeypatch.setattr(common, "resolved_lab", lambda _path: None)
        monkeypatch.setattr(common, "running_site", lambda _path: None)
        monkeypatch.setattr("homelab_platform.sites.local.world_of", lambda _lab, _site: site)
        monkeypatch.setattr("homelab_platform.graph.apply.instance_of", lambda _site: nullcontext(instance))
        yield world


def homelab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["homelab", "patch", *words])
    return main._main()


def test_a_dry_run_prints_the_timetable_and_every_package_and_changes_nothing(
    memory: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert homelab(monkeypatch, "--dry-run") == 2
    said = capsys.readouterr().out
    assert "pi-2  canary  first Sunday 03:00-06:00  Sun 2026-12-06 03:00  1" in said
    assert "openssl 3.0.1 → 3.0.2" in said
    assert homelab(monkeypatch, "--dry-run", "--json", "nas") == 2
    (row,) = json.loads(capsys.readouterr().out)["hosts"]
    assert row["updates"] == [{"name": "openssl", "before": "3.0.1", "after": "3.0.2"}]
    assert memory.log == []


def test_hosts_are_patched_only_once_a_person_agrees(
    memory: World,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def refuse(text: str) -> bool:
        asked.append(text)
        return False

    monkeypatch.setattr("typer.confirm", refuse)
    assert homelab(monkeypatch, "nas") == 0
    assert asked == ["Patch 1 host now?"]
    assert memory.log == []
    assert homelab(monkeypatch, "nas", "--json") == 1
    assert memory.log == []
    assert homelab(monkeypatch, "nas", "--yes") == 0
    assert memory.happened("updated") == ["nas"]
    assert instance.get_latest_materialization_event(asset_key("patch/nas")) is not None
    capsys.readouterr()
    assert homelab(monkeypatch, "nas", "--yes") == 0
    assert "Nothing is due." in capsys.readouterr().out


def test_a_host_that_is_off_or_fails_is_an_error_and_named(
    memory: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.hosts["nas"].up_at = 1e9
    assert homelab(monkeypatch, "nas", "--dry-run") == 1
    assert "does not answer" in capsys.readouterr().out
    memory.hosts["pi-2"].refuses_updates = "its updates failed with code 100: E: dpkg"
    assert homelab(monkeypatch, "--yes", "pi-2", "pi-3") == 1
    both = capsys.readouterr()
    assert "pi-3  untouched" in both.out
    assert "host/pi-2  its updates failed with code 100" in both.err
    assert homelab(monkeypatch, "pi2", "--dry-run") == 1
    assert "Did you mean pi-2?" in capsys.readouterr().err

"""Dagster's own storage stays small, and no page loses what it last showed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.labfile import LabWatch, stamp
from homelab_platform.graph.prune import KEEP, KEEP_FAILED, may_go, prune
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.world import FolderWorld
from homelab_platform_tests.plan.labs import small_lab


@pytest.mark.parametrize("job", [*KEEP, "something else"])
def test_failures_are_kept_longer_than_what_went_well(job: str) -> None:
    day = timedelta(days=1)
    assert not may_go(job, succeeded=True, age=timedelta(hours=12))
    assert not may_go(job, succeeded=False, age=KEEP_FAILED - day)
    assert may_go(job, succeeded=True, age=timedelta(days=200))


def test_old_runs_go_and_the_newest_of_each_asset_stays(tmp_path: Path, instance: DagsterInstance) -> None:
    world = FolderWorld(tmp_path)
    job = build(small_lab(), world).resolve_job_def("ingest")
    runs = [job.execute_in_process(instance=instance).run_id for _ in range(3)]
    instance.report_runless_asset_event(dg.AssetObservation(asset_key("table/sensor_data")))
    assert prune(instance, datetime.now(UTC))["deleted"] == 0
    done = prune(instance, datetime.now(UTC) + timedelta(days=4))
    assert done == {"looked at": 3, "deleted": 2, "events without a run": 1}
    assert [run.run_id for run in instance.get_runs()] == [runs[-1]]
    assert instance.get_latest_materialization_event(asset_key("table/sensor_data")) is not None


def test_the_lab_is_read_again_only_when_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    folder = tmp_path / "lab"
    (folder / "hosts").mkdir(parents=True)
    (folder / "lab.yaml").write_text("lab: attic\ndomain: lab.example.org\ntimezone: Europe/London\n")
    watch = LabWatch(folder / "lab.yaml")
    first = watch.current()
    assert watch.current() is first
    (folder / "hosts" / "new.yaml").write_text("hosts: {}\n")
    assert watch.current() is not first


def test_a_lab_file_in_a_home_folder_is_watched_without_reading_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("lab: attic\n")
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "far.yaml").write_text("x: 1\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.yaml").write_text("x: 1\n")
    assert [Path(name).name for name, _, _ in stamp(tmp_path / "lab.yaml")] == ["lab.yaml"]

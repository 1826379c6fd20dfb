"""A run of marts without a partition, through the executor that the daemon uses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from homelab_platform.graph import marts
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.tags import NOMINAL_TAG
from homelab_platform.graph.work import Work, asked_of
from homelab_platform.paths import site_path
from homelab_platform_tests.graph.test_build import build
from homelab_platform_tests.graph.test_marts import lab_with_marts
from homelab_platform_tests.graph.world import FolderWorld

TODAY = datetime.now(UTC).date()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderWorld]:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    site_path("small").mkdir(parents=True)
    logging.disable(logging.CRITICAL)
    yield FolderWorld(tmp_path / "world")
    logging.disable(logging.NOTSET)


def launch(
    defs: dg.Definitions, job_name: str, instance: DagsterInstance, config: dict[str, Any] | None = None
) -> dg.DagsterRun:
    """One run as the launchpad makes it: no tags, no partition, the job's own executor."""
    job = defs.resolve_job_def(job_name)
    run = instance.create_run_for_job(job, run_config=config)
    list(execute_run_iterator(InMemoryJob(job), run, instance))
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


@pytest.mark.slow
def test_marts_that_read_marts_run_from_the_launchpad_without_a_partition(
    world: FolderWorld, instance: DagsterInstance
) -> None:
    defs = build(lab_with_marts(), world)
    for job in ("apply", "marts", "marts"):  # the second time each finds its upstream materialized
        run = launch(defs, job, instance)
        assert run.is_success
        assert run.tags[NOMINAL_TAG] == str(TODAY)
    days = [str(TODAY), str(marts.first_day("small"))]
    config = asked_of([f"mart__{name}" for name in ("readings_hourly", "gaps", "own")], Work(apply=False, dates=days))
    world.worked.clear()
    assert launch(defs, "marts", instance, config).is_success
    assert [request["dates"] for _, request in world.worked] == [",".join(days)] * 3
    assert instance.get_materialized_partitions(asset_key("mart/own")) == set(days)


def test_a_run_without_marts_is_given_no_day(world: FolderWorld, instance: DagsterInstance) -> None:
    assert NOMINAL_TAG not in launch(build(lab_with_marts(), world), "ingest", instance).tags

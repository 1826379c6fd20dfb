"""Reading Dagster's storage without Dagster: Dagster itself writes it here, on a real PostgreSQL."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dagster as dg

from homelab_platform.tools.dagster import DagsterStorage
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.postgres import create_database

pytestmark = [pytest.mark.servers, pytest.mark.slow]

HOME = """\
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_db:
      hostname: {host}
      port: {port}
      username: {user}
      password: {password}
      db_name: {database}
      scheme: postgresql+psycopg2
"""
TABLE = dg.AssetKey(["table", "sensor_data"])


@dg.asset(key=TABLE)
def sound() -> None:
    """Works."""


@dg.asset(key=["mart", "daily"])
def broken() -> None:
    """Fails as our assets do."""
    raise dg.Failure("mart/daily: the disk is full. Make room.", allow_retries=False)


@dg.asset(key=["mart", "hourly"])
def crashing() -> None:
    """Fails as a fault of ours does."""
    raise ZeroDivisionError("nothing to divide by")


@dg.multi_asset_check(specs=[dg.AssetCheckSpec("gaps", asset=TABLE), dg.AssetCheckSpec("range", asset=TABLE)])
def verdicts() -> Iterator[dg.AssetCheckResult]:
    """One passes, one warns."""
    yield dg.AssetCheckResult(passed=True, check_name="range", asset_key=TABLE)
    warn = dg.AssetCheckSeverity.WARN
    yield dg.AssetCheckResult(
        passed=False, check_name="gaps", asset_key=TABLE, severity=warn, description="3 % missing"
    )


@dg.asset_check(asset=TABLE, name="files_exist")
def never() -> dg.AssetCheckResult:
    """Comes to no verdict."""
    raise dg.Failure("the bucket does not answer")


@pytest.fixture
def storage(lakehouse: Lakehouse) -> DagsterStorage:
    """A database of its own, which no Dagster wrote yet."""
    name = f"dagster_{uuid.uuid4().hex[:8]}"
    create_database(lakehouse.postgres, name)
    made = DagsterStorage(lakehouse.postgres.with_database(name))
    assert made.verdicts() == [] and made.heartbeats() == {} and made.run_ids("") == []
    return made


@pytest.fixture
def instance(storage: DagsterStorage, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    place = storage.endpoint
    text = HOME.format(
        host=place.host, port=place.port, user=place.user, password=place.password, database=place.database
    )
    (tmp_path / "dagster.yaml").write_text(text)
    logging.disable(logging.CRITICAL)
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made
    logging.disable(logging.NOTSET)


def test_what_dagster_wrote_is_read_back(instance: dg.DagsterInstance, storage: DagsterStorage) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert storage.runs(before) == [] and storage.verdicts() == [] and storage.failed_ticks() == []
    defs = dg.Definitions(
        assets=[sound, broken, crashing],
        asset_checks=[verdicts, never],
        jobs=[
            dg.define_asset_job("quality", dg.AssetSelection.assets(TABLE)),
            dg.define_asset_job("marts", dg.AssetSelection.assets(["mart", "daily"])),
            dg.define_asset_job("apply", dg.AssetSelection.assets(["mart", "hourly"])),
        ],
    )
    ran = {
        name: defs.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False).run_id
        for name in ("quality", "marts", "apply")
    }
    runs = {run.job: run for run in storage.runs(before)}
    assert {job: run.status for job, run in runs.items()} == dict.fromkeys(ran, "FAILURE")
    marts = runs["marts"]
    assert marts.run_id == ran["marts"] and storage.run_ids(marts.run_id[:8]) == [marts.run_id]
    assert marts.started is not None and marts.ended is not None
    assert before < marts.created <= marts.started <= marts.ended < datetime.now(UTC)
    assert storage.reason(ran["marts"]) == "mart/daily: the disk is full. Make room."
    assert storage.reason(ran["apply"]) == "ZeroDivisionError: nothing to divide by"
    log = storage.log(ran["marts"])
    assert next(line.text for line in log if line.failed) == "mart/daily: the disk is full. Make room."
    assert {line.step for line in log} >= {"mart__daily", ""}

    found = {one.check: one for one in storage.verdicts()}
    assert {name: one.passed for name, one in found.items()} == {"range": True, "gaps": False, "files_exist": None}
    gaps = found["gaps"]
    assert (gaps.asset, gaps.severity, gaps.description) == ("table/sensor_data", "warn", "3 % missing")
    assert found["files_exist"].run_failed and before < gaps.at < datetime.now(UTC)
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(asset_key=TABLE, check_name="gaps", passed=True))
    last = next(one for one in storage.verdicts() if one.check == "gaps")
    assert last.passed and last.run_id == ""


def test_heartbeats_and_failed_ticks_are_read_back(instance: dg.DagsterInstance, storage: DagsterStorage) -> None:
    from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
    from dagster._daemon.types import DaemonHeartbeat
    from dagster_shared.error import SerializableErrorInfo

    now = datetime.now(UTC)
    instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SENSOR", "id", []))
    (at,) = [at for name, at in storage.heartbeats().items() if name == "SENSOR"]
    assert abs(at - now) < timedelta(seconds=2)
    error = SerializableErrorInfo("CheckError: no such asset\n", [], "CheckError")
    for name, last in (("reconcile", TickStatus.SKIPPED), ("new_objects", TickStatus.FAILURE)):
        for status in (TickStatus.FAILURE, last):
            failed = error if status is TickStatus.FAILURE else None
            instance.create_tick(
                TickData(name, name, InstigatorType.SENSOR, status, now.timestamp(), selector_id=name, error=failed)
            )
    (tick,) = storage.failed_ticks()
    assert (tick.name, tick.error) == ("new_objects", "CheckError: no such asset")

"""Trouble that producers and other engines make: wrong clocks, bursts, columns that go; each is seen and named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings import ledger
from homelab_platform.readings.contract import READINGS, ensure_tables
from homelab_platform.readings.ingest import ingest_objects
from homelab_platform.readings.quality import arrivals
from homelab_platform.readings.quality import servers as quality_servers
from homelab_platform.readings.quality.arrivals import Rate, burst
from homelab_platform.readings.quality.columns import check_columns
from homelab_platform.readings.quality.measures import check_readings
from homelab_platform.readings.quality.servers import check_servers, flow
from homelab_platform.readings.quality.verdicts import CheckResult
from homelab_platform.tools.endpoints import Engines, Lakehouse, ObjectsEndpoint
from homelab_platform.tools.nifi.flows import Bulletin, FlowHealth, Queue
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import object_key, pack
from homelab_platform_tests.readings.lake import catalog_of

STREAMS = {
    "air": ResolvedStream(
        name="air",
        source="mqtt",
        bucket="readings-raw",
        prefix="air/",
        sensors={"temperature": ResolvedSensor(name="temperature", unit="°C", low=-40, high=85, every=600)},
        columns={"battery": "double"},
    )
}
_COUNT = iter(range(10_000))


def line(device: str, moment: datetime, more: str = "", value: float = 20.0) -> bytes:
    return (
        f'{{"ts":"{moment.isoformat()}","device":"{device}","sensor":"temperature","value":{value}{more}}}\n'
    ).encode()


def deliver(lakehouse: Lakehouse, lines: bytes) -> None:
    key = object_key("air", datetime.now(UTC).date(), "tests", f"object-{next(_COUNT)}")
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    ingest_objects(lakehouse, [key], STREAMS)


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Iterator[Lakehouse]:
    ensure_tables(lakehouse)
    yield lakehouse


def verdicts(lakehouse: Lakehouse, now: datetime | None = None) -> dict[str, CheckResult]:
    return {verdict.name: verdict for verdict in check_readings(lakehouse, STREAMS, now=now)}


@pytest.mark.servers
def test_a_clock_a_year_ahead_is_named_with_its_offset_and_does_not_look_fresh(lake: Lakehouse) -> None:
    now = datetime.now(UTC)
    fine = b"".join(line("attic", now - timedelta(minutes=n)) for n in (10, 20, 30))
    deliver(lake, fine + b"".join(line("cellar", now + timedelta(days=365, minutes=n)) for n in range(3)))
    found = verdicts(lake)
    wrong = found["clocks"]
    assert (wrong.passed, wrong.severity, wrong.metadata["refused"]) == (False, "error", 3)
    assert "cellar (air) is 365 days ahead" in wrong.description
    assert "1 series" in found["freshness"].description  # the cellar has no reading at all


@pytest.mark.servers
def test_a_clock_some_hours_ahead_is_named_and_its_silence_is_not_hidden_by_times_to_come(lake: Lakehouse) -> None:
    now = datetime.now(UTC)
    deliver(lake, b"".join(line("cellar", now + timedelta(hours=n)) for n in range(1, 13)))
    found = verdicts(lake)
    assert "cellar (air) is 12 h ahead" in found["clocks"].description
    assert found["clocks"].metadata["clocks"][0]["what became of them"] == "taken in"
    assert found["freshness"].passed
    silent = verdicts(lake, now + timedelta(hours=6))  # nothing came since, though times up to then are there
    assert not silent["freshness"].passed
    assert "6 h" in silent["freshness"].description


@pytest.mark.servers
def test_ten_times_the_usual_is_told_and_everything_is_taken_in(lake: Lakehouse) -> None:
    now = datetime.now(UTC)
    deliver(lake, b"".join(line("attic", now - timedelta(seconds=n)) for n in range(2_000)))
    with ledger.connect(lake) as connection:
        for step in range(2, 40):
            connection.execute(
                "INSERT INTO ingest_ledger SELECT bucket, key || %s, etag, size, sha256, status, problem, 150, 0, 0,"
                " dates, snapshot_id, rejected_snapshot_id, seq, worker, committed_at - %s FROM ingest_ledger"
                " WHERE key NOT LIKE '%%+%%'",
                (f"+{step}", step * arrivals.STEP),
            )
        rates = arrivals.measure_rates(connection, lake.raw_bucket, datetime.now(UTC))
    verdict = burst(rates)
    assert not verdict.passed and "air brought 2,000 readings" in verdict.description
    assert "13 times its usual" in verdict.description
    assert catalog_of(lake).load_table(READINGS).scan().to_arrow().num_rows == 2_000


def test_what_has_no_usual_yet_and_what_is_small_is_no_burst() -> None:
    assert burst([Rate("new", 50_000, [10] * 5)]).passed
    assert burst([Rate("small", 900, [1] * 50)]).passed
    assert burst([]).passed
    assert not burst([Rate("wild", 10_000, [100] * 50)]).passed


@pytest.mark.servers
def test_a_column_that_another_engine_drops_renames_or_narrows_stops_ingest_and_is_named(lake: Lakehouse) -> None:
    now = datetime.now(UTC)
    deliver(lake, line("attic", now, ',"battery":3.1'))
    assert check_columns(lake, STREAMS).passed
    table = catalog_of(lake).load_table(READINGS)
    with table.update_schema() as change:
        change.rename_column("unit", "units")
    wrong = check_columns(lake, STREAMS)
    assert not wrong.passed and wrong.severity == "error"
    assert "column unit is missing" in wrong.description and "ALTER TABLE" in str(wrong.metadata["what to do"])
    with pytest.raises(HomelabError, match="column unit"):
        verdicts(lake)
    with pytest.raises(HomelabError, match="column unit"):
        deliver(lake, line("attic", now + timedelta(seconds=1)))
    with table.update_schema() as change:
        change.rename_column("units", "unit")
    with table.update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("battery")
    assert "column battery is missing" in check_columns(lake, STREAMS).description
    from pyiceberg.types import IntegerType

    with table.update_schema() as change:
        change.add_column("battery", IntegerType())
    assert "column battery is INTEGER, not DOUBLE" in check_columns(lake, STREAMS).description


@pytest.mark.servers
def test_a_field_that_a_producer_renames_or_sends_as_text_is_named_and_nothing_is_lost(lake: Lakehouse) -> None:
    now = datetime.now(UTC)
    old = b"".join(line("attic", now - timedelta(hours=5, minutes=-n), ',"power":3.1') for n in range(3))
    new = b"".join(line("attic", now - timedelta(hours=4, minutes=30 - n), ',"watts":3.1') for n in range(3))
    late = line("attic", now, ',"watts":"3.1"')
    deliver(lake, old + new + late)
    verdict = check_columns(lake, {})
    assert not verdict.passed and verdict.severity == "warn"
    assert "air no longer sends power" in verdict.description and "watts began then" in verdict.description
    assert "watts of air came as another kind of value 1 times" in verdict.description
    rows = catalog_of(lake).load_table(READINGS).scan().to_arrow()
    assert rows.num_rows == 7 and rows["watts_text"].drop_null().to_pylist() == ["3.1"]


@pytest.mark.servers
def test_a_server_that_stops_turns_the_check_red_by_name(lake: Lakehouse) -> None:
    good = check_servers(lake, Engines())
    assert good.passed and good.metadata["PostgreSQL_ms"] > 0 and good.metadata["object store_ms"] > 0
    with ObjectStore(lake.objects) as store:
        assert list(store.list(lake.lake_bucket, quality_servers.SCRATCH)) == []
    away = ObjectsEndpoint("http://127.0.0.1:9", "key", "secret")
    broken = Lakehouse(lake.postgres, away, lake.raw_bucket, lake.lake_bucket)
    wrong = check_servers(broken, Engines())
    assert not wrong.passed and "object store does not answer" in wrong.description
    assert "PostgreSQL does not" not in wrong.description


def test_a_flow_is_judged_by_what_stands_still_waits_and_complains() -> None:
    assert flow(FlowHealth("air", True, queues=(Queue("in", 2, 10, 1, 4.0),))).passed
    assert not flow(FlowHealth("air", False)).passed
    stopped = flow(FlowHealth("air", True, stopped=("PutReadings",)))
    assert stopped.severity == "error" and "PutReadings does not run" in stopped.description
    waits = flow(FlowHealth("air", True, queues=(Queue("retry", 7, 10, 1, 900.0),)))
    assert waits.severity == "warn" and "7 FlowFiles wait in retry, the oldest for 900 s" in waits.description
    assert flow(FlowHealth("air", True, queues=(Queue("answers", 7, 10, 1, 900.0, answers=True),))).passed
    loud = flow(FlowHealth("air", True, bulletins=(Bulletin("14:00", "ERROR", "PutReadings", "bucket is away"),)))
    assert loud.severity == "error" and "bucket is away" in loud.description

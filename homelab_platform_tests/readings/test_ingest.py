"""Raw objects to committed readings on real servers: every reading once, every refused line kept, whatever happens."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.readings import contract, ingest, ledger
from homelab_platform.readings.commit import batch as batches
from homelab_platform.readings.commit import parts
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.decode.mapping import METADATA_KEY
from homelab_platform.readings.decode.mapping import Mapping as FieldMapping
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore

pytestmark = pytest.mark.servers

START = datetime(2026, 10, 20, 10, tzinfo=UTC)


def reading(second: int, *, device: str = "esp-1", sensor: str = "temperature", **more: Any) -> dict[str, Any]:
    ts = (START + timedelta(seconds=second)).isoformat()
    return {"ts": ts, "site": "home", "device": device, "sensor": sensor, "value": second / 4, "unit": "°C", **more}


def ndjson(records: Iterable[Any]) -> bytes:
    return b"".join((r if isinstance(r, bytes) else orjson.dumps(r)) + b"\n" for r in records)


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse with both tables."""
    contract.ensure_tables(lakehouse)
    return lakehouse


def put(lake: Lakehouse, key: str, data: bytes, mapping: FieldMapping | None = None) -> None:
    with ObjectStore(lake.objects) as store:
        store.put(lake.raw_bucket, key, data, metadata={METADATA_KEY: mapping.to_json()} if mapping else None)


def sql(lake: Lakehouse, statement: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(lake)) as engine:
        return [tuple(row) for row in engine.execute(statement).fetchall()]


def test_readings_land_once_however_they_are_delivered(lake: Lakehouse) -> None:
    first = [reading(i) for i in range(100)]
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(first + first[:10]))
    put(lake, "env/2026-11-20/b/again.ndjson.gz", gzip.compress(ndjson(first)))
    done = ingest.ingest_pending(lake)
    assert (done.objects, done.rows, done.duplicates, done.rejected) == (2, 100, 110, 0)
    put(lake, "env/2026-11-21/a/mixed.ndjson", ndjson([reading(i) for i in range(150, 40, -1)]))
    again = ingest.ingest_pending(lake)
    assert (again.rows, again.duplicates) == (51, 59)
    assert sql(lake, "SELECT count(*), count(DISTINCT ts) FROM sensor_data") == [(151, 151)]
    assert ingest.ingest_pending(lake).objects == 0
    assert not ingest.pending_objects(lake)


def test_the_first_delivery_wins(lake: Lakehouse) -> None:
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1, value=1.0), reading(1, value=2.0)]))
    ingest.ingest_pending(lake)
    put(lake, "env/2026-11-20/a/2.ndjson", ndjson([reading(1, value=3.0), reading(2, value=4.0)]))
    ingest.ingest_pending(lake)
    assert sql(lake, "SELECT value FROM sensor_data ORDER BY ts") == [(1.0,), (4.0,)]


def test_refused_lines_are_kept_with_object_line_and_reason(lake: Lakehouse) -> None:
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1), b"{half", reading(2)]))
    report = ingest.ingest_pending(lake)
    assert (report.rows, report.rejected) == (2, 1)
    found = sql(lake, "SELECT source, line, split_part(reason, ':', 1), raw, stream FROM sensor_data_rejected")
    assert found == [("env/2026-11-20/a/1.ndjson", 2, "not JSON", "{half", "env")]


def test_a_broken_object_is_set_aside_whole_and_read_again_only_when_it_changes(lake: Lakehouse) -> None:
    whole = gzip.compress(ndjson(reading(i) for i in range(500)))
    put(lake, "env/2026-11-20/a/1.ndjson.gz", whole[:-30])
    put(lake, "env/2026-11-20/a/2.parquet", b"PAR1 this is not one")
    put(lake, "env/2026-11-20/a/3.ndjson", ndjson([reading(9999)]))
    report = ingest.ingest_pending(lake)
    assert (report.objects, report.rows, report.quarantined) == (3, 1, 2)
    assert [key for key, _ in report.failed] == ["env/2026-11-20/a/1.ndjson.gz", "env/2026-11-20/a/2.parquet"]
    assert [e.status for e in ledger.entries(lake)] == ["quarantined", "quarantined", "ingested"]
    assert ingest.ingest_pending(lake).objects == 0
    put(lake, "env/2026-11-20/a/1.ndjson.gz", whole)
    assert ingest.ingest_pending(lake).rows == 500


def test_a_value_outside_its_sensors_range_is_kept_and_marked(lake: Lakehouse) -> None:
    sensor = ResolvedSensor(name="temperature", unit="°C", low=-40, high=85)
    stream = ResolvedStream(name="env", source="http", bucket="b", prefix="env/", sensors={"temperature": sensor})
    rows = [reading(1), reading(2, value=500.0, unit=None), reading(3, value=500.0, quality="simulated")]
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(rows))
    ingest.ingest_pending(lake, {"env": stream})
    found = sql(lake, "SELECT quality, unit FROM sensor_data ORDER BY ts")
    assert found == [("ok", "°C"), ("out_of_range", "°C"), ("simulated", "°C")]


def test_a_new_field_is_a_new_column_at_once_and_old_rows_have_none(lake: Lakehouse) -> None:
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1)]))
    ingest.ingest_pending(lake)
    put(lake, "env/2026-11-20/a/2.ndjson", ndjson([reading(2, RSSI=-60), reading(3, rssi="none", charging=True)]))
    ingest.ingest_pending(lake)
    found = sql(lake, "SELECT rssi, rssi_text, charging FROM sensor_data ORDER BY ts")
    assert found == [(None, None, None), (-60.0, None, None), (None, "none", True)]


def test_foreign_csv_and_parquet_become_readings_through_a_mapping(lake: Lakehouse) -> None:
    wide = FieldMapping.parse(
        {
            "ts": {"column": "time", "format": "%d.%m.%Y %H:%M", "tz": "Europe/Berlin"},
            "device": {"const": "station"},
            "melt": ["temp", "hum"],
        }
    )
    put(lake, "w/files/x.csv", b"time;temp;hum;note\r\n20.10.2026 12:00;4.5;80;a\r\n20.10.2026 12:10;;x;b\r\n", wide)
    long = FieldMapping.parse({"ts": {"column": "t"}, "device": {"column": "id"}, "sensor": {"const": "co2"}})
    table = pa.table(
        {"t": pa.array([START], pa.timestamp("ns", "UTC")), "id": ["hall"], "value": pa.array([400], pa.int32())}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    put(lake, "w/files/y.parquet", sink.getvalue(), long)
    report = ingest.ingest_pending(lake)
    assert (report.rows, report.rejected) == (3, 1)
    assert sql(lake, "SELECT device, sensor, value, epoch(ts) FROM sensor_data ORDER BY ALL") == [
        ("hall", "co2", 400.0, START.timestamp()),
        ("station", "hum", 80.0, START.timestamp()),
        ("station", "temp", 4.5, START.timestamp()),
    ]
    assert sql(lake, "SELECT line, reason FROM sensor_data_rejected") == [(3, "value is not a number")]


@pytest.mark.slow
def test_an_object_larger_than_memory_allows_is_written_in_pieces_and_taken_back_when_it_is_broken(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FLUSH_ROWS", 5_000)
    rows = [reading(i % 40_000, device=f"d{i % 3}") for i in range(60_000)]
    put(lake, "env/2026-11-20/a/0.ndjson", ndjson(reading(i) for i in range(10)))
    put(lake, "env/2026-11-20/a/1.ndjson.gz", gzip.compress(ndjson(rows), 1)[:-40])
    put(lake, "env/2026-11-20/a/2.ndjson.gz", gzip.compress(ndjson(rows[:30_000]), 1))
    report = ingest.ingest_pending(lake)
    assert (report.rows, report.quarantined) == (30_010, 1)
    assert sql(lake, "SELECT count(*) FROM sensor_data") == [(30_010,)]
    assert maintenance.clean_orphans(lake, grace=timedelta(0)).files == 0


@pytest.mark.slow
def test_repeats_between_the_pieces_of_one_object_count_once(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FLUSH_ROWS", 1_000)
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(reading(i % 30_000) for i in range(50_000)))
    report = ingest.ingest_pending(lake)
    assert (report.rows, report.duplicates) == (30_000, 20_000)
    assert sql(lake, "SELECT count(*), count(DISTINCT ts) FROM sensor_data") == [(30_000, 30_000)]


def test_what_two_workers_commit_at_once_counts_once(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have compared with the empty table before either commits."""
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(reading(i) for i in range(100)))
    put(lake, "env/2026-11-20/b/1.ndjson", ndjson(reading(i) for i in range(50, 200)))
    meet = threading.Barrier(2)
    waited = threading.local()
    upload = Session.upload_part

    def wait(self: Session, *args: Any) -> Any:
        if not hasattr(waited, "done"):
            waited.done = True
            meet.wait(20)
        return upload(self, *args)

    monkeypatch.setattr(Session, "upload_part", wait)
    reports: list[ingest.IngestReport] = []
    threads = [
        threading.Thread(target=lambda k=k: reports.append(ingest.ingest_objects(lake, [k])))
        for k in ("env/2026-11-20/a/1.ndjson", "env/2026-11-20/b/1.ndjson")
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(r.rows for r in reports) == 200
    assert sum(r.duplicates for r in reports) == 50
    assert sql(lake, "SELECT count(*), count(DISTINCT ts) FROM sensor_data") == [(200, 200)]


def test_one_object_given_to_two_workers_is_ingested_by_one(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when claims do not keep them apart."""
    monkeypatch.setattr(ledger.Worker, "claim", lambda _self, keys: list(keys))
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(reading(i) for i in range(100)))
    put(lake, "env/2026-11-20/a/2.ndjson", ndjson(reading(i) for i in range(200, 250)))
    reports: list[ingest.IngestReport] = []
    threads = [threading.Thread(target=lambda: reports.append(ingest.ingest_pending(lake))) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(r.rows for r in reports) == 150
    assert sum(r.objects for r in reports) == 2
    assert sql(lake, "SELECT count(*) FROM sensor_data") == [(150,)]
    assert len(ledger.entries(lake)) == 2


def test_readings_written_by_another_engine_count_too(lake: Lakehouse) -> None:
    from homelab_platform_tests.readings.lake import add_readings, catalog_of

    put(lake, "env/2026-11-20/a/1.ndjson", ndjson(reading(i) for i in range(10)))
    ingest.ingest_pending(lake)
    table = catalog_of(lake).load_table(contract.READINGS)
    add_readings(table, [{**reading(i), "ts": START + timedelta(seconds=i)} for i in range(10, 20)])
    put(lake, "env/2026-11-20/a/2.ndjson", ndjson(reading(i) for i in range(30)))
    report = ingest.ingest_pending(lake)
    assert (report.rows, report.duplicates) == (10, 20)
    assert ledger.dates_changed_since(lake, 1)[0] == (date(2026, 10, 20),)


def test_a_dropped_contract_column_stops_ingest_before_it_writes(lake: Lakehouse) -> None:
    from homelab_platform_tests.readings.lake import catalog_of

    with catalog_of(lake).load_table(contract.READINGS).update_schema() as change:
        change.delete_column("unit")
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1)]))
    with pytest.raises(HomelabError, match=r"column unit .* is missing"):
        ingest.ingest_pending(lake)
    assert len(ingest.pending_objects(lake)) == 1


def test_a_dead_server_is_named_and_nothing_is_lost(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1)]))
    dead = PostgresEndpoint("127.0.0.1", 9, "u", "d", "secret")
    with pytest.raises(HomelabError, match=r"127\.0\.0\.1:9") as caught:
        ingest.ingest_pending(Lakehouse(dead, lake.objects, lake.raw_bucket, lake.lake_bucket))
    assert "secret" not in str(caught.value)
    nowhere = ObjectsEndpoint("http://127.0.0.1:9", "k", "secret")
    with pytest.raises(HomelabError, match=r"127\.0\.0\.1:9"):
        ingest.ingest_pending(Lakehouse(lake.postgres, nowhere, lake.raw_bucket, lake.lake_bucket))
    put_object = ObjectStore.put

    def fail(self: ObjectStore, bucket: str, key: str, data: Any, **more: Any) -> str:
        if "metadata.json" in key:
            raise HomelabError.of("S3 of this test", "died", "")
        return put_object(self, bucket, key, data, **more)

    with monkeypatch.context() as patch, pytest.raises(HomelabError, match="died"):
        patch.setattr(ObjectStore, "put", fail)
        ingest.ingest_pending(lake)
    assert ingest.ingest_pending(lake).rows == 1
    assert maintenance.clean_orphans(lake, grace=timedelta(0)).files > 0
    assert sql(lake, "SELECT count(*) FROM sensor_data") == [(1,)]


def test_a_full_disk_is_named_before_a_large_object_is_read(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "IN_MEMORY", 10)
    monkeypatch.setattr(batches, "DISK_RESERVE", 1 << 60)
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1)]))
    with pytest.raises(HomelabError, match="MiB free"):
        ingest.ingest_pending(lake)
    monkeypatch.undo()
    assert ingest.ingest_pending(lake).rows == 1


@pytest.mark.slow
def test_many_small_commits_leave_few_files_and_snapshots(lake: Lakehouse) -> None:
    for i in range(40):
        put(lake, f"env/2026-11-20/a/{i:03}.ndjson", ndjson([reading(i), reading(i, device="esp-2")]))
        ingest.ingest_pending(lake)
    from homelab_platform.tools.iceberg import tables as iceberg

    with ledger.connect(lake) as connection:
        io = iceberg.open_io(lake)
        state = iceberg.load_table(connection, lake, contract.READINGS)
        assert len(iceberg.live_entries(state, io)) < 20
        assert len(iceberg.manifests(state, io)) <= 17
        assert len(state.metadata.snapshots) <= 24
        assert len(state.metadata.metadata_log) <= 16
    assert sql(lake, "SELECT count(*), count(DISTINCT (device, ts)) FROM sensor_data") == [(80, 80)]
    report = maintenance.compact(lake)
    assert report.files_after == 1
    assert report.rows == 80
    maintenance.expire_snapshots(lake, keep=1, grace=timedelta(0))
    assert maintenance.clean_orphans(lake, grace=timedelta(0)).files == 0
    assert sql(lake, "SELECT count(*) FROM sensor_data") == [(80,)]
    with ObjectStore(lake.objects) as store:
        data = list(store.list(lake.lake_bucket, "default/sensor_data/data/"))
    assert len(data) == 1


def test_retention_drops_whole_days_and_leaves_the_rest(lake: Lakehouse) -> None:
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1), reading(86_400), reading(2 * 86_400 - 40_000)]))
    ingest.ingest_pending(lake)
    dropped = maintenance.drop_before(lake, date(2026, 10, 21))
    assert dropped.dates == (date(2026, 10, 20),)
    assert sql(lake, "SELECT DISTINCT date FROM sensor_data") == [(date(2026, 10, 21),)]


def test_marts_learn_which_days_changed(lake: Lakehouse) -> None:
    assert ledger.dates_changed_since(lake) == ((), 0)
    put(lake, "env/2026-11-20/a/1.ndjson", ndjson([reading(1)]))
    first = ingest.ingest_pending(lake)
    days, newest = ledger.dates_changed_since(lake)
    assert (days, newest) == ((date(2026, 10, 20),), first.seq)
    put(lake, "env/2026-11-20/a/2.ndjson", ndjson([reading(86_400)]))
    ingest.ingest_pending(lake)
    maintenance.compact(lake)
    assert ledger.dates_changed_since(lake, newest)[0] == (date(2026, 10, 21),)


deliveries = st.lists(
    st.tuples(
        st.lists(
            st.one_of(
                st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 3)),
                st.sampled_from([b"oops", b'{"ts":1}', b"", b"[]"]),
            ),
            max_size=30,
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(deliveries, st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_deliveries_in_any_order_by_two_workers_leave_the_set_of_readings(
    lake: Lakehouse, objects: list[tuple[list[Any], bool]], split: int, random: Any
) -> None:
    name = f"x{uuid4().hex[:15]}"
    keys = []
    sent: set[tuple[str, int]] = set()
    lines = refused = 0
    for number, (items, packed) in enumerate(objects):
        records: list[Any] = []
        for item in items:
            lines += item != b""
            refused += item in (b"oops", b'{"ts":1}', b"[]")
            if isinstance(item, bytes):
                records.append(item)
                continue
            device, second, day = item
            sent.add((f"{name}-{device}", second + day * 86_400))
            records.append(reading(second + day * 86_400, device=f"{name}-{device}"))
        data = ndjson(records)
        key = f"{name}/2026-11-20/p/{number}.ndjson"
        put(lake, key, gzip.compress(data) if packed else data)
        keys.append(key)
    random.shuffle(keys)
    groups = [keys[i::split] for i in range(split)] + [keys]
    reports: list[ingest.IngestReport] = []
    lots = [groups[0::2], groups[1::2]]

    def work(lot: list[list[str]]) -> None:
        reports.extend(ingest.ingest_objects(lake, g) for g in lot)

    threads = [threading.Thread(target=work, args=(lot,)) for lot in lots]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    reports.append(ingest.ingest_objects(lake, keys))
    found = sql(lake, f"SELECT device, epoch(ts)::bigint FROM sensor_data WHERE starts_with(device, '{name}')")
    base = int(START.timestamp())
    assert sorted((d, t - base) for d, t in found) == sorted(sent)
    assert sum(r.rows + r.duplicates for r in reports) == lines - refused
    assert sum(r.rejected for r in reports) == refused
    kept = sql(lake, f"SELECT count(*) FROM sensor_data_rejected WHERE stream = '{name}'")
    assert kept == [(refused,)]


def test_sorting_with_the_kernel_and_without_gives_the_same_order() -> None:
    import numpy as np

    from homelab_platform.readings.decode.columns import RowBuffer, chunk_of_rows
    from homelab_platform.readings.decode.record import Row

    random = np.random.default_rng(4)
    rows = [
        Row(int(t) * 1_000_000, None, f"d{d}", f"s{s}", float(i), None, "ok", None)
        for i, (t, d, s) in enumerate(zip(*(random.integers(0, n, 5000) for n in (300_000, 7, 3)), strict=True))
    ]
    buffer = RowBuffer({})
    chunk = chunk_of_rows(rows + rows[:100], buffer, range(5_100))
    fast, slow = (parts.sort_rows(chunk, buffer, use_kernel=k) for k in (True, False))
    assert fast.order.tolist() == slow.order.tolist()
    assert fast.starts.tolist() == slow.starts.tolist()
    assert fast.spans == slow.spans


LOADED = """
import json, sys
from homelab_platform.readings import ingest
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
postgres, objects, raw, lake = json.load(sys.stdin)
done = ingest.ingest_pending(Lakehouse(PostgresEndpoint(**postgres), ObjectsEndpoint(**objects), raw, lake))
print(done.rows, done.duplicates, sorted({"pandas", "numba", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_small_arrival_that_overlaps_is_taken_in_without_the_heavy_libraries(lake: Lakehouse) -> None:
    """A pod on a Pi that takes readings in would hold them in memory for ever after."""
    put(lake, "environment/1.ndjson", ndjson(reading(i) for i in range(20)))
    assert ingest.ingest_pending(lake).rows == 20
    put(lake, "environment/2.ndjson", ndjson(reading(i) for i in range(10, 30)))
    text = orjson.dumps([vars(lake.postgres), vars(lake.objects), lake.raw_bucket, lake.lake_bucket])
    done = subprocess.run([sys.executable, "-c", LOADED], input=text, capture_output=True, timeout=60, check=False)
    assert done.stdout.decode() == "10 10 []\n", done.stderr.decode()

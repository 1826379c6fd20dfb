"""What deliveries do to each other, on real servers: contradictions, corrections, deliveries taken back, budgets."""

from __future__ import annotations

import io
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest

from homelab_platform.lab.resolved import ResolvedStream
from homelab_platform.readings import contract, ingest, ledger
from homelab_platform.readings.commit import batch as batches
from homelab_platform.readings.commit import budget
from homelab_platform.readings.commit.session import open_session
from homelab_platform.readings.commit.withdraw import withdraw
from homelab_platform.readings.decode.mapping import METADATA_KEY, Mapping
from homelab_platform.readings.quality.reconciliation import rows_agree
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.contract import MAX_STREAM_COLUMNS

pytestmark = pytest.mark.servers

START = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) - timedelta(days=30)
DAY = START.date()


def line(second: int, value: float, **more: Any) -> bytes:
    at = (START + timedelta(seconds=second)).isoformat()
    return orjson.dumps({"ts": at, "device": "d", "sensor": "t", "value": value, **more}) + b"\n"


def bring(lake: Lakehouse, key: str, *lines: bytes, mapping: Mapping | None = None) -> ledger.LedgerEntry:
    """Put an object and ingest it; its entry in the ledger."""
    with ObjectStore(lake.objects) as store:
        metadata = {METADATA_KEY: mapping.to_json()} if mapping else None
        store.put(lake.raw_bucket, key, b"".join(lines), metadata=metadata)
    ingest.ingest_objects(lake, [key])
    return next(entry for entry in ledger.entries(lake, keys=[key]))


def sql(lake: Lakehouse, statement: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(lake)) as engine:
        return [tuple(row) for row in engine.execute(statement).fetchall()]


def values(lake: Lakehouse) -> list[float]:
    return [row[0] for row in sql(lake, "SELECT value FROM sensor_data ORDER BY ts")]


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse with both tables."""
    contract.ensure_tables(lakehouse)
    return lakehouse


def test_two_values_for_one_identity_are_never_already_there(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = bring(lake, "env/2026-11-20/a/1.ndjson", line(1, 1.0), line(2, 2.0), line(1, 9.0), line(2, 2.0))
    assert (entry.rows, entry.duplicates, entry.rejected, entry.conflicts) == (2, 1, 1, 1)
    ((at, reason, raw),) = sql(lake, "SELECT line, reason, raw FROM sensor_data_rejected")
    assert at == 3
    assert reason.startswith("contradiction: another value") and "line 1 says 1.0" in reason
    assert orjson.loads(raw)["value"] == 9.0
    other = bring(lake, "env/2026-11-20/a/2.ndjson", line(1, 5.0), line(3, 3.0))
    assert (other.rows, other.duplicates, other.rejected, other.differing) == (1, 1, 0, 1)
    monkeypatch.setattr(
        batches, "FLUSH_ROWS", 10
    )  # the object is written in pieces, and contradicts itself across them
    many = [line(100 + i, i) for i in range(40)]
    pieces = bring(lake, "env/files/long.ndjson", *many, line(101, 77.0), mapping=Mapping(text=Mapping().text))
    assert (pieces.rows, pieces.duplicates, pieces.conflicts) == (40, 0, 1)
    assert rows_agree(lake, everything=True).passed


@pytest.mark.slow
def test_a_delivery_taken_back_leaves_what_others_brought_too(lake: Lakehouse) -> None:
    bring(lake, "env/files/wrong.ndjson", line(1, 1.0), line(2, 2.0), line(86_400 * 2, 3.0), b"no\n")
    shared = bring(lake, "env/2026-11-20/a/other.ndjson", line(2, 2.0), line(4, 4.0), b"not one\n")
    assert shared.duplicates == 1
    newest = ledger.dates_changed_since(lake)[1]
    with open_session(lake) as session:
        done = withdraw(session, ["env/files/wrong.ndjson"], "a test")
    assert (done.objects, done.readings, len(done.days)) == (1, 3, 2)
    assert values(lake) == [4.0]
    assert ledger.dates_changed_since(lake, newest)[0] == (DAY, DAY + timedelta(days=2))
    assert list(done.read_again) == ["env/2026-11-20/a/other.ndjson"]
    ingest.ingest_pending(lake)
    assert values(lake) == [2.0, 4.0]
    entries = {entry.key: entry for entry in ledger.entries(lake)}
    assert entries["env/files/wrong.ndjson"].status == "withdrawn"
    assert "3 readings taken back" in (entries["env/files/wrong.ndjson"].problem or "")
    other = entries["env/2026-11-20/a/other.ndjson"]
    assert (other.status, other.rows, other.duplicates, other.rejected) == ("ingested", 2, 0, 1)
    assert rows_agree(lake, everything=True).passed
    ingest.bring_back(lake, ["env/files/wrong.ndjson"])
    assert ingest.ingest_pending(lake).rows == 2
    assert values(lake) == [1.0, 2.0, 4.0, 3.0]
    assert rows_agree(lake, everything=True).passed


@pytest.mark.slow
def test_a_correction_replaces_values_remembers_them_and_can_be_taken_back(lake: Lakehouse) -> None:
    bring(lake, "env/2026-11-20/a/1.ndjson", line(1, 1.0), line(2, 2.0), line(3, 3.0))
    entry = bring(
        lake, "env/files/right.ndjson", line(2, 22.0), line(3, 3.0), line(4, 4.0), mapping=Mapping(replaces=True)
    )
    assert (entry.rows, entry.duplicates, entry.replaced) == (2, 1, 1)
    assert values(lake) == [1.0, 22.0, 3.0, 4.0]
    ((source, reason, raw),) = sql(lake, "SELECT source, reason, raw FROM sensor_data_rejected")
    assert source == "env/2026-11-20/a/1.ndjson"
    assert reason == "replaced: a correction says another value (env/files/right.ndjson)"
    assert orjson.loads(raw)["value"] == 2.0
    assert rows_agree(lake, everything=True).passed
    with open_session(lake) as session:
        done = withdraw(session, ["env/files/right.ndjson"], "a test")
    ingest.ingest_objects(lake, done.read_again)
    assert values(lake) == [1.0, 2.0, 3.0]
    assert rows_agree(lake, everything=True).passed


def test_one_producer_cannot_close_the_table_nor_fill_it(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [line(i, i, **{f"f{8 * i + n}": n for n in range(8)}) for i in range(20)]
    entry = bring(lake, "bad/2026-11-20/a/1.ndjson", *wide)
    assert (entry.rows, entry.left_out) == (20, 160 - MAX_STREAM_COLUMNS)
    good = bring(lake, "good/2026-11-20/a/1.ndjson", line(1000, 1.0, battery=90))
    assert (good.rows, good.left_out) == (1, 0)
    assert sql(lake, "SELECT battery FROM sensor_data WHERE battery IS NOT NULL") == [(90.0,)]
    again = bring(lake, "bad/2026-11-20/a/2.ndjson", line(1001, 1.0, yet_another=1))
    assert (again.rows, again.left_out) == (1, 1)

    monkeypatch.setattr(budget, "REJECTED_PER_OBJECT", 50)
    monkeypatch.setattr(budget, "DAYS_PER_OBJECT", 3)
    junk = bring(lake, "bad/2026-11-20/a/3.ndjson", b"{}\n" * 5_000)
    assert (junk.rejected, junk.unkept) == (51, 4_950)
    many = bring(lake, "bad/2026-11-20/a/4.ndjson", *(line(86_400 * i, i) for i in range(6)))
    assert (many.rows, many.rejected) == (3, 3)
    old = bring(lake, "bad/2026-11-20/a/5.ndjson", line(-86_400 * 9000, 1.0))
    assert (old.rows, old.rejected) == (0, 1)
    assert bring(lake, "bad/files/old.ndjson", line(-86_400 * 9000, 1.0)).rows == 1
    reasons = {row[0].split(":")[0] for row in sql(lake, "SELECT DISTINCT reason FROM sensor_data_rejected")}
    assert any("more than 3 days" in reason for reason in reasons)
    assert any("days ago" in reason for reason in reasons)
    assert rows_agree(lake, everything=True).passed


def test_times_without_a_zone_are_those_of_the_stream(lake: Lakehouse) -> None:
    with ObjectStore(lake.objects) as store:
        text = b"".join(
            orjson.dumps({"ts": f"2026-10-25T{time}", "device": "d", "sensor": "t", "value": n}) + b"\n"
            for n, time in enumerate(("01:30:00", "02:30:00", "02:30:00", "03:30:00"))
        )
        store.put(lake.raw_bucket, "plugs/2026-10-25/a/1.ndjson", text)
    stream = ResolvedStream(name="plugs", source="http", bucket="b", prefix="plugs/", tz="Europe/Berlin")
    ingest.ingest_pending(lake, {"plugs": stream})
    found = [
        row[0].astimezone(UTC).isoformat()[11:16] for row in sql(lake, "SELECT ts FROM sensor_data ORDER BY value")
    ]
    assert found == ["23:30", "00:30", "01:30", "02:30"]
    assert date(2026, 10, 24) in {row[0] for row in sql(lake, "SELECT DISTINCT date FROM sensor_data")}


def test_our_own_export_comes_back_equal(lake: Lakehouse) -> None:
    from homelab_platform.readings.query.output import format_csv
    from homelab_platform.readings.query.run import run_query
    from homelab_platform.readings.sources.files import put_files

    bring(lake, "env/2026-11-20/a/1.ndjson", line(1, 0.1, serial="007", fw="1.50", ok=True, note='a "b"\nc, d; é'),
          line(2, 1e-7, unit="°C", serial="8"))  # fmt: skip
    question = "SELECT * EXCLUDE (source, ingested_at) FROM hive.default.sensor_data ORDER BY ts"
    before = sql(lake, question.replace("hive.default.", ""))
    out = io.StringIO()
    with run_query(lake, "SELECT * FROM hive.default.sensor_data ORDER BY ts") as result:
        format_csv(result, out)
    with open_session(lake) as session:
        withdraw(session, ["env/2026-11-20/a/1.ndjson"], "a test")
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "export.csv")
        path.write_text(out.getvalue(), encoding="utf-8")
        (made,) = put_files(lake, [path], stream="back")
    assert ingest.ingest_objects(lake, [made.key]).rejected == 0
    assert sql(lake, question.replace("hive.default.", "")) == before

"""Files that people drop: foreign columns are understood, what is unclear is refused before anything is sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.readings.decode.mapping import METADATA_KEY, Mapping, Source
from homelab_platform.readings.decode.record import Row
from homelab_platform.readings.sources.files import describe, put_files
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of this test."""

    def make(name: str, content: str | bytes, *, packed: bool = False) -> Path:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if packed else data)
        return path

    return make


def _rows(path: Path, mapping: Mapping | None = None) -> list[Row]:
    """The readings that the mapping found for the file makes of its first rows, by the ingest's own definition."""
    (plan,) = describe([path], mapping=mapping)
    return [row for _, row in plan.trial.rows]


def _what(row: Row) -> tuple[str, str, float]:
    return row.device, row.sensor, row.value


def _refusal(path: Path, mapping: Mapping | None = None) -> str:
    with pytest.raises(HomelabError) as caught:
        describe([path], mapping=mapping)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0].what


def test_the_contracts_own_columns_need_no_mapping(write: Write) -> None:
    line = '{"ts":"2026-01-01T00:00:00Z","device":"a","sensor":"t","value":1.5,"battery":3}\n'
    for name, packed in (("a.ndjson", False), ("b.json.gz", True), ("no-suffix", False), ("wrong.csv", False)):
        (plan,) = describe([write(name, line, packed=packed)])
        assert (plan.format, plan.compressed, plan.mapping) == ("ndjson", packed, None)


def test_a_time_and_a_value_make_a_sensor_named_after_the_file(write: Write) -> None:
    rows = _rows(write("boiler.csv", "timestamp,value\n2026-01-01 10:00:00,71.5\n"))
    assert [_what(row) for row in rows] == [("boiler", "boiler", 71.5)]
    assert rows[0].ts == int(datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp() * 1e6)


def test_a_value_column_with_a_name_of_its_own_is_the_sensor(write: Write) -> None:
    rows = _rows(write("cellar.csv", "Time;Temperature\n2026-01-01T10:00:00+01:00;7.5\n"))
    assert [_what(row) for row in rows] == [("cellar", "Temperature", 7.5)]


def test_several_numeric_columns_are_a_sensor_each(write: Write) -> None:
    text = (
        ",time,device,temperature,humidity,note\n"
        "0,2026-01-01T10:00:00Z,pi-1,20,55,\n1,2026-01-01T10:01:00Z,pi-1,21,,x\n"
    )
    rows = _rows(write("wide.csv", text))
    assert [_what(row) for row in rows] == [
        ("pi-1", "temperature", 20),
        ("pi-1", "humidity", 55),
        ("pi-1", "temperature", 21),
    ]
    assert rows[2].extras == {"note": "x"}


def test_an_export_of_a_home_automation_is_understood(write: Write) -> None:
    text = (
        "entity_id,state,last_changed\nsensor.kitchen,21.5,2026-01-01T10:00:00.000Z\n"
        "sensor.kitchen,unavailable,2026-01-01T11:00:00.000Z\n"
    )
    (plan,) = describe([write("history.csv", text)])
    assert plan.mapping is not None
    assert plan.mapping.fields["device"] == Source(column="entity_id")
    assert plan.mapping.fields["sensor"] == Source(const="state")
    assert [one.reason for one in plan.trial.refused] == ["value is not a number"]


def test_parquet_with_times_of_nanoseconds_and_no_zone(tmp_path: Path) -> None:
    table = pa.table(
        {"time": pa.array([datetime(2026, 1, 1)], pa.timestamp("ns")), "sensor": ["t"], "value": pa.array([1.25])}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows = _rows(tmp_path / "x.parquet")
    assert [_what(row) for row in rows] == [("x", "t", 1.25)]
    (plan,) = describe([tmp_path / "x.parquet"])
    assert "taken as UTC" in plan.notes[0]


@pytest.mark.parametrize(
    ("cell", "hour"), [("13.01.2026 10:00", 10), ("13/01/2026 10:00:00", 10), ("01/13/2026 10:00", 10)]
)
def test_usual_spellings_of_a_time_are_found(write: Write, cell: str, hour: int) -> None:
    (row,) = _rows(write("x.csv", f"date;value\n{cell};1\n"))
    assert datetime.fromtimestamp(row.ts / 1e6, UTC) == datetime(2026, 1, 13, hour, tzinfo=UTC)


def test_what_the_options_say_goes_before_any_guess(write: Write) -> None:
    path = write("x.csv", "when,a,b\n2026-01-01 10:00:00,1,2\n")
    known = Mapping.parse(
        {"ts": {"column": "when", "tz": "Europe/Berlin"}, "value": {"column": "b"}, "device": {"const": "pi"}}
    )
    (row,) = _rows(path, known)
    assert _what(row) == ("pi", "b", 2.0)
    assert row.ts == int(datetime(2026, 1, 1, 9, tzinfo=UTC).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", "", "is empty"),
        ("blank.csv", "\n \n", "nothing but blank"),
        ("header.csv", "ts,value\n", "no rows"),
        ("junk.bin", bytes(range(256)) * 20, "binary"),
        ("one.csv", "hello\nworld\n", "no columns separated"),
        ("values.csv", "2026-01-01T10:00:00Z,5\n2026-01-01T10:00:01Z,6\n", "first line"),
        ("list.json", '[{"a":1}]', "--map ts=COLUMN"),
        ("list.json", '[{"a":1}', "not JSON"),
        ("a.zip", b"PK\x03\x04xxxx", "ZIP"),
        ("cyrillic.csv", "время,t\n2026-01-01T10:00:00Z,1\n".encode("cp1251"), "--encoding cp1251"),
        ("comma.csv", "time;wert\n2026-01-01T10:00:00Z;1,234\n", "--decimal"),
        ("both.csv", "time;wert\n2026-01-01T10:00:00Z;21,5\n2026-01-01T10:00:01Z;21.5\n", "--decimal"),
        ("excel.csv", "time,value\n45951.104,1\n", "date format"),
        ("lost.csv", "time,value\n2026-01-01T10:00:00Z,12,4\n", "decimal commas"),
        ("notime.csv", "a,b\n1,2\n", "--map ts=COLUMN"),
        ("words.csv", "time,colour\n2026-01-01T10:00:00Z,red\n", "--map value=COLUMN"),
        ("odd.csv", "time,value\nyesterday,1\n", "--time-format"),
        ("usa.csv", "time,value\n01/02/2026 10:00,1\n", "day/month or month/day"),
        ("two.csv", "time,device,sensor,a,b\n2026-01-01T10:00:00Z,d,t,1,2\n", "--map value=COLUMN"),
        ("bad.parquet", b"PAR1" + b"\0" * 40, "damaged Parquet"),
        ("cut.csv.gz", gzip.compress(b"ts,value\n" * 9000, mtime=0)[:60], "breaks off"),
        ("x.json", '{"a":\n', "not JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) and value[-1:].isalnum() and "." in value[-8:] else "",
)
def test_what_cannot_be_ingested_is_refused_with_the_way_out(
    write: Write, name: str, content: str | bytes, said: str
) -> None:
    assert said in _refusal(write(name, content))


def test_a_column_that_is_not_there_is_named_beside_those_that_are(write: Write) -> None:
    path = write("x.csv", "time,a\n2026-01-01T10:00:00Z,1\n")
    assert "no column temprature" in _refusal(path, Mapping.parse({"value": {"column": "temprature"}}))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet='ts,;vale{}":0123456789-TZ\n.é', max_size=300)))
def test_no_content_whatever_makes_it_stumble(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "any"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        describe([path])
    except HomelabError as error:
        assert error.problems


@pytest.mark.servers
def test_the_same_file_twice_is_one_object_and_another_mapping_is_another(lakehouse: Lakehouse, write: Write) -> None:
    path = write("größe.csv", "time;größe\n2026-01-01T10:00:00Z;1\n")
    said: list[str] = []
    (first,) = put_files(lakehouse, [path, path], stream="garden", progress=said.append)
    (again,) = put_files(lakehouse, [path], stream="garden")
    (other,) = put_files(lakehouse, [path], stream="garden", mapping=Mapping.parse({"device": {"const": "pi"}}))
    assert (first.existed, again.existed, other.existed) == (False, True, False)
    assert first.key == again.key != other.key
    assert first.key.startswith("garden/files/")
    assert any("100 %" in text for text in said)
    with ObjectStore(lakehouse.objects) as store:
        assert store.get(lakehouse.raw_bucket, first.key) == path.read_bytes()
        assert len(list(store.list(lakehouse.raw_bucket))) == 2
        found = store._client.stat_object(lakehouse.raw_bucket, first.key).metadata or {}
    stored = Mapping.parse(found[f"x-amz-meta-{METADATA_KEY}"])
    assert stored == first.mapping
    assert json.dumps(first.to_dict())


@pytest.mark.servers
def test_one_bad_file_among_good_ones_sends_nothing_and_all_bad_ones_are_named(
    lakehouse: Lakehouse, write: Write, tmp_path: Path
) -> None:
    good = write("good.csv", "time,value\n2026-01-01T10:00:00Z,1\n")
    with pytest.raises(HomelabError) as caught:
        put_files(lakehouse, [good, tmp_path / "god.csv", tmp_path, write("e.csv", "")], stream="files")
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 3
    assert "did you mean" in said[0]
    assert "is a folder" in said[1]
    assert "is empty" in said[2]
    with ObjectStore(lakehouse.objects) as store:
        assert list(store.list(lakehouse.raw_bucket)) == []


@pytest.mark.servers
def test_a_large_file_is_streamed_and_one_that_grows_meanwhile_makes_no_object(
    lakehouse: Lakehouse, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homelab_platform.readings.sources import files

    path = write("big.csv", "time,value\n" + "2026-01-01T10:00:00Z,1\n" * 900_000)
    real = files._digest

    def growing(target: Path) -> bytes:
        digest = real(target)
        with target.open("a") as out:
            out.write("2026-01-01T10:00:01Z,2\n")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(files, "_digest", growing)
        with pytest.raises(HomelabError, match="changed while it was read"):
            put_files(lakehouse, [path], stream="files")
    with ObjectStore(lakehouse.objects) as store:
        assert list(store.list(lakehouse.raw_bucket)) == []
        (made,) = put_files(lakehouse, [path], stream="files")
        found = store.head(lakehouse.raw_bucket, made.key)
    assert found is not None
    assert found.size == path.stat().st_size

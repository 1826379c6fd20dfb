"""What an exporter says, and what becomes of it: every sample one reading, everything else a reason."""

from __future__ import annotations

import math
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from homelab_platform.readings.decode.record import ExtraColumns, read_line
from homelab_platform.wire import exposition
from homelab_platform.wire.exposition import Fault, NotAnExposition, Sample, selectors

NOW = 1_790_000_000_000
TEXT = """# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 6305.2
node_cpu_seconds_total{mode="user",cpu="0"} 1.5e+02
node_hwmon_temp_celsius{chip="a\\"b\\\\c\\nd",sensor="temp1"} 48.5 1789999999000

node_load1 0.21
go_gc_duration_seconds{quantile="0.5"} NaN
node_time_zone_offset_seconds{time_zone="UTC"} 0
"""


def read(text: str, query: str = "", **more: object) -> list[dict[str, object]]:
    wanted = selectors(query)
    scrape = exposition.read(text.encode(), device="pi-1:9100", at_ms=NOW, wanted=wanted, **more)  # type: ignore[arg-type]
    return [orjson.loads(line) for line in scrape.lines.splitlines()]


def test_every_sample_becomes_a_reading_of_the_instance_with_its_labels_in_the_sensors_name() -> None:
    rows = {str(row["sensor"]): row for row in read(TEXT)}
    assert set(rows) == {
        'node_cpu_seconds_total{cpu="0",mode="idle"}',
        'node_cpu_seconds_total{cpu="0",mode="user"}',
        'node_hwmon_temp_celsius{chip="a\\"b\\\\c\\nd",sensor="temp1"}',
        "node_load1",
        'node_time_zone_offset_seconds{time_zone="UTC"}',
    }
    assert rows["node_load1"] == {
        "ts": NOW, "device": "pi-1:9100", "sensor": "node_load1", "value": 0.21, "metric": "node_load1",
    }  # fmt: skip
    assert rows['node_cpu_seconds_total{cpu="0",mode="user"}']["value"] == 150
    assert rows['node_cpu_seconds_total{cpu="0",mode="user"}']["unit"] == "s"
    assert rows['node_cpu_seconds_total{cpu="0",mode="user"}']["labels"] == {"cpu": "0", "mode": "user"}
    heat = rows['node_hwmon_temp_celsius{chip="a\\"b\\\\c\\nd",sensor="temp1"}']
    assert (heat["ts"], heat["unit"]) == (1_789_999_999_000, "°C")
    assert heat["labels"] == {"chip": 'a"b\\c\nd', "sensor": "temp1"}


def test_what_is_no_number_is_counted_and_left_out() -> None:
    scrape = exposition.read(TEXT.encode(), device="d", at_ms=NOW)
    assert (scrape.readings, scrape.without_number, scrape.faults) == (5, 1, ())


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("node_load1", 1),
        ("node_load1 or node_time_zone_offset_seconds", 2),
        ('node_cpu_seconds_total{mode="idle"}', 1),
        ('node_cpu_seconds_total{mode!="idle"}', 1),
        ('node_cpu_seconds_total{mode=~"idle|user", cpu="0"}', 2),
        ('{__name__=~"node_.*"}', 5),
        ('{__name__=~"node_.*",cpu=""}', 3),
        ('{chip=~".*\\\\..*"}\nor node_load1', 1),
    ],
)
def test_selectors_keep_what_prometheus_would(query: str, kept: int) -> None:
    assert len(read(TEXT, query)) == kept


@pytest.mark.parametrize(
    "query", ["rate(node_cpu_seconds_total[5m])", "sum by (cpu) (x)", "a > 3", "a{b}", 'a{b="c"', "a + b", 'a{b=~"("}']
)
def test_promql_that_an_exporter_cannot_answer_is_refused_with_the_reason(query: str) -> None:
    with pytest.raises(ValueError, match=r"PromQL|matchers|regular expression"):
        selectors(query)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html><body>log in</body></html>\n", "HTML"),
        (b"", "empty"),
        (b"# HELP up\n", "no samples"),
        (b'{"status": "ok"}\n', "JSON"),
        (TEXT[:-9].encode(), "breaks off"),
        (b"node_load1 0.2\nnode_load5 0.", "breaks off"),
        (b"\xff\xfe1\n", "UTF-8"),
        (b"Not found\n", "none of its lines"),
    ],
)
def test_an_answer_that_is_none_gives_a_reason_and_no_readings(body: bytes, reason: str) -> None:
    with pytest.raises(NotAnExposition, match=reason):
        exposition.read(body, device="d", at_ms=NOW)


def test_a_query_that_matches_nothing_says_so() -> None:
    with pytest.raises(NotAnExposition, match="none of the metrics"):
        read(TEXT, "node_load77")


@pytest.mark.parametrize(
    "line",
    [
        "node_load1", "node_load1 abc", "node_load1 1 2 3", "node_load1 1_0",
        'a{b="c} 1', 'a{b="c"', 'a{b="1",b="2"} 1',
        "9a 1", "a{b=c} 1", "a{} ", "=1",
    ],
)  # fmt: skip
def test_a_broken_line_is_handed_back_and_the_others_count(line: str) -> None:
    scrape = exposition.read(f"{line}\nnode_load5 1\n".encode(), device="d", at_ms=NOW)
    assert scrape.readings == 1
    assert [(fault.line, fault.text) for fault in scrape.faults] == [(1, line.strip())]
    assert scrape.faults[0].reason


_names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,30}", fullmatch=True)
_labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,10}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    max_size=4,
)
_samples = st.builds(
    lambda name, labels, value, at: Sample(name, tuple(sorted(labels.items())), value, at),
    _names, _labels, st.floats(width=64), st.none() | st.integers(10**12, 2 * 10**12),
)  # fmt: skip


def _written(sample: Sample) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    labels = ",".join(f'{name}="{escaped(value)}"' for name, value in sample.labels)
    number = {math.inf: "+Inf", -math.inf: "-Inf"}.get(sample.value, repr(sample.value))
    return f"{sample.name}{{{labels}}} {number}" + ("" if sample.at_ms is None else f" {sample.at_ms}")


@settings(max_examples=30)
@given(st.lists(_samples, max_size=5))
def test_whatever_an_exporter_writes_is_read_as_it_was_meant(wanted: list[Sample]) -> None:
    found = list(exposition.samples("".join(f"{_written(sample)}\n" for sample in wanted)))
    assert [repr(sample) for sample in found] == [repr(sample) for sample in wanted]


@settings(max_examples=30)
@given(st.lists(_samples, max_size=5))
def test_what_prometheus_own_parser_reads_is_what_ours_reads(found: list[Sample]) -> None:
    reserved = "__"  # which their parser refuses as the first letters of a label's name
    wanted = [s._replace(labels=tuple(pair for pair in s.labels if not pair[0].startswith(reserved))) for s in found]
    text = "".join(f"{_written(sample)}\n" for sample in wanted)
    theirs = [
        Sample(
            found.name,
            tuple(sorted(found.labels.items())),
            float(found.value),
            None if found.timestamp is None else round(float(found.timestamp) * 1000),
        )
        for family in text_string_to_metric_families(text)
        for found in family.samples
    ]
    assert [repr(sample) for sample in exposition.samples(text)] == [repr(sample) for sample in theirs]


@settings(max_examples=30)
@given(st.lists(_samples, min_size=1, max_size=5, unique_by=lambda sample: (sample.name, sample.labels)))
def test_every_reading_of_a_scrape_is_one_that_the_table_takes_under_a_name_of_its_own(wanted: list[Sample]) -> None:
    scrape = exposition.read("".join(f"{_written(s)}\n" for s in wanted).encode(), device="d", at_ms=NOW)
    latest = (time.time_ns() // 1000) + 10**15
    rows = [read_line(line, latest, ExtraColumns()) for line in scrape.lines.splitlines()]
    assert len(rows) == scrape.readings == sum(math.isfinite(sample.value) for sample in wanted)
    assert len({row.sensor for row in rows}) == len(rows)


@settings(max_examples=30)
@given(st.text(max_size=200))
def test_no_text_is_too_strange_to_be_looked_at(text: str) -> None:
    for found in exposition.samples(text):
        assert isinstance(found, Sample | Fault)


def test_a_prometheus_server_answers_with_the_time_and_instance_of_each_series() -> None:
    series = [
        {"metric": {"__name__": "node_load1", "instance": "pi-1:9100", "job": "node"}, "value": [1790000000.5, "0.3"]},
        {"metric": {}, "value": [1790000000, "NaN"]},
        {"metric": {"__name__": "broken"}},
    ]
    scrape = exposition.read_query(
        {"status": "success", "data": {"resultType": "vector", "result": series}}, device="p"
    )
    (row,) = [orjson.loads(line) for line in scrape.lines.splitlines()]
    assert (row["device"], row["sensor"], row["ts"]) == ("pi-1:9100", 'node_load1{job="node"}', 1790000000500)
    assert (scrape.without_number, len(scrape.faults)) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "error", "error": "parse error"}, "parse error"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "matrix"),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, "no series"),
        ([], "no answer"),
    ],
)
def test_a_prometheus_server_that_does_not_answer_the_query_says_why(answer: object, reason: str) -> None:
    with pytest.raises(NotAnExposition, match=reason):
        exposition.read_query(answer, device="p")

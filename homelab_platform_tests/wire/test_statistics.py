"""Home Assistant's statistics, however they are fetched: each figure of each settled period one reading."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.readings.decode.record import ExtraColumns, read_line
from homelab_platform.wire import statistics
from homelab_platform.wire.statistics import HOUR_MS, NotStatistics

START = int(datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp() * 1000)
NOW = START + 3 * HOUR_MS
ROW = {"start": START, "end": START + HOUR_MS, "mean": 21.4, "min": 20.9, "max": 22.0, "last_reset": None}
METER = {"start": START, "end": START + HOUR_MS, "state": 812.5, "sum": 99.5, "change": 0.25, "last_reset": START}


def read(answer: Any, **more: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in statistics.lines(answer, now_ms=NOW, **more)]


def iso(row: dict[str, Any]) -> dict[str, Any]:
    """The row as Home Assistant's REST interface writes it."""
    times = {k: datetime.fromtimestamp(row[k] / 1000, UTC).isoformat() for k in ("start", "end")}
    return {k: v for k, v in {**row, **times}.items() if v is not None}


WAYS = {
    "websocket": {"id": 7, "type": "result", "success": True, "result": {"sensor.kitchen": [ROW]}},
    "REST": {"changed_states": [], "service_response": {"statistics": {"sensor.kitchen": [iso(ROW)]}}},
    "rows by name": {"sensor.kitchen": [ROW]},
    "list of rows": [{**ROW, "statistic_id": "sensor.kitchen"}],
}


@pytest.mark.parametrize("way", WAYS)
def test_each_figure_is_a_reading_at_the_start_of_its_period(way: str) -> None:
    rows = read(WAYS[way])
    assert [(row["device"], row["sensor"], row["value"]) for row in rows] == [
        ("sensor.kitchen", "mean", 21.4),
        ("sensor.kitchen", "min", 20.9),
        ("sensor.kitchen", "max", 22.0),
    ]
    found = [read_line(orjson.dumps(row), (time.time_ns() // 1000), ExtraColumns()) for row in rows]
    assert {row.ts for row in found} == {START * 1000}


def test_a_meter_keeps_when_it_was_reset_and_its_unit() -> None:
    rows = {row["sensor"]: row for row in read({"sensor.energy": [METER]}, units={"sensor.energy": "kWh"}, site="home")}
    assert rows["sum"] == {
        "ts": START, "device": "sensor.energy", "unit": "kWh", "site": "home", "sensor": "sum", "value": 99.5,
        "last_reset": START,
    }  # fmt: skip
    assert "last_reset" not in rows["change"]


def test_a_period_that_may_still_be_corrected_waits_for_a_later_poll() -> None:
    rows = [{**ROW, "start": START + n * HOUR_MS, "end": START + (n + 1) * HOUR_MS} for n in range(3)]
    assert {row["ts"] for row in read({"s": rows})} == {START, START + HOUR_MS}
    assert {row["ts"] for row in read({"s": rows}, settle_ms=0)} == {START, START + HOUR_MS, START + 2 * HOUR_MS}


def test_a_correction_before_a_period_has_settled_counts_once_and_with_its_last_value() -> None:
    late = {**ROW, "start": START + HOUR_MS, "end": START + 2 * HOUR_MS}
    polls = [
        statistics.lines({"s": [{**late, "mean": 1}]}, now_ms=START + 2 * HOUR_MS + 60_000),
        statistics.lines({"s": [{**late, "mean": 2}]}, now_ms=START + 3 * HOUR_MS + 60_000),
        statistics.lines({"s": [{**late, "mean": 2}]}, now_ms=START + 4 * HOUR_MS + 60_000),
    ]
    means = [orjson.loads(line) for poll in polls for line in poll if b'"mean"' in line]
    assert len(means) == 2
    assert means[0] == means[1]
    assert means[0]["value"] == 2


def test_other_periods_have_names_of_their_own() -> None:
    lengths = {"": HOUR_MS, "_5minute": 300_000, "_day": 23 * HOUR_MS, "_month": 744 * HOUR_MS, "_7s": 7000}
    for name, length in lengths.items():
        row = {"start": START - 800 * HOUR_MS, "end": START - 800 * HOUR_MS + length, "mean": 1}
        assert [found["sensor"] for found in read({"s": [row]})] == [f"mean{name}"]


def test_what_a_row_lacks_is_for_the_table_to_refuse_with_its_reason() -> None:
    def reason(row: Any) -> str:
        (line,) = statistics.lines([row], now_ms=NOW)
        with pytest.raises(ValueError, match=r".") as refused:
            read_line(line, (time.time_ns() // 1000), ExtraColumns())
        return str(refused.value)

    assert reason({**ROW, "min": None, "max": None}) == "device is empty"
    assert reason({"statistic_id": "s", "mean": 1}) == "ts is missing"
    assert reason({"statistic_id": "s", "start": START}) == "sensor is missing"
    assert reason({"statistic_id": "s", "start": START, "mean": "1"}) == "value is a text, not a number"
    assert reason(7) == "not a JSON object"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"id": 1, "success": False, "error": {"code": "unauthorized", "message": "Unauthorized"}}, "Unauthorized"),
        ({"message": "Entity not found."}, "message"),
        ("ok", "neither"),
        (None, "neither"),
    ],
)
def test_an_answer_without_statistics_says_what_it_is(answer: Any, reason: str) -> None:
    with pytest.raises(NotStatistics, match=reason):
        read(answer)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(list(ROW)), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=30)
@given(_json)
def test_no_answer_is_too_strange_to_be_looked_at(answer: Any) -> None:
    try:
        for line in statistics.lines(answer, now_ms=NOW):
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
    except NotStatistics as error:
        assert str(error)

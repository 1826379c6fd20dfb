"""Answers of any API: what is none gives its reason, and what is one gives readings that the table can judge."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.readings.decode.record import ExtraColumns, Row, read_line
from homelab_platform.wire import payload, poll
from homelab_platform.wire.payload import Shape
from homelab_platform.wire.poll import NotAnAnswer
from homelab_platform.wire.timestamps import local_candidates

AT = 1_790_000_000_000_000
HOUSE = Shape({"temperature": "°C", "humidity": "%"}, {"temp_c": "temperature", "time": "ts", "ENERGY.Power": "power"})


def rows(value: Any, shape: Shape = HOUSE, **known: str) -> list[Row]:
    latest = time.time_ns() // 1000 + 10**14
    return [read_line(line, latest, ExtraColumns()) for line in payload.lines(value, shape, known, AT)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"<html>401</html>", "HTML"),
        (b'{"a": [1, 2', "breaks off"),
        (b'{"a": "b', "breaks off"),
        (b"[1, 2] x", "not JSON"),
        (b"NaN", "NaN"),
        (b"\xff", "UTF-8"),
        (b"Too many requests", "not JSON"),
    ],
)
def test_a_body_that_is_no_answer_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(NotAnAnswer, match=reason):
        poll.parse(body)


def test_items_are_found_by_their_path_and_a_wrong_path_says_what_there_is() -> None:
    answer = {"data": {"rows": [{"a": 1}, {"b": 2}]}}
    assert poll.find(answer, "data.rows") == [{"a": 1}, {"b": 2}]
    assert poll.find(answer, "$.data.rows.1") == {"b": 2}
    assert poll.find(answer, "") is answer
    with pytest.raises(NotAnAnswer, match=r"no items in data .there is rows"):
        poll.find(answer, "data.items")


def test_an_object_with_named_sensors_gives_one_reading_each_and_keeps_the_rest_beside_them() -> None:
    found = rows({"temp_c": 21.5, "humidity": 40, "battery": 90, "time": "2026-11-20T10:00:00Z"}, device="kitchen")
    assert [(row.device, row.sensor, row.value, row.unit) for row in found] == [
        ("kitchen", "temperature", 21.5, "°C"),
        ("kitchen", "humidity", 40.0, "%"),
    ]
    assert {row.ts for row in found} == {1795168800000000}
    assert [row.extras for row in found] == [{"battery": 90.0}] * 2


def test_without_named_sensors_each_number_is_a_reading() -> None:
    found = rows({"a": 1, "ENERGY": {"Power": 12.5, "on": True}}, Shape(fields=HOUSE.fields), device="plug")
    assert [(row.sensor, row.value, row.ts) for row in found] == [("a", 1, AT), ("power", 12.5, AT)]


def test_a_reading_in_the_tables_own_words_stays_what_it_is() -> None:
    (row,) = rows({"device": "a", "sensor": "b", "value": 1, "ts": 1790000000, "unit": "m"}, device="topic")
    assert (row.device, row.sensor, row.ts, row.unit) == ("a", "b", 1790000000 * 10**6, "m")


def test_a_bare_number_is_of_the_sensor_that_is_known() -> None:
    (row,) = rows(21.5, Shape({"temperature": "°C"}), device="kitchen")
    assert (row.device, row.sensor, row.value, row.unit) == ("kitchen", "temperature", 21.5, "°C")
    (row,) = rows(3, Shape(), device="kitchen", sensor="co2")
    assert (row.sensor, row.value) == ("co2", 3)


def test_items_of_a_list_without_a_time_stay_apart() -> None:
    found = rows([1, 2, 3], Shape({"temperature": ""}), device="kitchen")
    assert [(row.ts, row.value) for row in found] == [(AT, 1), (AT + 1, 2), (AT + 2, 3)]


def test_a_sensor_without_a_value_is_left_out_beside_others() -> None:
    assert [row.sensor for row in rows({"temperature": None, "humidity": 40}, device="d")] == ["humidity"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"temperature": "21"}, "value is a text, not a number"),
        ({"temperature": None}, "value is missing"),
        ({"state": "on"}, "sensor is missing"),
        ({"temperature": 1, "time": "yesterday"}, "ts is not RFC 3339"),
        (True, "sensor is missing"),
        ([], "not a JSON object"),
        (None, "sensor is missing"),
    ],
)
def test_what_is_no_reading_becomes_a_line_that_the_table_refuses_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rows(value, device="d")


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from([*payload.OURS, *HOUSE.sensors]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=30)
@given(_json, st.none() | st.just(AT))
def test_every_payload_gives_lines_and_the_same_ones_again(value: Any, at: int | None) -> None:
    found = payload.lines(value, HOUSE, {"device": "d"}, at)
    assert found
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)
    assert found == payload.lines(value, HOUSE, {"device": "d"}, at)


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_a_payload_that_is_no_json_is_kept_on_one_line_that_the_table_refuses(text: bytes) -> None:
    line = payload.raw_line(b"a/topic", text)
    assert line.count(b"\n") == 1
    with pytest.raises(ValueError, match="not "):
        read_line(line[:-1], AT, ExtraColumns())


@settings(max_examples=30)
@given(st.floats(allow_nan=False, allow_infinity=False), st.text(min_size=1, max_size=20))
def test_numbers_and_names_arrive_as_they_were_sent(value: float, device: str) -> None:
    (line,) = payload.lines(payload.decode(orjson.dumps(value)), Shape({"s": ""}), {"device": device}, AT)
    assert orjson.loads(line) == {"ts": AT, "device": device, "value": value, "sensor": "s"}


@pytest.mark.parametrize(
    ("said", "at"), [("2026-10-25T02:30:00", 0), ("2026-10-25T02:30:00", 1), ("2026-11-20T10:00:00", 0)]
)
def test_a_devices_local_time_is_the_instant_nearer_to_its_arrival(said: str, at: int) -> None:
    """Stock Tasmota: its Time has no zone, and an hour of it comes twice a year."""
    instants = local_candidates(datetime.fromisoformat(said), "Europe/Berlin")
    shape = payload.Shape({"power": "W"}, {"Time": "ts", "ENERGY.Power": "power"}, zone="Europe/Berlin")
    value = {"Time": said, "ENERGY": {"Power": 12.5}}
    (line,) = payload.lines(value, shape, {"device": "plug"}, instants[at] + 2_000_000)
    row = read_line(line, instants[1] + 10**9, ExtraColumns())
    assert (row.ts, row.device, row.sensor, row.value, row.unit) == (instants[at], "plug", "power", 12.5, "W")


def test_items_of_a_list_are_readings_only_where_the_stream_names_them() -> None:
    value = {"meters": [{"power": 3.5}], "temperature": 20}
    asked = payload.Shape({"power": "W"}, {"meters.0.power": "power"})
    (line,) = payload.lines(value, asked, {"device": "shelly"}, AT)
    assert read_line(line, AT + 1, ExtraColumns()).value == 3.5
    (line,) = payload.lines(value, payload.Shape(), {"device": "shelly"}, AT)
    assert read_line(line, AT + 1, ExtraColumns()).sensor == "temperature"

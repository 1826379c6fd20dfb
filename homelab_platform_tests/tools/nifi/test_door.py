"""What passes the door into the raw bucket, and that the door and the table agree on what a reading is."""

from __future__ import annotations

import gzip
import json
import sys
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homelab_platform import paths
from homelab_platform.readings.decode.record import ExtraColumns, read_line
from homelab_platform.wire import contract

sys.path.insert(0, str(paths.project_path("nifi", "extensions")))

import homelab_door as door
import homelab_reading as reading

NOW_US = 1_790_000_000_000_000  # in September 2026
LATEST = NOW_US + contract.FUTURE_TOLERANCE_SECONDS * 1_000_000
GOOD = {"ts": "2026-09-20T10:00:00Z", "device": "pi", "sensor": "temperature", "value": 21.5}

_CONTRACT = ["ts", "device", "sensor", "value", "site", "unit", "quality", "date", "source"]
_names = st.sampled_from([*_CONTRACT, "Battery", "battery", "", "9 v", "ß"])
_SPELLINGS = """2026-09-20T10:00:00Z|2026-02-30T00:00:00Z|2026-09-20T25:00:00Z|2026-09-20T10:00:60Z|1970-01-01T00:00:05Z
1899-12-31T23:59:59Z|2027-09-20T10:00:00Z|2026-09-20|2026-09-20T10:00:00| 2026-09-20t10:00:00.123456789z |1758362400
2026-09-20T10:00:00+24:00|2026-09-20T10:00:00-0430|1758362400.5|1758362400000|17583624000|"""
_times = st.one_of(
    st.datetimes().map(lambda d: d.isoformat() + "Z"),
    st.datetimes().map(lambda d: d.isoformat(" ") + "+05:30"),
    st.sampled_from(_SPELLINGS.replace("\n", "|").split("|")),
    st.integers(-(10**20), 10**20),
    st.integers(10**9, 2 * 10**9),
    st.floats(10**9, 2 * 10**9),
    st.floats(),
    st.booleans(),
    st.none(),
)
_texts = st.one_of(st.text(max_size=8), st.sampled_from(["pi", "", " ", "\0", "x" * 255, "x" * 256, "°C"]))
_anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
_usual = st.fixed_dictionaries(
    {"ts": _times, "device": _texts, "sensor": _texts, "value": st.floats() | st.integers() | _anything},
    optional={
        "site": _texts,
        "unit": _texts | _anything,
        "quality": _texts,
        "Battery": _anything,
        "battery ": _anything,
    },
)
_odd = st.dictionaries(_names, _times | _texts | _anything, max_size=6)

_batches = st.lists(st.one_of(_usual, st.just(GOOD)), min_size=1, max_size=4)


def _table_says(line: bytes) -> str:
    """The table's reason against a line, empty when it is a reading."""
    try:
        read_line(line, LATEST, ExtraColumns())
    except ValueError as error:
        return str(error)
    return ""


def _door_says(body: bytes, keeper: door.Door | None = None) -> str:
    try:
        (keeper or door.Door()).read(body, NOW_US)
    except door.Refused as refused:
        return str(refused.items[0]["reason"]) if refused.items else refused.reason
    return ""


def _same(ours: str, tables: str) -> bool:
    if ours.startswith("not JSON") or tables.startswith("not JSON"):
        return bool(ours) == bool(tables)  # each parser has its own words
    return ours == tables


@settings(max_examples=400, deadline=None)
@given(st.one_of(_usual, _odd), st.booleans())
@example({**GOOD, "value": 10**400}, True)
@example({**GOOD, "ts": 99_999_999_999_999_991_808}, False)
@example({**GOOD, "unit": "\ud800"}, True)
@example({**GOOD, "value": float("nan")}, True)
@example({**GOOD, **{f"f{n}": 1 for n in range(65)}}, True)
@example({**GOOD, "battery ": False, "Battery": []}, True)
@pytest.mark.slow
def test_the_door_and_the_table_agree_on_every_item(item: dict[str, Any], ascii_only: bool) -> None:
    try:
        line = json.dumps(item, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    ours, tables = _door_says(line), _table_says(line)
    assert _same(ours, tables), (line, ours, tables)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(_usual, st.just(GOOD)), min_size=1, max_size=4), st.sampled_from(["lines", "array", "indented"])
)
def test_a_batch_is_stored_as_the_very_readings_that_came_or_not_at_all(
    items: list[dict[str, Any]], shape: str
) -> None:
    if shape == "lines":
        body = "\n".join(json.dumps(item) for item in items).encode()
    else:
        body = json.dumps(items, indent=2 if shape == "indented" else None).encode()
    good = [not _table_says(json.dumps(item).encode()) for item in items]
    keeper = door.Door()
    for _ in range(2):  # the second time it knows the names, and takes the short way
        if all(good):
            batch = keeper.read(body, NOW_US)
            assert batch.readings == len(items)
            assert [orjson.loads(line) for line in batch.lines.splitlines()] == [
                orjson.loads(json.dumps(item)) for item in items
            ]
        else:
            with pytest.raises(door.Refused) as refused:
                keeper.read(body, NOW_US)
            assert refused.value.status == 400


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_door(body: bytes) -> None:
    with pytest.raises(door.Refused) as refused:
        door.Door().read(door.unpack(body, 1000), NOW_US)
    assert 400 <= refused.value.status < 500


def test_the_door_judges_by_the_contract_that_ingest_has() -> None:
    assert vars(reading)["contract"] is contract
    assert door.FUTURE_US == contract.FUTURE_TOLERANCE_SECONDS * 1_000_000


def test_times_without_a_zone_pass_only_where_the_stream_has_one() -> None:
    body = b'{"ts":"2026-09-20T10:00:00","device":"d","sensor":"s","value":1}'
    checks = door.Door()
    with pytest.raises(door.Refused) as caught:
        checks.read(body, LATEST)
    assert "ts has no zone" in str(caught.value.items)
    checks.take_zoneless(True)
    assert checks.read(body, LATEST).readings == 1


def test_an_answer_says_which_item_and_which_field() -> None:
    body = "\n".join(json.dumps(item) for item in (GOOD, {**GOOD, "ts": "yesterday"}, {**GOOD, "value": "21"})).encode()
    with pytest.raises(door.Refused) as refused:
        door.Door().read(body, NOW_US)
    answer = refused.value.answer()
    assert answer["error"] == "2 of 3 items are no readings; nothing was stored"
    assert answer["items"] == [
        {"item": 2, "field": "ts", "reason": "ts is not RFC 3339"},
        {"item": 3, "field": "value", "reason": "value is a text, not a number"},
    ]


def test_one_object_may_be_written_over_several_lines() -> None:
    batch = door.Door().read(json.dumps(GOOD, indent=4).encode(), NOW_US)
    assert batch.readings == 1
    assert batch.lines.count(b"\n") == 1


def test_a_brace_inside_a_text_does_not_part_readings() -> None:
    keeper = door.Door()
    tricky = {**GOOD, "unit": "}, {"}
    for _ in range(2):
        batch = keeper.read(json.dumps([tricky, GOOD]).encode(), NOW_US)
        assert [json.loads(line) for line in batch.lines.splitlines()] == [tricky, GOOD]


def test_a_gzip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    began = time.process_time()
    with pytest.raises(door.Refused) as refused:
        door.unpack(bomb, 1_000_000)
    assert refused.value.status == 413
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("cut", [1, 12, 30])
def test_damaged_gzip_is_the_senders_fault(cut: int) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())
    with pytest.raises(door.Refused, match="damaged gzip") as refused:
        door.unpack(body[:-cut], 10_000)
    assert refused.value.status == 400


def test_the_day_of_a_key_is_that_of_the_readings_while_they_are_fresh_else_today() -> None:
    day = reading.DAY_US
    today = NOW_US // day * day
    names = [door.day_of(first, today + day // 2) for first in (today + 1, today - 1, today - day - 1, 0)]
    assert names == ["2026-09-21", "2026-09-20", "2026-09-21", "2026-09-21"]

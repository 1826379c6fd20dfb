"""Lines to readings: the compiled kernel and the line-by-line definition must not be told apart."""

from __future__ import annotations

import gzip
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homelab_platform.readings.decode import scanner as scanners
from homelab_platform.readings.decode.columns import RowBuffer
from homelab_platform.readings.decode.content import open_content
from homelab_platform.readings.decode.kernel import PAD
from homelab_platform.readings.decode.kernel_cache import kernel_cache
from homelab_platform.readings.decode.lines import Block, BrokenObject, LongLine, blocks
from homelab_platform.readings.decode.ndjson import Decoder
from homelab_platform.readings.decode.record import ExtraColumns, Rejected
from homelab_platform.readings.decode.scanner import Scanner
from homelab_platform.wire.contract import MAX_LINE, MAX_STREAM_COLUMNS, TEXT_COLUMNS

LATEST = 1_800_000_000_000_000
GOOD = b'{"ts":"2026-11-20T10:00:00Z","device":"d","sensor":"s","value":1}'

Result = tuple[list[dict[str, Any]], list[Rejected]]


def decode(data: bytes, *, fast: bool, kinds: dict[str, str] | None = None) -> Result:
    """Readings as plain dictionaries, and rejections."""
    extra = ExtraColumns(dict(kinds or {}))
    buffer = RowBuffer(extra.kinds)
    scanner = Scanner(buffer, extra, LATEST) if fast else None
    decoder = Decoder(buffer, LATEST, extra, scanner)
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for step in decoder.ndjson(open_content(io.BytesIO(data), ".ndjson").stream):
        rejected += step.rejected
        if step.chunk is None:
            continue
        chunk = step.chunk
        for i in range(len(chunk)):
            row: dict[str, Any] = {"ts": int(chunk.ts[i]), "value": float(chunk.value[i])}
            for name in TEXT_COLUMNS:
                code = int(chunk.codes[name][i])
                row[name] = None if code < 0 else buffer.interner(name).values[code]
            for name, column in chunk.extras.items():
                cell = column[i]
                if column.dtype.kind == "f":
                    if not math.isnan(cell):
                        row[name] = float(cell)
                elif cell >= 0:
                    row[name] = buffer.interner(name).values[cell] if extra.kinds[name] == "string" else bool(cell)
            rows.append(dict(sorted(row.items())))
    return rows, rejected


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """A checkout compiles the scanner once, in some ten seconds; that is not the first test's own time."""
    decode(line(), fast=True)


def same(data: bytes) -> Result:
    """Both ways give the same; returns it."""
    slow, fast = decode(data, fast=False), decode(data, fast=True)
    assert repr(fast) == repr(slow)
    return slow


def line(**changes: Any) -> bytes:
    record = {"ts": "2026-11-20T10:00:00Z", "device": "d", "sensor": "s", "value": 1.5, **changes}
    return orjson.dumps({k: v for k, v in record.items() if v is not ...})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"garbage", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (line(device=...), "device is missing"),
        (line(device=""), "device is empty"),
        (line(device="  "), "device is empty"),
        (line(device=7), "device is not a text"),
        (line(device="x" * 256), "device is longer"),
        (line(device="a\0b"), "NUL"),
        (line(sensor=None), "sensor is missing"),
        (line(ts=...), "ts is missing"),
        (line(ts=True), "ts is a boolean"),
        (line(ts="yesterday"), "ts is not RFC 3339"),
        (line(ts="2026-11-20T10:00:00"), "ts has no zone"),
        (line(ts="2026-02-30T10:00:00Z"), "ts is not a time"),
        (line(ts="2026-11-20T10:00:00+25:00"), "impossible offset"),
        (line(ts="1970-01-01T00:02:00Z"), "clock was not set"),
        (line(ts="1870-01-01T00:02:00Z"), "before 1900"),
        (line(ts="2036-01-01T00:00:00Z"), "in the future"),
        (line(ts=12345), "not an epoch time"),
        (line(value=...), "value is missing"),
        (line(value="21.5"), "value is a text"),
        (line(value=True), "value is not a number"),
        (line(value=[1]), "value is not a number"),
        (GOOD.replace(b"1}", b"1e999}"), "not"),
        (GOOD.replace(b"1}", b"NaN}"), "not JSON"),
        (GOOD.replace(b'"d"', b'"\xff"'), "not UTF-8"),
        (GOOD.replace(b'"d"', b'"\\ud800"'), "not JSON"),
        (line(unit=5), "unit is not a text"),
        (line(date="2026-11-20"), "reserved column 'date'"),
        (line(source="x"), "reserved column 'source'"),
        (line(**{"%%": 1}), "cannot be made into a column"),
        (line(**{"a-b": 1, "a_b": 2}), "two fields"),
        (GOOD[:-1], "not JSON"),
        (GOOD + b"}", "not JSON"),
    ],
)
def test_a_line_that_is_not_a_reading_is_refused_with_its_number_and_reason(text: bytes, reason: str) -> None:
    rows, rejected = same(b"\n".join([GOOD, text, GOOD]))
    assert len(rows) == 2
    assert [r.line for r in rejected] == [2]
    assert reason in rejected[0].reason


@pytest.mark.parametrize(
    ("ts", "micros"),
    [
        ("2026-11-20T10:00:00Z", 1_763_632_800_000_000 + 31_536_000_000_000),
        ("2026-11-20 10:00:00.5z", 1_795_168_800_500_000),
        ("2026-11-20T12:00:00.1234567+02:00", 1_795_168_800_123_456),
        ("2026-11-20T12:00:00+0200", 1_795_168_800_000_000),
        ("2026-11-20T23:59:59.999999-05:30", 1_795_238_999_999_999),
        (1_795_168_800, 1_795_168_800_000_000),
        (1_795_168_800.25, 1_795_168_800_250_000),
        (1_795_168_800_250, 1_795_168_800_250_000),
        (1_795_168_800_250_001, 1_795_168_800_250_001),
        (1_795_168_800_250_001_999, 1_795_168_800_250_001),
        (1_795_168_800.123_457, 1_795_168_800_123_457),
        (1_795_168_800_250.5, 1_795_168_800_250_500),
        ("1795168800250", 1_795_168_800_250_000),
        ("1795168800250001999", 1_795_168_800_250_001),
        ("2026-11-20T10:00:00,25Z", 1_795_168_800_250_000),
        ("2026-11-20T12:00:00+02", 1_795_168_800_000_000),
        ("1795168800", 1_795_168_800_000_000),
        ("1969-12-31T23:59:59Z", -1_000_000),
    ],
)
def test_every_usual_spelling_of_a_time_is_understood(ts: object, micros: int) -> None:
    rows, rejected = same(line(ts=ts))
    assert not rejected
    assert rows[0]["ts"] == micros


def test_new_fields_become_columns_of_the_kind_of_their_first_value() -> None:
    lines = [
        line(RSSI=-60, **{"Battery %": 99.5}, ok=True, note="é\n"),
        line(rssi="weak", ok=1, note=5, nested={"a": [1]}),
        line(rssi=None, big=2**60),
    ]
    rows, rejected = same(b"\n".join(lines * 200))
    assert not rejected
    assert rows[0] | {"rssi": -60.0, "battery": 99.5, "ok": True, "note": "é\n"} == rows[0]
    assert rows[1] | {"rssi_text": "weak", "ok_text": "1", "note": "5", "nested": '{"a":[1]}'} == rows[1]
    assert rows[2]["big"] == str(2**60)
    assert "rssi" not in rows[2]


def test_a_hostile_producer_cannot_add_columns_without_end() -> None:
    rows, rejected = same(b"\n".join(line(**{f"f{i}": i}) for i in range(200)))
    assert len(rows) == 200
    assert not rejected
    assert len({name for row in rows for name in row}) == len(TEXT_COLUMNS) + 2 + MAX_STREAM_COLUMNS


def test_missing_quality_is_ok_and_empty_texts_are_absent() -> None:
    rows, _ = same(line(quality="", site="", unit=None) + b"\n\n  \r\n" + line(quality="simulated") + b"\r\n")
    assert [r["quality"] for r in rows] == ["ok", "simulated"]
    assert rows[0]["site"] is None


def test_a_byte_order_mark_and_windows_line_ends_are_no_reason_to_refuse() -> None:
    rows, rejected = same(b"\xef\xbb\xbf" + GOOD + b"\r\n" + GOOD)
    assert len(rows) == 2
    assert not rejected


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**25), 10**25),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "0.0", "01", "1.", ".5", "-", "+1", "1e", "1e5", "9007199254740993", "5e-324"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30))
@example(["18446744073709551.616", "18446744073709551616", "1.8446744073709551616", "0.18446744073709551616e3"])  # 2^64
@pytest.mark.slow
def test_numbers_are_read_exactly_as_python_reads_them(values: list[object]) -> None:
    same(b"\n".join(GOOD.replace(b"1}", str(v).encode() + b"}") for v in values))


texts = st.text(max_size=12)
cells = st.one_of(
    texts,
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**64 - 1),
    st.booleans(),
    st.none(),
    st.just([1]),
    st.just({}),
)
fields = st.sampled_from(
    ["ts", "site", "device", "sensor", "value", "unit", "quality", "rssi", "Batt V", "é", "date", "x" * 70, ""]
)
times = st.one_of(
    st.datetimes().map(lambda d: d.isoformat() + "Z"),
    st.datetimes().map(lambda d: d.isoformat(" ") + "+01:00"),
    st.integers(0, 10**19),
    texts,
)
records = st.builds(
    lambda base, more: {**base, **more},
    st.fixed_dictionaries({"ts": times, "device": texts, "sensor": texts, "value": st.floats(-100, 100)}),
    st.dictionaries(fields, cells, max_size=4),
)
spellings = st.one_of(
    records.map(orjson.dumps),
    records.map(lambda r: json.dumps(r).encode()),
    records.map(lambda r: orjson.dumps(r).replace(b",", b" ,\t").replace(b":", b" : ", 1)),
    st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").removeprefix(b"\x1f\x8b")),
    records.map(lambda r: orjson.dumps(r)[:-3]),
    st.just(GOOD),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(spellings, max_size=40), st.booleans())
@pytest.mark.slow
def test_the_kernel_and_the_definition_agree_on_any_lines(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    rows, rejected = same(data)
    meant = [i for i, text in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if text.strip(b" \t\r")]
    assert len(rows) + len(rejected) == len(meant)
    assert {r.line for r in rejected} <= set(meant)


def test_every_spelling_of_a_time_that_is_documented_takes_the_compiled_path() -> None:
    """What is left to the line-by-line definition costs ten times the CPU."""
    spelled = ["2026-11-20T10:00:00Z", "2026-11-20 12:00:00.5+02:00", "2026-11-20T12:00:00+0200", 1_795_168_800,
               1_795_168_800.25, 1_795_168_800_250, 1_795_168_800_250_001, 1_795_168_800_250_001_999, "1795168800",
               "1795168800250"]  # fmt: skip
    block = np.frombuffer(b"".join(line(ts=ts) + b"\n" for ts in spelled) + bytes(PAD), dtype=np.uint8).copy()
    extra = ExtraColumns()
    scanner = Scanner(RowBuffer(extra.kinds), extra, LATEST)
    rows, *_ = scanner._call(Block(block, len(block) - PAD), 0)
    assert rows == len(spelled)
    assert not list(scanner._slow(rows))


keyed = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "A", "b", "c_text", "c", "d 1"]),
        st.one_of(
            st.integers(-5, 5), st.just(2**60), st.floats(allow_nan=False), st.booleans(), st.just("x"), st.none()
        ),
        max_size=4,
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(keyed, st.integers(0, 20))
def test_the_kernel_and_the_definition_make_the_same_columns(more: list[dict[str, Any]], many: int) -> None:
    """A column has the kind of its first value, whoever reads the line that brings it."""
    data = b"\n".join(line(**one) for one in more * (1 + many))
    made = []
    for fast in (False, True):
        extra = ExtraColumns()
        buffer = RowBuffer(extra.kinds)
        scanner = Scanner(buffer, extra, LATEST) if fast else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scanners, "LEARN_FROM", 3)
            patch.setattr(scanners, "LEARN_LINES", 5)
            list(Decoder(buffer, LATEST, extra, scanner).ndjson(io.BytesIO(data)))
        made.append((extra.kinds, extra.left_out))
    assert made[0] == made[1]


def test_many_texts_make_the_kernel_grow_its_tables_without_losing_a_line() -> None:
    lines = [line(device=f"device-{i}", note=f"{'n' * 100}{i}", value=i) for i in range(30_000)]
    rows, rejected = decode(b"\n".join(lines), fast=True)
    assert not rejected
    assert [(r["device"], r["value"]) for r in rows] == [(f"device-{i}", float(i)) for i in range(30_000)]
    assert rows[-1]["note"].endswith("n29999")


def test_a_long_text_is_never_looked_for_beyond_the_end_of_the_block() -> None:
    long = "n" * 500_000
    rows, rejected = same(b"\n".join([line(note=long), line(note="m" * 2048), line(note="m" * 2048), line(note="m")]))
    assert [len(r["note"]) for r in rows] == [500_000, 2048, 2048, 1]
    assert not rejected


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(self._step, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=30), st.integers(100, 200), st.integers(20, 40), st.integers(1, 70))
def test_blocks_hold_every_line_once_and_report_the_long_ones(
    lines: list[bytes], size: int, longest: int, step: int
) -> None:
    data = b"\n".join(lines).removeprefix(b"\xef\xbb\xbf")
    found: list[bytes | int] = []
    for piece in blocks(Trickle(data, step), block=size, longest=longest):  # type: ignore[arg-type]
        if isinstance(piece, LongLine):
            found.append(piece.length)
        else:
            assert isinstance(piece, Block)
            found += piece.tobytes().split(b"\n")[:-1]
    expected = data.split(b"\n")
    if expected and not expected[-1]:
        expected.pop()
    assert found == [len(text) if len(text) > longest else text for text in expected]


def test_a_line_of_100_mb_is_refused_and_costs_no_memory_and_its_neighbours_stay() -> None:
    data = gzip.compress(GOOD + b"\n" + b"x" * 100_000_000 + b"\n" + GOOD + b"\n", 1)
    rows, rejected = decode(data, fast=True)
    assert len(rows) == 2
    assert rejected[0].line == 2
    assert "100000000 bytes" in rejected[0].reason
    assert len(rejected[0].raw) < 9_000
    assert len(gzip.decompress(data)) > MAX_LINE


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: d[:40] + b"\0\0\0" + d[43:]])
def test_damaged_gzip_is_one_broken_object(damage: Any) -> None:
    data = gzip.compress(b"\n".join(line(value=i) for i in range(1000)))
    with pytest.raises(BrokenObject, match="damaged gzip"):
        decode(damage(data), fast=False)


def test_gzip_of_several_members_is_read_whole() -> None:
    rows, _ = decode(gzip.compress(GOOD + b"\n") + gzip.compress(GOOD + b"\n"), fast=True)
    assert len(rows) == 2


def test_the_compiled_scanner_costs_less_than_reading_each_line_as_json() -> None:
    text = b"".join(b'%s,"unit":"hPa","sequence":%d}\n' % (GOOD[:-1], number) for number in range(100_000))

    def ours() -> None:
        extra = ExtraColumns({})
        scanner = Scanner(RowBuffer(extra.kinds), extra, LATEST)
        for block in blocks(io.BytesIO(text)):
            assert not isinstance(block, LongLine)
            assert not [refused for step, _ in scanner.scan(block, 0) for refused in step.rejected]

    cost, peer = _least(ours), _least(lambda: [orjson.loads(line) for line in text.splitlines()])
    assert cost < 0.75 * peer


def _least(work: Callable[[], object]) -> float:
    """CPU-seconds of the fastest of three runs."""
    taken = []
    for _ in range(3):
        before = time.thread_time()
        work()
        taken.append(time.thread_time() - before)
    return min(taken)


def test_code_compiled_from_other_sources_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba's cache does not see that a function called from another file has changed."""
    before = kernel_cache()
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: real(file) + b"# edited")
    assert kernel_cache() != before


def test_what_stands_behind_the_end_of_gzip_data_is_counted_and_costs_nothing_of_it() -> None:
    content = open_content(io.BytesIO(gzip.compress(GOOD + b"\n") + b"\0\0junk"), ".ndjson")
    assert content.stream.read() == GOOD + b"\n"
    assert content.trailing == 4

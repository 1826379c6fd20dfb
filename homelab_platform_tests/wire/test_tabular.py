"""Tables of text: whatever a csv writer writes comes back, and a broken quote costs its own line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.wire import tabular
from homelab_platform.wire.tabular import Unreadable

cells = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.text(alphabet='ab",;\t|# \né', max_size=8),
    st.just(""),
)


def table(text: str) -> tuple[tabular.Form, list[tabular.Row]]:
    lines = text.splitlines(keepends=True)
    form = tabular.form_of(lines)
    return form, list(tabular.rows(lines, form))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=20), st.sampled_from(tabular.SEPARATORS), st.booleans())
def test_whatever_a_writer_writes_is_read_back(rows: list[tuple[str, str]], separator: str, windows: bool) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\r\n" if windows else "\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["time", "note", "more"])
    for first, second in rows:
        writer.writerow(["2026-01-01T00:00:00Z", first, second])
    lines = out.getvalue().split("\n")
    kept = [line + "\n" for line in lines[:-1]]
    form = tabular.form_of(kept, tabular.Options(separator=separator, decimal="."))
    assert form.names == ("time", "note", "more")
    found = list(tabular.rows(kept, form))
    assert [tuple(row.cells[1:]) for row in found if not row.reason] == rows


@given(st.lists(st.text(alphabet='a1",;#\n\0 é', max_size=30), max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_text_makes_it_stumble_and_no_line_vanishes(lines: list[str]) -> None:
    text = ["time,temp\n", "2026-01-01T00:00:00Z,1\n", *(line.replace("\n", "") + "\n" for line in lines)]
    try:
        form = tabular.form_of(text)
    except Unreadable:
        return
    found = list(tabular.rows(text, form))
    assert all(row.cells or row.reason for row in found)
    assert len({row.line for row in found}) == len(found)


def test_an_open_quote_costs_one_line_wherever_it_is() -> None:
    good = [f'2026-01-01T00:00:{n:02}Z,{n},"a ""note"""' for n in range(60)]
    for place in (0, 1, 30, 59):
        lines = list(good)
        lines[place] = '2026-01-01T00:00:00Z,1,"open'
        _, rows = table("time,temp,note\n" + "\n".join(lines) + "\n")
        assert [row.line for row in rows if row.reason] == [place + 2]
        assert len([row for row in rows if not row.reason]) == 59


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [("1,5", ",", 1.5), ("1.234,5", ",", 1234.5), ("-0,5e3", ",", -500.0), ("1.5", ".", 1.5), ("7", ",", 7.0)],
)
def test_numbers_by_their_decimal_mark(text: str, decimal: str, number: float) -> None:
    assert tabular.to_number(text, decimal) == number


@pytest.mark.parametrize(
    ("text", "decimal"), [("1.234", ","), ("1,2,3", ","), ("1_000", "."), ("12,5", "."), ("x", ".")]
)
def test_a_number_that_may_be_two_is_none(text: str, decimal: str) -> None:
    with pytest.raises(ValueError, match="value"):
        tabular.to_number(text, decimal)

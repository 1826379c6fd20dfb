"""What the sensors remember, and what follows from it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.graph.cursors import (
    GRACE,
    InboxCursor,
    ask,
    days_to_name,
    load_cursor,
    recent_from,
    sweep_due,
    swept,
)
from homelab_platform.graph.work import Work
from homelab_platform.layers.marts.adapter import dates_of

NOW = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))


@given(
    st.builds(
        InboxCursor,
        swept=st.none() | MOMENTS,
        took=st.floats(0, 1e6),
        digest=st.text(),
        asked=st.none() | MOMENTS,
        tries=st.integers(0, 99),
    )
)
def test_a_cursor_survives_being_written_down(cursor: InboxCursor) -> None:
    assert load_cursor(cursor.dump()) == cursor


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", '{"swept": 3}', '{"tries": null}', "7"])
def test_a_cursor_that_cannot_be_read_starts_afresh(text: str | None) -> None:
    assert load_cursor(text) == InboxCursor()


def test_new_objects_are_asked_for_at_once_and_the_same_ones_not_again() -> None:
    asked, cursor = ask(InboxCursor(), ["a"], NOW)
    assert asked
    assert ask(cursor, ["a"], NOW + timedelta(seconds=5)) == (False, cursor)
    assert ask(cursor, ["a", "b"], NOW + timedelta(seconds=5))[0]


def test_objects_that_stay_are_asked_for_less_and_less_often() -> None:
    cursor, now, waits = InboxCursor(), NOW, []
    last = now
    for _ in range(20_000):
        wanted, cursor = ask(cursor, ["unreadable"], now)
        if wanted:
            waits.append(now - last)
            last = now
        now += timedelta(seconds=5)
    assert waits[1] >= GRACE
    assert waits[1:] == sorted(waits[1:]) or max(waits) <= timedelta(minutes=31)
    assert len(waits) < 100


def test_a_clock_that_was_set_back_does_not_silence_the_sensor() -> None:
    _, cursor = ask(InboxCursor(), ["a"], NOW)
    assert ask(cursor, ["a"], NOW - timedelta(days=1))[0]
    assert sweep_due(swept(InboxCursor(), NOW, 0.1), NOW - timedelta(days=1))


def test_an_empty_inbox_forgets_what_was_asked_for() -> None:
    _, cursor = ask(InboxCursor(), ["a"], NOW)
    wanted, cursor = ask(cursor, [], NOW)
    assert not wanted
    assert ask(cursor, ["a"], NOW)[0]


def test_the_whole_bucket_is_listed_every_minute_or_at_a_fiftieth_of_the_time() -> None:
    small, large = swept(InboxCursor(), NOW, 0.01), swept(InboxCursor(), NOW, 10)
    assert sweep_due(InboxCursor(), NOW)
    assert not sweep_due(small, NOW + timedelta(seconds=59))
    assert sweep_due(small, NOW + timedelta(seconds=60))
    assert not sweep_due(large, NOW + timedelta(seconds=499))
    assert sweep_due(large, NOW + timedelta(seconds=500))


def test_the_usual_look_begins_yesterday_so_that_midnight_hides_nothing() -> None:
    assert recent_from("machines/", NOW) == "machines/2026-11-20"
    assert recent_from("machines/", NOW) < "machines/2026-11-20/pi-1/a.ndjson.gz"


@given(st.sets(st.dates(), min_size=1, max_size=50))
def test_dates_survive_the_configuration_of_a_run(days: set[date]) -> None:
    work = Work(apply=False, dates=days_to_name(days))
    assert dates_of(work.request([], partitioned=True)) == sorted(days)


def test_many_dates_become_all_of_them() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(100)]
    assert dates_of(Work(apply=False, dates=days_to_name(days)).request([], partitioned=True)) is None
    assert dates_of({}) is None

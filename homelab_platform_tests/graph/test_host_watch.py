"""Whether a host answers, as the graph says it: red within a minute, green again by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from homelab_platform.apply.adapter import Answering
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.host_watch import (
    ANSWERS,
    SAID_AGAIN,
    TWICE,
    WATCH_EVERY,
    Seen,
    after_look,
    dump_seen,
    load_seen,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HERE, GONE = Answering(True, 0.01), Answering(False, said="does not answer (timed out)", remedy="Is it switched on?")
HOST = "host/pi-1"


def look(memory: dict[str, Seen], *answers: Answering) -> tuple[list[bool], dict[str, Seen], list[bool]]:
    """The verdicts that were said, the memory after the last look, and whether each look saw it go or come back."""
    said, changes = [], []
    for n, answer in enumerate(answers):
        news, memory, changed = after_look(memory, {HOST: answer}, NOW + timedelta(seconds=n * WATCH_EVERY))
        said += [one.passed for one in news]
        changes.append(HOST in changed)
    return said, memory, changes


def test_a_host_that_answers_is_said_once_and_not_at_each_look() -> None:
    said, memory, changes = look({}, HERE, HERE, HERE)
    assert said == [True] and changes == [False] * 3
    assert memory[HOST].said is True


def test_a_pulled_plug_is_red_within_a_minute_and_green_with_the_first_answer() -> None:
    said, _, changes = look({}, HERE, GONE, GONE, GONE, HERE)
    assert said == [True, False, True]
    assert changes == [False, False, True, False, True]
    assert TWICE * WATCH_EVERY < 60


def test_one_lost_packet_is_no_alarm() -> None:
    said, _, changes = look({}, HERE, GONE, HERE, GONE, HERE)
    assert said == [True] and not any(changes)


def test_a_host_that_never_answered_is_red_too() -> None:
    assert look({}, GONE, GONE)[0] == [False]


def test_what_stays_as_it_is_is_said_again_so_that_the_page_shows_somebody_looks() -> None:
    _, memory, _ = look({}, HERE)
    news, _, changed = after_look(memory, {HOST: HERE}, NOW + SAID_AGAIN)
    assert [one.passed for one in news] == [True] and not changed


def test_the_verdict_says_what_is_wrong_and_what_to_do() -> None:
    news, _, _ = after_look({HOST: Seen(missed=1, said=True, at=NOW.timestamp())}, {HOST: GONE}, NOW)
    (verdict,) = news
    assert (verdict.asset_key, verdict.check_name, verdict.passed) == (asset_key(HOST), ANSWERS, False)
    assert verdict.description == "does not answer (timed out)"
    assert verdict.metadata["what to do"].value == "Is it switched on?"


def test_the_memory_survives_being_kept_as_text_and_a_broken_one_is_forgotten() -> None:
    _, memory, _ = look({}, HERE, GONE)
    assert load_seen(dump_seen(memory)) == memory
    for text in (None, "", "[]", '{"host/pi-1": 3}', "nonsense"):
        assert load_seen(text) == {}

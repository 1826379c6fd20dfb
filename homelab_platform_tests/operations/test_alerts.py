"""People are told of trouble once, grouped, in time, and of its end; a channel that fails stops no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.errors import HomelabError
from homelab_platform.graph.alerts import Memory, Post, judged, remembered
from homelab_platform.lab.model.operations import Alerts
from homelab_platform.operations import alerts
from homelab_platform.operations.alerts import AGAIN, SETTLE, delivered, due, is_quiet, seen
from homelab_platform.operations.messengers import Channel, alerts_of, channels, still_here, try_out
from homelab_platform.plan.health import Finding
from homelab_platform.servers.supervise import ports
from homelab_platform_tests.operations.receivers import mail_server, web_server
from homelab_platform_tests.plan.labs import small_lab

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PI = Finding("error", "host/pi-1", "does not answer", "Is it switched on?")
JOB = Finding("error", "job backup", "failed at 02:30", "See `homelab logs 1234`.")
WAITS = Finding("waits", "plan", "changes pending", "See `homelab plan`.")


def told(*looks: tuple[timedelta, list[Finding]]) -> list[str]:
    """The titles of what one channel hears over a row of looks."""
    known: dict[str, alerts.Trouble] = {}
    found = []
    for after, findings in looks:
        now = NOON + after
        known = seen(known, findings, now)
        notice = due("attic", known, now)
        if notice is not None:
            found.append(notice.title)
            known = delivered(known, notice, now)
    return found


def test_trouble_that_lasts_is_told_once_with_all_that_broke_and_so_is_its_end() -> None:
    assert told(
        (0 * MINUTE, [PI, JOB, WAITS]),
        (1 * MINUTE, [PI, JOB, WAITS]),
        (2 * MINUTE, [PI, JOB, WAITS]),
        (3 * MINUTE, [PI, JOB]),
        (9 * MINUTE, [JOB]),
        (10 * MINUTE, []),
    ) == [
        "attic: 2 broken: host/pi-1, job backup",
        "attic: well again: host/pi-1",
        "attic: well again: job backup",
    ]


def test_what_is_gone_before_anybody_was_told_needs_nobody() -> None:
    assert told((0 * MINUTE, [PI]), (1 * MINUTE, []), (2 * MINUTE, [PI]), (3 * MINUTE, [])) == []


def test_trouble_that_lasts_is_told_again_after_a_day() -> None:
    looks = [(hours * 60 * MINUTE, [PI]) for hours in range(50)]
    assert len(told(*looks)) == 3


def test_a_message_says_what_to_do_and_counts_what_it_does_not_show() -> None:
    findings = [Finding("error", f"host/pi-{n}", "does not answer", "Look.") for n in range(30)]
    known = seen({}, findings, NOON)
    notice = due("attic", known, NOON + SETTLE)
    assert notice is not None
    assert notice.title == "attic: 30 broken: host/pi-0, host/pi-1, host/pi-10 and 27 more"
    assert notice.text.splitlines()[:2] == ["host/pi-0: does not answer", "    Look."]
    assert notice.text.splitlines()[-1] == "and 18 more: homelab status"


@given(looks=st.lists(st.tuples(st.integers(1, 2000), st.lists(st.sampled_from([PI, JOB, WAITS]))), max_size=30))
def test_whoever_is_told_of_the_end_was_told_of_the_trouble_and_nobody_is_told_twice_a_day(
    looks: list[tuple[int, list[Finding]]],
) -> None:
    known: dict[str, alerts.Trouble] = {}
    heard: dict[str, datetime] = {}
    now = NOON
    for minutes, findings in looks:
        now += minutes * MINUTE
        known = seen(known, findings, now)
        notice = due("attic", known, now)
        if notice is None:
            continue
        for where in notice.over:
            assert heard.pop(where)
        for where in notice.broken:
            assert where not in heard or now - heard[where] >= AGAIN
            heard[where] = now
        known = delivered(known, notice, now)
    assert {where for where, trouble in known.items() if trouble.told} == set(heard)


@pytest.mark.parametrize(
    ("hours", "clock", "quiet"),
    [
        ("22:00-07:00", "23:30", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("22:00-07:00", "12:00", False),
        ("12:00-13:00", "12:00", True),
        ("12:00-13:00", "13:00", False),
        (None, "03:00", False),
    ],
)
def test_quiet_hours_are_those_of_the_clock(hours: str | None, clock: str, quiet: bool) -> None:
    assert is_quiet(hours, datetime.fromisoformat(f"2026-12-01T{clock}")) is quiet


# The sensor's part


def test_in_quiet_hours_pushes_wait_and_what_wakes_nobody_does_not() -> None:
    heard: list[str] = []
    both = [
        Channel("ntfy", True, lambda n: heard.append(f"push {n.title}")),
        Channel("email", False, lambda n: heard.append(f"mail {n.title}")),
    ]
    memory = Memory()
    for minutes, quiet in ((0, True), (3, True), (4, False)):
        post = Post("attic", both, lambda: None)
        memory = post.deliver(memory, [PI], NOON + minutes * MINUTE, quiet=quiet)
    assert heard == ["mail attic: 1 broken: host/pi-1", "push attic: 1 broken: host/pi-1"]


def test_a_channel_that_fails_is_named_tried_again_and_stops_no_other() -> None:
    heard: list[str] = []

    def fails(_notice: alerts.Notice) -> None:
        raise HomelabError.of("ntfy", "answered 503")

    memory, verdicts = Memory(), []
    for minutes, push in ((0, fails), (3, fails), (4, lambda n: heard.append("push"))):
        email = Channel("email", False, lambda n: heard.append("mail"))
        post = Post("attic", [Channel("ntfy", True, push), email], lambda: None)
        memory = post.deliver(memory, [PI], NOON + minutes * MINUTE, quiet=False)
        memory, events = judged("attic", memory, post.untold, NOON + minutes * MINUTE)
        verdicts += [(event.passed, event.description) for event in events]
        memory = remembered(memory.model_dump_json())
    assert heard == ["mail", "push"]
    assert verdicts == [
        (True, "Every channel took what it was given."),
        (False, "ntfy: answered 503"),
        (True, "Every channel took what it was given."),
    ]
    assert remembered("not ours") == Memory()


# Real servers


def said(web: int, mail: int) -> Alerts:
    return Alerts.model_validate(
        {
            "email": {"to": ["ada@lab.example.org"], "server": f"127.0.0.1:{mail}"},
            "ntfy": {"url": f"http://127.0.0.1:{web}/attic", "token": "file:token"},
            "webhook": "file:hook",
            "home_assistant": "file:hook",
            "dead_mans_switch": "file:hook",
        }
    )


def test_every_channel_is_taken_by_a_real_server(tmp_path: Path) -> None:
    lab = small_lab()
    with web_server() as web, mail_server() as mail:
        (tmp_path / "token").write_text("tk_secret\n")
        (tmp_path / "hook").write_text(f"http://127.0.0.1:{web.port}/hook\n")
        known = seen({}, [PI, Finding("error", "stream umwelt", "kein Wert über 15 min", "")], NOON)
        notice = due("attic", known, NOON + SETTLE)
        assert notice is not None
        for channel in channels(lab, said(web.port, mail.port), tmp_path):
            channel.send(notice)
        still_here(said(web.port, mail.port), tmp_path)
    (letter,) = mail.mails
    assert letter["Subject"] == notice.title
    assert letter["To"] == "ada@lab.example.org"
    body = letter.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode().replace("\r\n", "\n").strip() == notice.text
    push, hook, home, alive = web.requests
    assert push[2]["Authorization"] == "Bearer tk_secret"
    assert push[2]["Title"] == notice.title
    assert push[3].decode() == notice.text
    assert orjson.loads(hook[3])["broken"][0]["where"] == "host/pi-1"
    assert home[3] == hook[3]
    assert alive[:2] == ("GET", "/hook")


def test_a_trial_names_what_did_not_get_through_and_no_secret_address(tmp_path: Path) -> None:
    with web_server() as web:
        web.refuse = True
        (tmp_path / "token").write_text("tk_secret\n")
        (tmp_path / "hook").write_text(f"http://127.0.0.1:{web.port}/a-secret-path\n")
        found = try_out(small_lab(), said(web.port, ports.choose(1)[0]), tmp_path)
    assert found["ntfy"] == found["webhook"] == "answered 503"
    assert "was not taken" in found["email"]
    assert "secret" not in str(found)


def test_a_lab_that_names_nobody_tells_nobody() -> None:
    assert alerts_of(small_lab()) is None

"""What needs a person: judged from what was read, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from homelab_platform.operations.doctor import causes
from homelab_platform.operations.health import (
    judge_assets,
    judge_checks,
    judge_daemon,
    judge_runs,
    judge_streams,
)
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.health import Finding, Health
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.state import AppliedState
from homelab_platform.tools.dagster import Run, Tick, Verdict
from homelab_platform_tests.plan.labs import small_lab

NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
TABLE = "table/sensor_data"
UNREACHABLE = "dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach user code server"


def run(job: str, status: str, minutes_ago: float, *, started: bool = True) -> Run:
    at = NOW - timedelta(minutes=minutes_ago)
    begun = at if started and status not in ("QUEUED", "STARTING", "NOT_STARTED") else None
    return Run(f"{job}-{minutes_ago}", job, status, at, at, begun, None)


def levels(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.where) for one in findings]


def test_a_night_of_failed_runs_is_one_finding_that_counts_them() -> None:
    night = [run("marts", "FAILURE", 30 * n) for n in range(1, 16)] + [run("marts", "SUCCESS", 600)]
    (found,) = judge_runs(night, NOW, lambda _run: UNREACHABLE)
    assert found.level == "error" and found.where == "job marts"
    assert "failed 15 times in a row since 2026-12-01 00:30 UTC" in found.what and UNREACHABLE in found.what
    (cause,) = causes([found])
    assert "the code server did not answer in time" in cause.seen


def test_a_job_that_works_again_needs_nobody() -> None:
    runs = [run("marts", "SUCCESS", 5), run("marts", "FAILURE", 35), run("quality", "CANCELED", 10)]
    assert judge_runs(runs, NOW, lambda _run: "x") == []


@pytest.mark.parametrize(
    ("one", "slack", "expected"),
    [
        (run("marts", "QUEUED", 5), 1, []),
        (run("marts", "QUEUED", 25), 1, [("waits", "run marts-25 of marts")]),
        (run("marts", "QUEUED", 25), 10, []),  # a busy machine is slow, not stuck
        (run("marts", "STARTING", 25), 1, [("waits", "run marts-25 of marts")]),
        (run("apply", "STARTED", 60), 1, []),
        (run("apply", "STARTED", 180), 1, [("waits", "run apply-18 of apply")]),
    ],
)
def test_runs_that_hang(one: Run, slack: float, expected: list[tuple[str, str]]) -> None:
    assert levels(judge_runs([one], NOW, lambda _run: "", slack)) == expected


def verdict(
    check: str, passed: bool | None, *, warn: bool = False, hours_ago: float = 0.1, failed: bool = False
) -> Verdict:
    at = NOW - timedelta(hours=hours_ago)
    return Verdict(TABLE, check, passed, "warn" if warn else "error", "3 % missing", at, "1234567890", failed)


def test_red_checks_break_warnings_wait_and_what_never_ran_did_not_fail() -> None:
    verdicts = [
        verdict("range", True),
        verdict("gaps", False, warn=True),
        verdict("conservation", False),
        verdict("files_exist", None, failed=True),
        verdict("rows_agree", None),
        Verdict("table/of_a_former_lab", "range", False, "error", "", NOW),
    ]
    counts, found = judge_checks(verdicts, NOW, {TABLE: None}, timedelta(hours=9))
    assert counts == {"passed": 1, "warned": 1, "failed": 1, "unjudged": 2}
    assert levels(found) == [
        ("waits", f"{TABLE}: gaps"), ("error", f"{TABLE}: conservation"), ("error", TABLE)
    ]  # fmt: skip
    assert found[2].what == "its run failed before a verdict on files_exist"


def test_a_check_that_does_not_run_is_overdue_unless_the_site_was_down() -> None:
    old = [verdict("freshness", True, hours_ago=3), verdict("files_exist", True, hours_ago=3)]
    assert [f.where for f in judge_checks(old, NOW, {TABLE: None}, timedelta(hours=9))[1]] == [f"{TABLE}: freshness"]
    assert judge_checks(old, NOW, {TABLE: None}, timedelta(minutes=10))[1] == []


def test_assets_that_fail_wait_or_do_not_answer() -> None:
    desired = desired_states(small_lab())
    states = {
        key: AppliedState(key, state.fingerprint, state.document, attempted=state.fingerprint)
        for key, state in desired.items()
    }
    assert judge_assets(desired, states, NOW, EVERYTHING) == (len(desired), len(desired), [])
    states["host/pi-1"] = AppliedState(
        "host/pi-1", desired["host/pi-1"].fingerprint, status="unreachable", reason="no route"
    )
    trino = desired["workload/trino"].fingerprint
    later = NOW + timedelta(minutes=20)
    states["workload/trino"] = AppliedState(
        "workload/trino", "old", status="failed", failures=7, next_retry_at=later, attempted=trino, reason="no image"
    )
    del states["bucket/lake"]
    in_sync, total, found = judge_assets(desired, states, NOW, EVERYTHING)
    assert ("error", "host/pi-1") in levels(found) and ("error", "workload/trino") in levels(found)
    assert ("waits", "plan") in levels(found)
    assert total == len(desired) and in_sync <= total - 3
    assert any("no image Tried 7 times." in one.what for one in found)


def test_streams_that_went_silent_and_those_that_never_spoke() -> None:
    lab = small_lab()
    name, stream = next(iter(lab.streams.items()))
    pace = max(sensor.every for sensor in stream.sensors.values() if sensor.every)
    folder = stream.prefix.strip("/").partition("/")[0] or name
    fresh, silent = NOW - timedelta(seconds=pace), NOW - timedelta(seconds=max(900, 5 * pace) + 60)
    assert list(judge_streams(lab, {folder: fresh}, [name], NOW)) == []
    assert levels(list(judge_streams(lab, {folder: silent}, [name], NOW))) == [("error", f"stream {name}")]
    assert levels(list(judge_streams(lab, {}, [name], NOW))) == [("note", f"stream {name}")]


def test_a_daemon_that_stopped_and_a_sensor_that_fails() -> None:
    beats = {"SENSOR": NOW - timedelta(minutes=9), "SCHEDULER": NOW}
    found = judge_daemon(beats, [Tick("reconcile", NOW, "a\nValueError: b")], NOW)
    assert levels(found) == [("error", "daemon, sensor"), ("error", "reconcile")]
    assert judge_daemon(beats, [], NOW, slack=3) == []


def test_the_exit_code_says_whether_somebody_is_needed() -> None:
    def of(*found: str) -> int:
        return Health(findings=tuple(Finding(level, "x", "y") for level in found)).exit_code  # type: ignore[arg-type]

    assert (of(), of("note"), of("note", "waits"), of("waits", "error")) == (0, 0, 2, 1)

"""The level-triggered decision, on its own and against a small model of the world."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from homelab_platform.lab.resolved import ResolvedBucket, ResolvedLab
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import EVERYTHING
from homelab_platform.plan.reconcile import LONGEST_RETRY, Decision, back_off, decide
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.plan.state import AppliedState, Status
from homelab_platform_tests.lab.strategies import EXAMPLES
from homelab_platform_tests.plan.labs import small_lab, with_values

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def applied(lab: ResolvedLab) -> dict[str, AppliedState]:
    return {
        key: AppliedState(key, s.fingerprint, s.document, NOW, NOW, attempted=s.fingerprint)
        for key, s in desired_states(lab).items()
    }


def decision(
    lab: ResolvedLab, states: dict[str, AppliedState], now: datetime = NOW, running: frozenset[str] = frozenset()
) -> Decision:
    return decide(desired_states(lab), states, now, running, EVERYTHING)


def test_a_tick_without_a_change_asks_for_nothing() -> None:
    assert decision(small_lab(), applied(small_lab())) == Decision()


def test_an_edit_asks_for_exactly_that_asset() -> None:
    assert decision(with_values(small_lab(), "trino", replicas=2), applied(small_lab())).request == ("workload/trino",)


def test_two_edits_between_ticks_are_both_asked_for() -> None:
    edited = with_values(with_values(small_lab(), "trino", replicas=2), "minio", replicas=2)
    assert set(decision(edited, applied(small_lab())).request) == {"workload/trino", "workload/minio"}


def test_a_second_edit_while_the_first_is_applied_is_asked_for_when_that_is_done() -> None:
    first, second = (with_values(small_lab(), "trino", replicas=n) for n in (2, 3))
    running = decision(second, applied(small_lab()), running=frozenset({"workload/trino"}))
    assert running.request == ()
    assert running.waiting == {"workload/trino": "is being applied"}
    assert decision(second, applied(first)).request == ("workload/trino",)


def test_what_depends_on_an_asset_that_is_being_applied_waits_for_it() -> None:
    edited = with_values(small_lab(), "trino", replicas=2)
    found = decision(edited, applied(small_lab()), running=frozenset({"workload/minio"}))
    assert found == Decision((), {"workload/trino": "waits for workload/minio"})


def test_a_table_that_went_missing_is_made_again_with_the_marts_that_follow_it() -> None:
    states = applied(small_lab())
    states["table/sensor_data"] = replace(states["table/sensor_data"], status="missing")
    assert decision(small_lab(), states).request == ("table/sensor_data", "mart/hourly", "mart/daily")


def test_a_failed_asset_is_asked_for_again_once_its_time_has_come() -> None:
    states = applied(small_lab())
    later = NOW + timedelta(seconds=20)
    states["mart/daily"] = replace(states["mart/daily"], status="failed", failures=1, next_retry_at=later)
    assert decision(small_lab(), states).request == ()
    assert "failed 1 times in a row; again at 12:00:20" in decision(small_lab(), states).waiting["mart/daily"]
    assert decision(small_lab(), states, now=later).request == ("mart/daily",)


def test_editing_a_failed_asset_does_not_wait_for_its_back_off() -> None:
    states = applied(small_lab())
    states["workload/trino"] = replace(
        states["workload/trino"], status="failed", failures=9, next_retry_at=NOW + timedelta(minutes=30)
    )
    assert decision(with_values(small_lab(), "trino", replicas=2), states).request == ("workload/trino",)


def test_a_change_that_loses_data_waits_for_a_person() -> None:
    lab = small_lab()
    short = ResolvedBucket(name="readings-raw", owner="platform", expire_after=86400)
    edited = lab.model_copy(update={"buckets": {**lab.buckets, "readings-raw": short}})
    found = decision(edited, applied(lab))
    assert found.request == ()
    assert "needs confirmation" in found.waiting["bucket/readings-raw"]


def test_what_the_site_cannot_reach_is_never_asked_for() -> None:
    found = decide(desired_states(small_lab()), {}, NOW, frozenset(), CAPABILITIES[SiteKind.SMALL])
    assert {key.partition("/")[0] for key in found.request} == {"flow", "bucket", "table", "mart"}
    assert "flow/environment" not in found.request


@pytest.mark.parametrize("key", ["workload/a", "mart/b"])
def test_back_off_doubles_up_to_half_an_hour_and_is_the_same_every_time(key: str) -> None:
    waits = [back_off(key, failures) for failures in range(1, 40)]
    assert waits == [back_off(key, failures) for failures in range(1, 40)]
    assert timedelta(seconds=11) < waits[0] <= timedelta(seconds=15)
    assert all(wait <= LONGEST_RETRY for wait in waits)
    assert waits[30] >= LONGEST_RETRY * 3 / 4
    assert back_off("workload/a", 3) != back_off("workload/b", 3)


class World(RuleBasedStateMachine):
    """A lab that people edit, runs that succeed, fail or vanish, and a reconciler that may be restarted at any time.

    `real` is what the outside world runs; `states` is what the state store says. After every tick the request is
    compared with an oracle of its own: what is really different and not held back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.lab = small_lab()
        self.states: dict[str, AppliedState] = {}
        self.real: dict[str, str] = {}
        self.running: list[dict[str, DesiredState]] = []
        self.stale_while_running: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.settle()

    def desired(self) -> dict[str, DesiredState]:
        return desired_states(self.lab)

    def in_progress(self) -> set[str]:
        return {key for run in self.running for key in run}

    @rule(name=st.sampled_from(["trino", "minio", "monitoring"]), value=st.integers(1, 3))
    def edit_value(self, name: str, value: int) -> None:
        if name in self.lab.workloads:
            self.lab = with_values(self.lab, name, replicas=value)

    @rule(columns=st.dictionaries(st.sampled_from(["battery", "rssi"]), st.just("double")))
    def edit_columns(self, columns: dict[str, str]) -> None:
        table = self.lab.tables["default.sensor_data"].model_copy(update={"columns": columns})
        self.lab = self.lab.model_copy(update={"tables": {table.name: table}})

    @rule(present=st.booleans())
    def add_or_remove_a_bucket(self, present: bool) -> None:
        buckets = {**self.lab.buckets, "media": ResolvedBucket(name="media", owner="platform")}
        if not present:
            del buckets["media"]
        self.lab = self.lab.model_copy(update={"buckets": buckets})

    @rule(data=st.data())
    def something_is_removed_behind_our_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.states)))
        if key in self.in_progress():
            return
        self.real.pop(key, None)
        self.states[key] = replace(self.states[key], status="missing")

    @rule(seconds=st.integers(1, 3000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def tick(self) -> None:
        desired, busy = self.desired(), self.in_progress()
        found = decide(desired, self.states, self.now, busy, EVERYTHING)
        different = {k for k, s in desired.items() if self.real.get(k) != s.fingerprint or self.unsettled(k)}
        closure = set(different)
        for key, state in desired.items():
            if any(f in set(found.request) for f in state.follows):
                closure.add(key)
        assert set(found.request) | set(found.waiting) == closure
        assert not set(found.request) & busy
        if found.request:
            self.running.append({key: desired[key] for key in found.request})

    def unsettled(self, key: str) -> bool:
        return key in self.states and self.states[key].status != "ok"

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_run_ends(self, data: st.DataObject) -> None:
        run = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        outcome = {key: data.draw(st.sampled_from(["ok", "ok", "failed", "killed"])) for key in run}
        for key, state in run.items():
            if any(outcome.get(dep, "ok") != "ok" for dep in state.deps):
                outcome[key] = "skipped"
            elif outcome[key] == "ok":
                self.succeed(state)
            elif outcome[key] == "failed":
                self.fail(state)

    def succeed(self, state: DesiredState) -> None:
        key = state.key
        self.real[key] = state.fingerprint
        status: Status = "drifted" if key in self.stale_while_running else "ok"
        self.stale_while_running.discard(key)
        self.states[key] = AppliedState(
            key, state.fingerprint, state.document, self.now, self.now, status, attempted=state.fingerprint
        )
        for other in self.desired().values():
            if key in other.follows and other.key in self.states:
                self.states[other.key] = replace(self.states[other.key], status="drifted")
                if other.key in self.in_progress():
                    self.stale_while_running.add(other.key)

    def fail(self, state: DesiredState) -> None:
        old = self.states.get(state.key, AppliedState(state.key))
        failures = old.failures + 1
        self.states[state.key] = replace(
            old,
            status="failed",
            failures=failures,
            next_retry_at=self.now + back_off(state.key, failures),
            attempted=state.fingerprint,
        )

    def settle(self) -> None:
        """Ticks and successful runs until nothing is asked for; a person confirms what would lose data."""
        for _ in range(12):
            for run in self.running:
                for state in run.values():
                    self.succeed(state)
            self.running = []
            self.now += LONGEST_RETRY
            self.tick()
            found = decide(self.desired(), self.states, self.now, self.in_progress(), EVERYTHING)
            for key, why in found.waiting.items():
                if "needs confirmation" in why:
                    self.succeed(self.desired()[key])
            if not self.running and not found.waiting:
                return
        raise AssertionError("did not converge in 12 ticks")

    @invariant()
    def store_and_world_agree_on_what_is_ok(self) -> None:
        for key, state in self.states.items():
            if state.status == "ok":
                assert self.real.get(key) == state.fingerprint

    def teardown(self) -> None:
        """Wherever the sequence ended: it converges, the world is as desired, the next tick asks for nothing."""
        self.settle()
        desired = self.desired()
        assert {key: self.real.get(key) for key in desired} == {k: s.fingerprint for k, s in desired.items()}
        assert decide(desired, self.states, self.now, set(), EVERYTHING) == Decision()


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

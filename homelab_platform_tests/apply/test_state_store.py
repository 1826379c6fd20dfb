"""What every store of applied states keeps to: the one on a real PostgreSQL, and the one in memory that tests of the
graph stand on, which would prove nothing if it kept other rules.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from homelab_platform.apply.adapter import Store
from homelab_platform.apply.state_store import StateStore
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform_tests.graph.world import MemoryStore

pytestmark = pytest.mark.servers


@pytest.fixture(params=["postgres", "memory"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store that never held anything."""
    if request.param == "memory":
        return MemoryStore()
    lakehouse: Lakehouse = request.getfixturevalue("lakehouse")
    return StateStore(lakehouse.postgres)


def apply(store: Store, key: str, fingerprint: str = "f1", *, followers: tuple[str, ...] = ()) -> None:
    store.applied(key, fingerprint, {"name": key}, turn=store.turn(), followers=followers, run_id="run")


def test_a_database_that_never_saw_us_holds_no_state(store: Store) -> None:
    assert store.load() == {}


def test_what_was_applied_is_read_back_whole(store: Store) -> None:
    apply(store, "bucket/lake")
    state = store.load()["bucket/lake"]
    assert (state.fingerprint, state.status, state.document) == ("f1", "ok", {"name": "bucket/lake"})
    assert state.applied_at is not None and abs(datetime.now(UTC) - state.applied_at) < timedelta(minutes=1)
    assert (state.attempted, state.failures, state.run_id) == ("f1", 0, "run")


def test_a_consent_is_for_one_change_and_for_once(store: Store) -> None:
    apply(store, "bucket/raw")
    store.consent("bucket/raw", "f1", "f2")
    assert store.consented("bucket/raw", "f1", "f2")
    assert not store.consented("bucket/raw", "f1", "f3")
    assert not store.consented("bucket/raw", "f0", "f2")
    assert not store.consented("bucket/lake", "f1", "f2")
    apply(store, "bucket/raw", "f2")
    assert not store.consented("bucket/raw", "f1", "f2")


def test_failures_in_a_row_wait_longer_and_a_success_ends_them(store: Store) -> None:
    apply(store, "mart/a")
    waits = []
    for _ in range(4):
        store.failed("mart/a", "f2", "no room")
        state = store.load()["mart/a"]
        assert state.next_retry_at is not None
        waits.append(state.next_retry_at - datetime.now(UTC))
    assert waits == sorted(waits)
    assert (state.failures, state.status, state.fingerprint, state.reason) == (4, "failed", "f1", "no room")
    apply(store, "mart/a", "f2")
    state = store.load()["mart/a"]
    assert (state.failures, state.next_retry_at, state.status, state.reason) == (0, None, "ok", "")


def test_failing_at_another_state_begins_to_count_anew(store: Store) -> None:
    for _ in range(3):
        store.failed("mart/a", "f2", "")
    store.failed("mart/a", "f3", "")
    assert store.load()["mart/a"].failures == 1


def test_what_follows_becomes_outdated_together_with_the_change(store: Store) -> None:
    apply(store, "mart/a")
    apply(store, "table/t", followers=("mart/a",))
    state = store.load()["mart/a"]
    assert (state.status, state.reason) == ("drifted", "follows table/t")


def test_looking_at_an_outdated_asset_does_not_make_it_up_to_date(store: Store) -> None:
    apply(store, "mart/a")
    apply(store, "table/t", followers=("mart/a",))
    store.observed("mart/a", "ok", turn=store.turn())
    assert store.load()["mart/a"].status == "drifted"
    apply(store, "mart/a")
    store.observed("mart/a", "ok", turn=store.turn())
    assert store.load()["mart/a"].status == "ok"


def test_an_attempt_that_began_before_it_became_outdated_leaves_it_so(store: Store) -> None:
    apply(store, "mart/a")
    turn = store.turn()
    apply(store, "table/t", followers=("mart/a",))
    store.applied("mart/a", "f1", {}, turn=turn)
    assert store.load()["mart/a"].status == "drifted"


def test_an_observation_older_than_the_last_apply_is_dropped(store: Store) -> None:
    turn = store.turn()
    apply(store, "bucket/lake")
    store.observed("bucket/lake", "missing", turn=turn)
    assert store.load()["bucket/lake"].status == "ok"
    store.observed("bucket/lake", "missing", turn=store.turn(), reason="gone")
    assert store.load()["bucket/lake"].status == "missing"


def test_an_observation_does_not_hide_a_failure(store: Store) -> None:
    store.failed("bucket/lake", "f1", "refused")
    store.observed("bucket/lake", "ok", turn=store.turn())
    assert store.load()["bucket/lake"].status == "failed"


def test_a_state_is_learnt_back_and_forgotten(store: Store) -> None:
    store.observed("bucket/lake", "ok", turn=store.turn(), fingerprint="f1", document={"name": "lake"})
    assert store.load()["bucket/lake"].fingerprint == "f1"
    store.forget("bucket/lake")
    assert store.load() == {}


def test_many_processes_may_begin_at_once(lakehouse: Lakehouse) -> None:
    def work(number: int) -> None:
        store = StateStore(lakehouse.postgres)
        for round_number in range(5):
            apply(store, f"mart/{number}", f"f{round_number}", followers=("mart/0",))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 9)))
    states = StateStore(lakehouse.postgres).load()
    assert {state.fingerprint for key, state in states.items()} == {"f4"}
    assert len(states) == 8

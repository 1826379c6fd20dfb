"""Who did what: a row for everything that happened, none for what did not, and nobody changes one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from homelab_platform.apply.history import append, read_history
from homelab_platform.apply.state_store import StateStore
from homelab_platform.tools import postgres, who
from homelab_platform.tools.endpoints import Lakehouse

pytestmark = pytest.mark.servers


@pytest.fixture
def store(lakehouse: Lakehouse) -> Iterator[StateStore]:
    yield StateStore(lakehouse.postgres)


def test_a_site_that_did_nothing_yet_has_no_rows(store: StateStore) -> None:
    assert read_history(store.endpoint) == []


def test_every_step_of_an_assets_life_has_its_row(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_OPERATOR", "ada")
    store.applied("bucket/raw", "f1", {}, turn=store.turn(), run_id="r1")
    monkeypatch.setenv("HOMELAB_OPERATOR", "ben")
    store.consent("bucket/raw", "f1", "f2")
    store.failed("bucket/raw", "f2", "no room", run_id="r2")
    store.applied("bucket/raw", "f2", {}, turn=store.turn(), run_id="r3")
    store.forget("bucket/raw")
    append(store.endpoint, "restored", "bucket/raw", note="snapshot 1a2b")
    rows = read_history(store.endpoint)[::-1]
    assert [(r.person, r.action, r.before, r.after, r.run_id, r.note) for r in rows] == [
        ("ada", "applied", "", "f1", "r1", ""),
        ("ben", "confirmed", "f1", "f2", "", "loss of data"),
        ("ben", "failed", "f1", "f2", "r2", "no room"),
        ("ben", "applied", "f1", "f2", "r3", ""),
        ("ben", "removed", "f2", "", "", ""),
        ("ben", "restored", "", "", "", "snapshot 1a2b"),
    ]
    assert {row.machine for row in rows} == {who.machine()}


def test_rows_are_read_by_asset_and_age(store: StateStore) -> None:
    for key in ("mart/a", "mart/b"):
        store.applied(key, "f", {}, turn=store.turn())
    assert [row.key for row in read_history(store.endpoint, key="mart/b")] == ["mart/b"]
    assert [row.key for row in read_history(store.endpoint, limit=1)] == ["mart/b"]
    assert read_history(store.endpoint, since=datetime.now(UTC) + timedelta(minutes=1)) == []


@pytest.mark.parametrize("statement", ["UPDATE history SET person = 'eve'", "DELETE FROM history", "TRUNCATE history"])
def test_nobody_changes_a_row(store: StateStore, statement: str) -> None:
    store.applied("mart/a", "f", {}, turn=store.turn())
    with closing(postgres.connect(store.endpoint)) as connection, pytest.raises(psycopg.Error, match="never changed"):
        connection.execute(statement)
    assert len(read_history(store.endpoint)) == 1


def test_two_at_once_both_leave_their_row(store: StateStore) -> None:
    threads = [
        threading.Thread(target=StateStore(store.endpoint).applied, args=(f"mart/{n}", "f", {}), kwargs={"turn": n})
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row.key for row in read_history(store.endpoint)} == {f"mart/{n}" for n in range(6)}

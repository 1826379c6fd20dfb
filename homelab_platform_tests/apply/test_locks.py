"""Who changes what: the locks of the state database, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import orjson
import pytest

from homelab_platform.apply import locks
from homelab_platform.apply.state_store import StateStore
from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import Lakehouse

pytestmark = pytest.mark.servers

HOLD = """
import sys, time, orjson
from homelab_platform.apply import locks
from homelab_platform.tools.endpoints import PostgresEndpoint
with locks.held(PostgresEndpoint(**orjson.loads(sys.argv[1])), locks.LAB, "apply"):
    print("held", flush=True)
    time.sleep(60)
"""


def somebody_else(lakehouse: Lakehouse) -> subprocess.Popen[str]:
    endpoint = orjson.dumps({name: getattr(lakehouse.postgres, name) for name in FIELDS}).decode()
    process = subprocess.Popen([sys.executable, "-c", HOLD, endpoint], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


FIELDS = ("host", "port", "user", "password", "database")


def test_the_second_who_applies_is_told_who_is_at_it_where_and_since_when(lakehouse: Lakehouse) -> None:
    with somebody_else(lakehouse) as other:
        second = locks.held(lakehouse.postgres, locks.LAB, "apply", wait=0)
        with pytest.raises(HomelabError) as refused, second:
            pytest.fail("two were at it")
        (problem,) = refused.value.problems
        assert f"process {other.pid}, since " in problem.what
        assert f"apply of {locks.myself('apply').split()[2]} on {os.uname().nodename}" in problem.what
        assert problem.what.endswith("is changing this lab")
        assert "Nothing was changed" in problem.remedy
        other.kill()


def test_a_killed_process_leaves_no_lock_behind(lakehouse: Lakehouse) -> None:
    with somebody_else(lakehouse) as other:
        other.kill()
    with locks.held(lakehouse.postgres, locks.LAB, "apply", wait=5):
        assert locks.holder(lakehouse.postgres) is not None
    assert locks.holder(lakehouse.postgres) is None


def test_two_changes_of_one_asset_follow_each_other_and_those_of_two_assets_do_not(lakehouse: Lakehouse) -> None:
    store = StateStore(lakehouse.postgres)
    told: list[str] = []
    order: list[str] = []

    def second() -> None:
        with store.held("flow/a", "run 2", told.append):
            order.append("second")

    with store.held("flow/a", "run 1", told.append):
        thread = threading.Thread(target=second)
        thread.start()
        with store.held("flow/b", "run 1", told.append):
            order.append("another asset")
        while not told:
            time.sleep(0.01)
        order.append("first")
    thread.join(10)
    assert order == ["another asset", "first", "second"]
    assert len(told) == 1 and told[0].startswith("waits for run 1 of ")

"""kill -9 at any moment of an ingest: nothing lost, nothing twice, nothing left lying about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.tools.endpoints import Lakehouse

SCRIPT = """
import json, sys
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform_tests.readings.killing import kill_and_check
p, o, raw, lake = json.loads(sys.stdin.read())
outcome = kill_and_check(Lakehouse(PostgresEndpoint(**p), ObjectsEndpoint(**o), raw, lake),
                         objects=120, kills=10, batch=3, seed=7)
print(outcome)
sys.exit(len(outcome.wrong))
"""


@pytest.mark.servers
@pytest.mark.slow
def test_ten_kills_of_two_workers_leave_every_reading_once_and_no_orphan(lakehouse: Lakehouse) -> None:
    """In a process of its own, because it forks."""
    import orjson

    text = orjson.dumps(
        [vars(lakehouse.postgres), vars(lakehouse.objects), lakehouse.raw_bucket, lakehouse.lake_bucket]
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=text, capture_output=True, cwd=root, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

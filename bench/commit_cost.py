"""Does the thousandth commit cost what the first did? One object of 40 readings per commit, 1,000 commits on one day.

Each figure is the mean CPU of 50 whole ingests in a row in one process, tidying of small files, expiry of snapshots and
deletion of what those gave up included; `median` is a single commit without them. Goal: the last 50 <= 1.2 times the
first 50. `python bench/commit_cost.py [COMMITS]`.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta

import common
from ingest import servers

from homelab_platform.readings import contract, ingest
from homelab_platform.readings.commit.session import open_session
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.servers.scratch.servers import fresh_lakehouse
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

START = datetime(2026, 10, 20, tzinfo=UTC)
GOAL = 1.2
WINDOW = 50
WARM_UP = 20


def one(lakehouse: Lakehouse, store: ObjectStore, number: int, start: datetime = START) -> float:
    """Put one object and ingest it; CPU-seconds of the ingest."""
    lines = []
    for device in range(40):
        ts = (start + timedelta(seconds=number * 60 + device)).isoformat()
        lines.append(f'{{"ts":"{ts}","device":"d{device}","sensor":"s","value":{number}.5,"unit":"x"}}\n')
    key = f"env/{start:%Y-%m-%d}/p/{number:06}.ndjson"
    store.put(lakehouse.raw_bucket, key, "".join(lines).encode())
    before = os.times()
    report = ingest.ingest_objects(lakehouse, [key])
    after = os.times()
    assert report.rows == 40, report
    return (after.user + after.system) - (before.user + before.system)


def main() -> None:
    """Commit, and compare windows."""
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    clock = os.sysconf("SC_CLK_TCK")
    with servers() as running, fresh_lakehouse(running) as lakehouse, ObjectStore(lakehouse.objects) as store:
        contract.ensure_tables(lakehouse)
        for number in range(WARM_UP):  # imports, those of tidying too
            one(lakehouse, store, number, START - timedelta(days=5))
        maintenance.READERS_GRACE = timedelta(seconds=2)  # so that deleting is part of the cost
        costs, started = [], time.monotonic()
        for number in range(commits):
            costs.append(one(lakehouse, store, number % 1_400))
        wall = time.monotonic() - started
        with open_session(lakehouse) as session:
            snapshots = len(session.state(contract.READINGS).metadata.snapshots)
    windows = [costs[i : i + WINDOW] for i in range(0, commits, WINDOW)]
    means = [sum(w) / len(w) for w in windows]
    rows = [
        [f"{i * WINDOW + 1}-{(i + 1) * WINDOW}", f"{m * 1000:.1f}", f"{common.middle(w) * 1000:.0f}"]
        for i, (m, w) in enumerate(zip(means, windows, strict=True))
        if i % max(1, len(means) // 10) == 0 or i == len(means) - 1
    ]
    common.table(["commits", "mean CPU ms", f"median CPU ms (clock {1000 // clock} ms)"], rows)
    print(f"{commits} commits in {wall:.0f} s; {snapshots} snapshots kept")
    ratio = means[-1] / means[0]
    common.close(
        "commit_cost", means[-1] * 1000, "ms CPU", goal=f"<= {GOAL}x the first", met=ratio <= GOAL, ratio=ratio
    )


if __name__ == "__main__":
    main()

"""Workers killed with SIGKILL at random moments of an ingest, and the proof that nothing came of it.

Belongs here: what the test and `bench/kill9_ingest.py` share. Workers are forked, so that a kill hits the ingest and
not the start of Python; the parent opens no connection and no thread pool before its last fork.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from homelab_platform.errors import HomelabError
from homelab_platform.readings import contract, ingest, ledger
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

START = datetime(2026, 10, 20, tzinfo=UTC)
ROWS = 40  # readings of an object; the second half of them comes again in the next object
WORKERS = 2


@dataclass(frozen=True)
class Outcome:
    """What was found after the last worker finished. `wrong` is empty when all is right."""

    kills: int
    objects: int
    rows: int
    orphans: int
    seconds: float
    wrong: tuple[str, ...]


def _object(number: int) -> bytes:
    lines = []
    for i in range(ROWS):
        second = number * ROWS // 2 + i
        ts = (START + timedelta(seconds=second * 30)).isoformat()
        lines.append(orjson.dumps({"ts": ts, "device": f"d{number % 3}", "sensor": "s", "value": second}))
    if number % 10 == 0:
        lines.insert(3, b"not a reading")
    return b"\n".join(lines)


def expected(objects: int) -> set[tuple[str, int]]:
    """Device and second of every reading."""
    base = int(START.timestamp())
    return {(f"d{n % 3}", base + (n * ROWS // 2 + i) * 30) for n in range(objects) for i in range(ROWS)}


def preload() -> None:
    """Import now what a worker would import first, so that kills hit the ingest itself."""
    for name in (
        "pyarrow.parquet",
        "pyarrow.compute",
        "pyiceberg.manifest",
        "pyiceberg.table",
        "pyiceberg.table.update",
        "pyiceberg.conversions",
        "pyiceberg.serializers",
        "duckdb",
        "psycopg",
        "homelab_platform.readings.commit.batch",
        "homelab_platform.readings.commit.session",
        "homelab_platform.readings.upkeep.compaction",
        "homelab_platform.tools.iceberg.snapshot",
    ):
        importlib.import_module(name)


def put_objects(lakehouse: Lakehouse, objects: int) -> None:
    """Make the tables and put the raw objects."""
    contract.ensure_tables(lakehouse)
    with ObjectStore(lakehouse.objects) as store:
        for number in range(objects):
            store.put(lakehouse.raw_bucket, f"kill/2026-10-20/p/{number:05}.ndjson", _object(number))


def _fork_worker(lakehouse: Lakehouse, batch: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        ingest.BATCH_OBJECTS = batch
        while ingest.ingest_pending(lakehouse).objects:
            pass
        code = 0
    except HomelabError as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        os._exit(code)
    return 0


def _ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def kill_and_check(lakehouse: Lakehouse, *, objects: int, kills: int, batch: int, seed: int) -> Outcome:
    """Two workers ingest `objects` in commits of `batch`; one of them is killed `kills` times; then they may finish."""
    started = time.monotonic()
    dice = random.Random(seed)
    put_objects(lakehouse, objects)
    preload()
    workers: list[int] = []
    done = 0
    try:
        while done < kills:
            workers = [pid for pid in workers if not _ended(pid)]
            while len(workers) < WORKERS:
                workers.append(_fork_worker(lakehouse, batch))
            time.sleep(dice.uniform(0.02, 0.8))
            victim = workers.pop(dice.randrange(len(workers)))
            os.kill(victim, signal.SIGKILL)
            _, status = os.waitpid(victim, 0)
            done += os.WIFSIGNALED(status)
        workers += [_fork_worker(lakehouse, batch) for _ in range(WORKERS - len(workers))]
        for pid in workers:
            os.waitpid(pid, 0)
        workers = []
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return _check(lakehouse, objects, done, started)


def _check(lakehouse: Lakehouse, objects: int, kills: int, started: float) -> Outcome:
    last = ingest.ingest_pending(lakehouse)
    cleaned = maintenance.clean_orphans(lakehouse, grace=timedelta(0))
    maintenance.expire_snapshots(lakehouse, keep=1, grace=timedelta(0))
    wrong = list(_wrong(lakehouse, objects))
    again = maintenance.clean_orphans(lakehouse, grace=timedelta(0))
    if again.files:
        wrong.append(f"{again.files} orphans left after clean-up: {again.paths[:3]}")
    if last.failed:
        wrong.append(f"failed: {last.failed[:3]}")
    return Outcome(kills, objects, len(expected(objects)), cleaned.files, time.monotonic() - started, tuple(wrong))


def _wrong(lakehouse: Lakehouse, objects: int) -> Iterator[str]:
    from contextlib import closing

    from homelab_platform.tools import duckdb

    with closing(duckdb.connect(lakehouse)) as engine:
        found = engine.execute("SELECT device, epoch(ts)::BIGINT FROM sensor_data").fetchall()
        refused = engine.execute("SELECT count(*), count(DISTINCT source) FROM sensor_data_rejected").fetchone()
    wanted = expected(objects)
    if len(found) != len(wanted) or set(found) != wanted:
        yield f"{len(found)} readings ({len(set(found))} distinct), {len(wanted)} were sent"
    bad = (objects + 9) // 10
    if refused != (bad, bad):
        yield f"{refused} refused lines, {bad} were sent"
    entries = ledger.entries(lakehouse)
    if len(entries) != objects or len({e.key for e in entries}) != objects:
        yield f"{len(entries)} ledger rows, {objects} objects"
    if sum(e.rows for e in entries) != len(wanted):
        yield f"the ledger counts {sum(e.rows for e in entries)} readings"
    if sum(e.rows + e.duplicates for e in entries) != objects * ROWS:
        yield "rows and duplicates of the ledger do not add up to what was sent"
    if sum(e.rejected for e in entries) != bad:
        yield "refused lines of the ledger do not add up"

"""Ingest, gzip NDJSON in a bucket to a committed Iceberg table, against dlt on equal rows.

Ours includes what a sensor's reading needs: checking every line against the contract, the check for duplicates, the
ledger in the same transaction. dlt's includes none of it. Figures are CPU-seconds of the whole process, imports
included; the compiled kernel is in its cache, as after any earlier ingest (`--cold` measures the first one).
`python bench/ingest.py [ROWS] [RUNS]`. Goal: at least 10 times dlt's rows per CPU-second at 4 million rows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import common
from ingest_data import write_files
from peers import peers_python

from homelab_platform.paths import cache_home
from homelab_platform.readings import contract
from homelab_platform.servers.scratch.servers import ScratchServers, fresh_lakehouse, scratch_servers
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

HERE = Path(__file__).resolve().parent
GOAL, STRETCH = 10.0, 20.0

OURS = """
import json, os, time
from homelab_platform.readings.ingest import ingest_pending
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
p, o, raw, lake = json.loads(os.environ["BENCH_LAKE"])
report = ingest_pending(Lakehouse(PostgresEndpoint(**p), ObjectsEndpoint(**o), raw, lake))
print(report.rows, report.duplicates, report.rejected)
"""

LIMIT = """
import sys, numpy as np
from homelab_platform.readings.decode.columns import RowBuffer
from homelab_platform.readings.decode.content import Gunzip
from homelab_platform.readings.decode.lines import blocks
from homelab_platform.readings.decode.record import ExtraColumns
from homelab_platform.readings.decode.scanner import Scanner
import resource
extra = ExtraColumns()
scanner = Scanner(RowBuffer(extra.kinds), extra, 2**62)
before = resource.getrusage(resource.RUSAGE_SELF)
rows = 0
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        for block in blocks(Gunzip(file)):
            for step, _ in scanner.scan(block, 0):
                rows += len(step.chunk)
after = resource.getrusage(resource.RUSAGE_SELF)
print(rows, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


def lake_text(lakehouse: Lakehouse) -> str:
    """The lakehouse for a child process."""
    return json.dumps([vars(lakehouse.postgres), vars(lakehouse.objects), lakehouse.raw_bucket, lakehouse.lake_bucket])


@contextmanager
def servers() -> Iterator[ScratchServers]:
    """PostgreSQL and S3 for one benchmark."""
    folder = Path(tempfile.gettempdir()) / f"homelab-bench-{uuid.uuid4().hex[:8]}"
    with scratch_servers(folder) as running:
        yield running


def upload(lakehouse: Lakehouse, files: list[Path]) -> None:
    """Put the files where a producer would."""
    contract.ensure_tables(lakehouse)
    with ObjectStore(lakehouse.objects) as store:
        for path in files:
            store.put(lakehouse.raw_bucket, f"env/2026-10-01/bench/{path.name}", path.read_bytes())


def run_ours(running: ScratchServers, files: list[Path], rows: int) -> common.Usage:
    """One run of ours into a fresh lakehouse."""
    with fresh_lakehouse(running) as lakehouse:
        upload(lakehouse, files)
        usage = common.run_child(
            [sys.executable, "-c", OURS], env={**common.BYTECODE, "BENCH_LAKE": lake_text(lakehouse)}
        )
    assert usage.stdout.split()[:3] == [str(rows), "0", "0"], usage.stdout
    return usage


def run_peer(python: Path, files: list[Path], rows: int) -> common.Usage:
    """One run of dlt into a fresh folder."""
    with tempfile.TemporaryDirectory() as scratch:
        env = {
            **common.BYTECODE,
            "BENCH_SCRATCH": scratch,
            "BENCH_ROWS": str(rows),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        return common.run_child([str(python), str(HERE / "ingest_dlt.py"), *map(str, files)], env=env)


def main() -> None:
    """Interleaved runs, the table, the closing line."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    files = write_files(cache_home() / "bench" / f"readings-{rows}", rows, max(1, rows // 500_000))
    python = peers_python()
    ours, peer = [], []
    with servers() as running:
        run_ours(running, files[:1], rows // len(files))  # fills the kernel's cache
        for _ in range(runs):
            ours.append(run_ours(running, files, rows))
            peer.append(run_peer(python, files, rows))
    limit = common.run_child([sys.executable, "-c", LIMIT, *map(str, files)])
    decode = float(limit.stdout.split()[1])
    cpu, theirs = common.middle([u.cpu for u in ours]), common.middle([u.cpu for u in peer])
    common.table(
        ["", "rows", "CPU-s", "thousand rows per CPU-s", "peak RSS MiB"],
        [
            ["ours", rows, f"{cpu:.2f}", f"{rows / cpu / 1000:.0f}", max(u.peak_rss for u in ours) >> 20],
            ["dlt", rows, f"{theirs:.2f}", f"{rows / theirs / 1000:.0f}", max(u.peak_rss for u in peer) >> 20],
            ["gunzip and parse alone", rows, f"{decode:.2f}", f"{rows / decode / 1000:.0f}", ""],
        ],
    )
    print(f"share of our time that is gunzip and parsing: {decode / cpu:.0%}; stretch goal {STRETCH:.0f}x")
    ratio = theirs / cpu
    common.close(
        "ingest", rows / cpu, "rows/CPU-s", goal=f">= {GOAL:.0f}x dlt", met=ratio >= GOAL, peer="dlt", ratio=ratio
    )


if __name__ == "__main__":
    os.chdir(common.PROJECT)
    main()

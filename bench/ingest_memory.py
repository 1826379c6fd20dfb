"""Peak memory of one ingest of 50 million rows. Goal: at most 1 GiB resident, in one process, in one run.

The rows are the 4 million of `bench/ingest.py`, moved by whole years. `python bench/ingest_memory.py [MILLIONS]`.
"""

from __future__ import annotations

import gzip
import sys

import common
from ingest import OURS, lake_text, servers
from ingest_data import write_files

from homelab_platform.paths import cache_home
from homelab_platform.readings import contract
from homelab_platform.servers.scratch.servers import fresh_lakehouse
from homelab_platform.tools.objects.client import ObjectStore

BASE_ROWS, FILES = 4_000_000, 8
GOAL = 1 << 30
YEAR = b'"ts":"2026-'


def main() -> None:
    """Upload, ingest in one process, report its peak."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    wanted = -(-millions * 1_000_000 // (BASE_ROWS // FILES))
    base = write_files(cache_home() / "bench" / f"readings-{BASE_ROWS}", BASE_ROWS, FILES)
    with servers() as running, fresh_lakehouse(running) as lakehouse:
        contract.ensure_tables(lakehouse)
        with ObjectStore(lakehouse.objects) as store:
            for number in range(wanted):
                year = 2001 + number // FILES
                data = gzip.decompress(base[number % FILES].read_bytes()).replace(YEAR, b'"ts":"%d-' % year)
                store.put(lakehouse.raw_bucket, f"env/{year}-10-01/bench/{number:05}.ndjson.gz", gzip.compress(data, 1))
                del data
        usage = common.run_child(
            [sys.executable, "-c", OURS], env={**common.BYTECODE, "BENCH_LAKE": lake_text(lakehouse)}
        )
    rows = wanted * BASE_ROWS // FILES
    assert usage.stdout.split() == [str(rows), "0", "0"], usage.stdout
    common.table(
        ["rows", "peak RSS MiB", "CPU-s", "wall s", "thousand rows per CPU-s"],
        [[rows, usage.peak_rss >> 20, f"{usage.cpu:.1f}", f"{usage.wall:.1f}", f"{rows / usage.cpu / 1000:.0f}"]],
    )
    met = usage.peak_rss <= GOAL
    common.close("ingest_memory", usage.peak_rss / (1 << 20), "MiB", goal="<= 1024 MiB at 50 M rows", met=met)


if __name__ == "__main__":
    main()

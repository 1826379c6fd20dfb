"""`dagster definitions validate` of a large lab against the same command on an empty project: CPU-seconds above it.

Goal: the definitions of 100 hosts and 40 workloads load in 0.5 CPU-s above Dagster's own floor. Beside it the same
workload on each of the 100 hosts (4,000 in all).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common
from scale_common import write_lab

RUNS = 5
SIZES = ((100, 40), (100, 4000))
EMPTY = """import gc

gc.disable()
import dagster as dg

defs = dg.Definitions()
gc.freeze()
gc.enable()
"""  # the collector as definitions.py has it, so that what is measured is what we load


def main() -> None:
    """Measure each size, interleaved with the empty project."""
    rows: list[tuple[object, ...]] = []
    above: list[float] = []
    validate = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "--log-level", "error"]
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
        empty = Path(scratch) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        home = Path(scratch) / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        for hosts, workloads in SIZES:
            lab = write_lab(Path(scratch) / f"{hosts}-{workloads}", hosts=hosts, workloads=workloads)
            env = {"HOMELAB_LAB": str(lab), "HOMELAB_DATA": str(Path(scratch) / "data"), "DAGSTER_HOME": str(home)}
            env |= {"PYTHONPATH": str(common.PROJECT), "PYTHONWARNINGS": "ignore", **common.BYTECODE}
            common.run_child([*validate, "-m", "homelab_platform.definitions"], env=env)  # warms the caches
            ours, floor = common.interleaved(
                [*validate, "-m", "homelab_platform.definitions"], [*validate, "-f", str(empty)], runs=RUNS, env=env
            )
            if any(run.code for run in (*ours, *floor)):
                raise SystemExit("dagster definitions validate failed")
            cpu, base = (common.least([run.cpu for run in runs]) for runs in (ours, floor))
            peak = max(run.peak_rss for run in ours) / 2**20
            above.append(cpu - base)
            rows.append((hosts, workloads, f"{cpu:.2f}", f"{base:.2f}", f"{cpu - base:.2f}", f"{peak:.0f}"))
    common.table(("hosts", "workloads", "CPU-s", "empty project", "above it", "peak MiB"), rows)
    print(f"{os.cpu_count()} CPUs; minima of {RUNS} runs")
    common.close(
        "definitions_100_hosts_40_workloads",
        above[0],
        "CPU-s above an empty project",
        peer="dagster definitions validate, empty project",
        goal="<= 0.5 CPU-s above",
        met=above[0] <= 0.5,
    )


if __name__ == "__main__":
    main()

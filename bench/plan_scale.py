"""`homelab plan` of a large lab, process start included: CPU-seconds in units of a bare interpreter.

The unit is a Python that imports what any command needs (typer, pydantic, orjson), interleaved with the plans. 100
hosts with 40 workloads may take 4 units, 250 hosts with 100 workloads 5. Beside them, to see how it grows, 40 workloads
on each of 100 hosts (4,000 in all).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common
from scale_common import write_lab

RUNS = 9
GOALS = {(100, 40): 4.0, (250, 100): 5.0, (100, 4000): None}
FLOOR = [sys.executable, "-c", "import orjson, pydantic, typer"]


def main() -> None:
    """Measure each size, interleaved with the floor; the first run of each only warms the caches."""
    rows: list[tuple[object, ...]] = []
    units: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
        env = {"HOMELAB_DATA": str(Path(scratch) / "data"), **common.BYTECODE}
        homelab = Path(sys.executable).with_name("homelab")
        for (hosts, workloads), goal in GOALS.items():
            lab = write_lab(Path(scratch) / f"{hosts}-{workloads}", hosts=hosts, workloads=workloads)
            command = [str(homelab), "plan", str(lab)]
            if common.run_child(command, env=env).code not in (0, 2):
                raise SystemExit(f"`homelab plan` refused the lab of {hosts} hosts")
            ours, floor = common.interleaved(command, FLOOR, runs=RUNS, env=env)
            cpu, base = (common.least([run.cpu for run in runs]) for runs in (ours, floor))
            wall, peak = common.least([run.wall for run in ours]), max(run.peak_rss for run in ours) / 2**20
            units[hosts, workloads] = cpu / base
            figures = (f"{wall:.2f}", f"{cpu:.3f}", f"{base:.3f}", f"{cpu / base:.2f}", goal or "-", f"{peak:.0f}")
            rows.append((hosts, workloads, *figures))
    common.table(("hosts", "workloads", "wall s", "CPU-s", "unit CPU-s", "units", "goal", "peak MiB"), rows)
    print(f"{os.cpu_count()} CPUs; minima of {RUNS} runs")
    for size, goal in GOALS.items():
        if goal is not None:
            name = f"plan_{size[0]}_hosts_{size[1]}_workloads"
            common.close(name, units[size], "bare interpreters", goal=f"<= {goal:g}", met=units[size] <= goal)


if __name__ == "__main__":
    main()

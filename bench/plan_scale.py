"""`homelab plan` of a large lab, process start included: wall and CPU-seconds.

100 hosts and 40 workloads is the lab of the goal (< 1 s wall, < 0.6 CPU-s). Beside it, to see how it grows, 250 hosts
with 100 workloads, and 40 workloads on each of 100 hosts (4,000 in all). The floor is a Python that imports what any
command needs (typer, pydantic, orjson).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common
from scale_common import write_lab

RUNS = 7
SIZES = ((100, 40), (250, 100), (100, 4000))
FLOOR = [sys.executable, "-c", "import orjson, pydantic, typer"]


def main() -> None:
    """Measure each size, interleaved with the floor; the first run of each only warms the caches."""
    rows: list[tuple[object, ...]] = []
    goal: tuple[float, float] = (0.0, 0.0)
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
        env = {"HOMELAB_DATA": str(Path(scratch) / "data")}
        homelab = Path(sys.executable).with_name("homelab")
        for hosts, workloads in SIZES:
            lab = write_lab(Path(scratch) / f"{hosts}-{workloads}", hosts=hosts, workloads=workloads)
            command = [str(homelab), "plan", str(lab)]
            if common.run_child(command, env=env).code not in (0, 2):
                raise SystemExit(f"`homelab plan` refused the lab of {hosts} hosts")
            ours, floor = common.interleaved(command, FLOOR, runs=RUNS, env=env)
            wall, cpu = common.middle([run.wall for run in ours]), common.middle([run.cpu for run in ours])
            base = common.middle([run.cpu for run in floor])
            peak = max(run.peak_rss for run in ours) / 2**20
            rows.append((hosts, workloads, f"{wall:.2f}", f"{cpu:.2f}", f"{base:.2f}", f"{peak:.0f}"))
            if (hosts, workloads) == SIZES[0]:
                goal = (wall, cpu)
    common.table(("hosts", "workloads", "wall s", "CPU-s", "floor CPU-s", "peak MiB"), rows)
    print(f"{os.cpu_count()} CPUs; medians of {RUNS} runs")
    wall, cpu = goal
    common.close(
        "plan_100_hosts_40_workloads", cpu, "CPU-s", goal="< 1 s wall and < 0.6 CPU-s", met=wall < 1 and cpu < 0.6
    )


if __name__ == "__main__":
    main()

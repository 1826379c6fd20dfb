"""`make up` on a fresh clone with a warm package cache: time to the UI and the first reading, memory of the site.

Clones this checkout's HEAD into a temporary folder, runs the command of the README there with a data folder of its
own, and asks the running site. Goal: under 120 s to the first real readings, at most 1.5 GiB resident.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

SETTLE_SECONDS = 45
"""How long the site rests before its memory is read: the start's own peak is over by then."""


def run(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """Run to the end; its output is returned, a failure stops the benchmark with that output."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Measure once; a second start on the same data is reported beside it."""
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
        clone = Path(scratch) / "clone"
        env = {**os.environ, "HOMELAB_DATA": str(Path(scratch) / "data")}
        run(["git", "clone", "--quiet", str(common.PROJECT), str(clone)], Path(scratch), env)
        started = time.monotonic()
        run(["make", "up"], clone, env)
        first = time.monotonic() - started
        homelab = str(clone / ".venv/bin/homelab")
        try:
            answer = run(
                [
                    homelab,
                    "query",
                    "-l",
                    "examples/pi-cluster",
                    "--json",
                    "SELECT count(*) AS n FROM hive.default.sensor_data",
                ],
                clone,
                env,
            )
            time.sleep(SETTLE_SECONDS)
            status = json.loads(run([homelab, "status", "examples/pi-cluster", "--json"], clone, env))
            run(["make", "down"], clone, env)
            started = time.monotonic()
            run(["make", "up"], clone, env)
            second = time.monotonic() - started
        finally:
            run(["make", "down"], clone, env)
    rows = json.loads(answer)[0]["n"]
    memory, resident = (status["site"][key] / 2**30 for key in ("memory", "rss"))
    common.table(
        ("what", "figure"),
        [
            ("make up, fresh clone, warm package cache", f"{first:.1f} s"),
            ("readings queryable then", rows),
            ("make up again", f"{second:.1f} s"),
            ("memory of the whole site", f"{memory:.2f} GiB"),
            ("the same, what processes share counted in each", f"{resident:.2f} GiB"),
        ],
    )
    common.close("site_memory", memory, "GiB", goal="<= 1.0", met=memory <= 1.0)
    common.close("make_up", first, "s", goal="< 120", met=first < 120)


if __name__ == "__main__":
    main()

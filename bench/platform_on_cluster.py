"""The platform in pods of a real cluster: memory of all of them at rest, time from a run's launch to its first step.

Starts a test lab with Kubernetes (root needed), installs PostgreSQL, an S3 server and the platform by our own adapters,
lets it come to rest, and weighs its three pods (resident memory of their processes; pages that processes share count in
each). Then launches runs one after the other as the page's button does, and at last puts readings into the bucket: the
code location takes them in, and holds the libraries for that from then on. Goals: <= 700 MB at rest, < 20 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

from homelab_platform_tests.sites.platform_scene import PARTS, PlatformScene, bring_images, platform_scene
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.cluster import start_cluster

RUNS = 5
SETTLE_SECONDS = 60
"""How long the pods rest before they are weighed: the start's own peak is over by then."""
OBJECTS = 3
"""Arrivals of readings: the second one of a day is compared with what is there, which loads the last library."""
MB = 1_000_000
MOST_MEMORY, LONGEST_START = 700, 20


def main() -> None:
    """Install once, weigh, launch."""
    running = testlab.start()
    try:
        cluster = start_cluster(running)
        bring_images(cluster)
        with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
            _measure(platform_scene(cluster, Path(scratch) / "lab", "platform"))
    finally:
        running.stop()


def _measure(scene: PlatformScene) -> None:
    took = scene.install()
    scene.until_at_rest()
    time.sleep(SETTLE_SECONDS)
    scene.until_at_rest()
    memory = scene.memory()
    waits = []
    for _ in range(RUNS):
        run = scene.launch("observe")
        status = scene.until_over(run)
        if status != "SUCCESS":
            raise SystemExit(f"run {run} ended as {status}")
        waits.append(scene.to_first_step(run))
    after = scene.memory()
    scene.put_readings(OBJECTS)
    time.sleep(SETTLE_SECONDS)
    scene.until_at_rest()
    columns = (
        {part: rss for part, (rss, _) in memory.items()},
        {part: pss for part, (_, pss) in memory.items()},
        {part: rss for part, (rss, _) in after.items()},
        {part: rss for part, (rss, _) in scene.memory().items()},
    )
    rows = [(part, *(f"{column[part] / MB:.0f}" for column in columns)) for part in PARTS]
    rows.append(("together", *(f"{sum(column.values()) / MB:.0f}" for column in columns)))
    common.table(("pod", "MB resident at rest", "shared split", f"after {RUNS} runs", "after readings came in"), rows)
    together = sum(columns[0].values()) / MB
    print()
    common.table(("installed", "seconds"), [(key, f"{seconds:.1f}") for key, seconds in took.items()])
    print(f"launch to first step, s: {', '.join(f'{seconds:.1f}' for seconds in waits)}")
    longest = max(waits)
    common.close("platform_memory", together, "MB", goal=f"<= {MOST_MEMORY}", met=together <= MOST_MEMORY)
    common.close("launch_to_first_step", longest, "s", goal=f"< {LONGEST_START}", met=longest < LONGEST_START)


if __name__ == "__main__":
    main()

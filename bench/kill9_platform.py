"""kill -9 of NiFi, Trino, S3, PostgreSQL and the daemon, each many times at random moments of its own, under load.

Readings come by HTTP through NiFi, by MQTT and as dropped files; a sender repeats what was not acknowledged. Goal: when
the dust settles, every acknowledged reading is in the table exactly once. On a real full site, the daemon included.
`python bench/kill9_platform.py [KILLS_EACH] [SEED] [seaweedfs|minio] [KILLS_OF_NIFI_AND_TRINO]`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import common

sys.path.insert(0, str(common.PROJECT))

from homelab_platform_tests.servers.chaos import TARGETS, full_site, kill_and_judge


def main() -> None:
    """Start, send, kill, compare."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    objects = sys.argv[3] if len(sys.argv) > 3 else "seaweedfs"
    slow = int(sys.argv[4]) if len(sys.argv) > 4 else times
    planned = {target: slow if target in ("nifi", "trino") else times for target in TARGETS}
    home = Path(tempfile.mkdtemp(prefix="homelab-chaos-"))
    os.environ["HOMELAB_DATA"] = str(home)
    with full_site(home, "chaos", objects=objects, say=common.say) as site:
        began = time.monotonic()
        kills, verdicts = kill_and_judge(site, planned, seed, common.say)
        seconds = time.monotonic() - began
    rows = []
    for target in TARGETS:
        took = [kill.recovery for kill in kills if kill.server == target]
        rows.append([target, len(took), f"{median(took):.1f}", f"{max(took):.1f}"])
    common.table(["killed", "kills", "recovery s, median", "max"], rows)
    common.table(
        ["sender", "acknowledged", "lost", "doubled", "not acknowledged, there"],
        [[v.device, v.acknowledged, v.lost, v.doubled, v.extra] for v in verdicts],
    )
    wrong = sum(v.lost + v.doubled for v in verdicts)
    said = sum(v.acknowledged for v in verdicts)
    print(f"{len(kills)} kills in {seconds:.0f} s, {said:,} readings acknowledged, S3 by {objects}")
    common.close("kill9_platform", wrong, "wrong", goal=f"0 wrong after {len(kills)} kills", met=wrong == 0)
    if wrong == 0:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()

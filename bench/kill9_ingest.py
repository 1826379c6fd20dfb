"""100 kill -9 at random moments of an ingest of 1,000 objects by two workers on S3.

Goal: every reading once, every refused line once, ledger and tables agree, and no file left that clean-up does not
remove. `python bench/kill9_ingest.py [KILLS] [OBJECTS] [SEED]`.
"""

from __future__ import annotations

import sys

import common

sys.path.insert(0, str(common.PROJECT))

from ingest import servers

from homelab_platform.servers.scratch.servers import fresh_lakehouse
from homelab_platform_tests.readings.killing import kill_and_check


def main() -> None:
    """Kill, finish, compare."""
    given = [int(argument) for argument in sys.argv[1:4]]
    kills, objects, seed = given + [100, 1_000, 1][len(given) :]
    with servers() as running, fresh_lakehouse(running) as lakehouse:
        outcome = kill_and_check(lakehouse, objects=objects, kills=kills, batch=5, seed=seed)
    common.table(
        ["kills", "objects", "readings", "orphans removed", "seconds", "wrong"],
        [[outcome.kills, outcome.objects, outcome.rows, outcome.orphans, f"{outcome.seconds:.0f}", outcome.wrong or 0]],
    )
    common.close("kill9_ingest", len(outcome.wrong), "wrong", goal="0 wrong after 100 kills", met=not outcome.wrong)


if __name__ == "__main__":
    main()

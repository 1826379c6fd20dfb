"""From an empty test lab to the first row of a mart, stage by stage, and an apply that finds nothing to do.

Three Debian hosts and a Kubernetes that nothing was done to (as root; a lab of its own, removed afterwards), then the
commands that a person would type. Goals: the first mart row within 5 minutes of `homelab up` on a warm cache; an apply
with nothing to do under 10 s and without a change.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import common

sys.path.insert(0, str(common.PROJECT))

from homelab_platform_tests.testlab import demo, lab

GOAL, NOTHING = 300.0, 10.0
TIMES = 3


def main() -> None:
    """Make it real, then again and again."""
    with tempfile.TemporaryDirectory(prefix="homelab-loop-") as home:
        running = lab.start(progress=common.say)
        try:
            loop, _ = demo.begin(running, Path(home), common.say)
            try:
                demo.close_the_loop(loop)
                before = loop.applied()
                idle = []
                for _ in range(TIMES):
                    began = time.monotonic()
                    loop.apply()
                    idle.append(time.monotonic() - began)
                changed = sum(at != before.get(key) for key, at in loop.applied().items())
            finally:
                loop.down()
        finally:
            running.stop()
    whole = sum(seconds for name, seconds in loop.seconds.items() if name != "Kubernetes and images")
    common.table(("stage", "s"), [(name, f"{seconds:.1f}") for name, seconds in loop.seconds.items()])
    print(f"nothing to do: {', '.join(f'{seconds:.1f} s' for seconds in idle)}; {changed} assets applied again")
    common.close("lab_to_mart", round(whole, 1), "s", goal=f"< {GOAL:.0f} s", met=whole < GOAL)
    slowest = max(idle)
    met = slowest < NOTHING and not changed
    common.close("noop_apply", round(slowest, 1), "s", goal=f"< {NOTHING:.0f} s, 0 changes", met=met)


if __name__ == "__main__":
    main()

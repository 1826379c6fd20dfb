"""From an object in the bucket to a row that a query finds, on the embedded site with its daemon: p95 of 20 objects.

Starts a site of its own on examples/pi-cluster, waits until everything is applied, then puts small objects at random
moments and asks until their rows are there. The collector, the marts and the checks run meanwhile, as they always do.
Goal: p95 < 10 s.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import Site

OBJECTS = 20
LONGEST = 120.0
LAB = common.PROJECT / "examples" / "pi-cluster" / "lab.yaml"


def main() -> None:
    """Measure on a site of its own, and stop it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
        os.environ["HOMELAB_DATA"] = str(Path(scratch) / "data")
        from homelab_platform.servers.site.site import down, open_site, up

        print("starting a site", flush=True)
        status = up(LAB, lab_name="pi-cluster")
        try:
            site = open_site("pi-cluster")
            wait_until_applied(site)
            seconds = [one_object(site, number) for number in range(OBJECTS)]
        finally:
            down(status.root)
    report(sorted(seconds))


def wait_until_applied(site: Site) -> None:
    """Return once the reconcile sensor has applied everything within reach."""
    from homelab_platform.apply.state_store import StateStore
    from homelab_platform.graph.labfile import read_lab
    from homelab_platform.plan.gather import desired_states
    from homelab_platform.plan.reconcile import differs
    from homelab_platform.plan.sites import CAPABILITIES, SiteKind

    store = StateStore(site.lakehouse.postgres)
    desired = [s for key, s in desired_states(read_lab(LAB)).items() if CAPABILITIES[SiteKind.SMALL].can(key, s.kinds)]
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        states = store.load()
        if not any(differs(state, states.get(state.key)) for state in desired):
            print(f"{len(desired)} assets applied", flush=True)
            return
        time.sleep(2)
    raise SystemExit("the site did not apply its assets within five minutes")


def one_object(site: Site, number: int) -> float:
    """Put one object and return the seconds until a query finds its rows."""
    from homelab_platform.readings import ledger
    from homelab_platform.readings.query.run import run_query
    from homelab_platform.tools.objects.client import ObjectStore
    from homelab_platform.wire.reading import Reading, object_key, pack

    lakehouse = site.lakehouse
    time.sleep(random.uniform(5, 12))
    now, device = datetime.now(UTC), f"bench-{number}"
    lines = b"".join(Reading(now.replace(microsecond=n), device, "temperature", 20.0 + n).line() for n in range(10))
    key = object_key("environment", now.date(), "bench", f"{number}-{random.getrandbits(64):016x}")
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, key, pack(lines))
    began = time.monotonic()
    with ledger.connect(lakehouse) as connection:
        question = "SELECT 1 FROM ingest_ledger WHERE key = %s"
        while connection.execute(question, (key,)).fetchone() is None:
            if time.monotonic() - began > LONGEST:
                raise SystemExit(f"object {number} was not ingested within {LONGEST:.0f} s")
            time.sleep(0.05)
    sql = f"SELECT count(*) FROM hive.default.sensor_data WHERE device = '{device}'"
    with run_query(lakehouse, sql) as result:
        assert next(iter(result.rows))[0] == 10
    took = time.monotonic() - began
    print(f"{number + 1:>3}  {took:.1f} s", flush=True)
    return took


def report(seconds: list[float]) -> None:
    """Print the distribution and the closing line."""
    p95 = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)) - 1)]
    rows = [(len(seconds), f"{seconds[0]:.1f}", f"{common.middle(seconds):.1f}", f"{p95:.1f}", f"{seconds[-1]:.1f}")]
    common.table(("objects", "fastest s", "median s", "p95 s", "slowest s"), rows)
    common.close("object_to_row_p95", p95, "s", goal="< 10 s", met=p95 < 10)


if __name__ == "__main__":
    main()

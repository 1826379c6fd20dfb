"""The whole loop on the test lab, from three empty hosts to a mart of their own telemetry: `make demo-lab`.

Belongs here: the stages, in the words that a person would type; the end-to-end test and bench/lab_to_mart.py go the
same way. Not here: how a stage works. Every command is the real `homelab` in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform_tests.testlab.cluster import TestCluster, start_cluster
from homelab_platform_tests.testlab.lab import TestLab

Say = Callable[[str], None]
FIRST_MART = "readings_hourly"
HOME = Path(tempfile.gettempdir()) / "homelab-demo-lab"
"""Where the demo's lab file and site lie."""
SERIES = "SELECT device, count(*) AS readings FROM hive.default.sensor_data GROUP BY device ORDER BY device"


@dataclass
class Loop:
    """The platform beside a running test lab: `lab_file` describes the lab, `data` holds the site.

    `seconds` collects the wall time of each stage.
    """

    lab: TestLab
    lab_file: Path
    data: Path
    say: Say = print
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a part."""
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self.say(f"{name}: {self.seconds[name]:.1f} s")

    def homelab(self, *words: str, codes: tuple[int, ...] = (0,), timeout: float = 900, errors: bool = False) -> str:
        """Run `homelab` and return what it printed, or with `errors` what it complained of.

        Raises HomelabError with both for another exit code.
        """
        done = subprocess.run(
            [str(Path(sys.executable).with_name("homelab")), *words],
            env={**os.environ, "HOMELAB_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode not in codes:
            raise HomelabError.of(
                f"homelab {' '.join(words)}", f"ended with {done.returncode}", f"{done.stdout}\n{done.stderr}"
            )
        return done.stderr if errors else done.stdout

    def asked(self, *words: str, codes: tuple[int, ...] = (0,), timeout: float = 900) -> Any:
        """The same with `--json`, understood."""
        return json.loads(self.homelab(*words, "--json", codes=codes, timeout=timeout))

    def up(self) -> None:
        """Start the site that steers the lab; nothing is applied yet."""
        reach = ("--profile", "lab", "--ssh-key", str(self.lab.place.key), "--ssh-user", "root")
        self.homelab("up", str(self.lab_file), *reach, "--no-apply")

    def apply(self, *words: str, codes: tuple[int, ...] = (0,)) -> dict[str, dict[str, Any]]:
        """Apply the lab; the results by asset."""
        report = self.asked("apply", str(self.lab_file), *words, codes=codes)
        return {result["key"]: result for result in report["results"]}

    def pending(self) -> list[str]:
        """What a plan would change, after looking at everything."""
        made = self.asked("plan", str(self.lab_file), codes=(0, 2))
        return [step["key"] for step in made["steps"] if step["action"] != "none"]

    def applied(self) -> dict[str, datetime]:
        """When each asset was last applied."""
        from homelab_platform.apply.state_store import StateStore
        from homelab_platform.servers.site.site import open_site

        states = StateStore(open_site(self.data / "test-lab").lakehouse.postgres).load()
        return {key: state.applied_at for key, state in states.items() if state.applied_at is not None}

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query over the lake."""
        rows: list[dict[str, Any]] = self.asked("query", sql, "--lab", str(self.lab_file))
        return rows

    def wait_for(self, what: str, found: Callable[[], Any], patience: float = 120) -> Any:
        """Ask until there is an answer, and return it. Raises HomelabError that names `what` after that."""
        deadline = time.monotonic() + patience
        while not (answer := found()):
            if time.monotonic() > deadline:
                raise HomelabError.of("test lab", f"{what}: not within {patience:.0f} s")
            time.sleep(1)
        return answer

    def down(self) -> None:
        """Stop the site."""
        self.homelab("down", str(self.lab_file))


def begin(lab: TestLab, home: Path, say: Say) -> tuple[Loop, TestCluster]:
    """The lab's Kubernetes with the images of its workloads, and the lab file, in the folder `home`."""
    from homelab_platform_tests.testlab.lab_images import bring_images

    loop = Loop(lab, lab.write_lab(home / "lab"), home / "data", say)
    with loop.stage("Kubernetes and images"):
        cluster = start_cluster(lab, say)
        bring_images(cluster, say)
    return loop, cluster


def close_the_loop(loop: Loop) -> None:
    """From hosts and a cluster without anything to the first row of a mart."""
    with loop.stage("site"):
        loop.up()
    with loop.stage("apply"):
        loop.apply("--yes")
    hosts = [host.name for host in loop.lab.hosts]
    with loop.stage("first readings of every host"):
        loop.wait_for("readings of every host", lambda: {row["device"] for row in loop.query(SERIES)} >= set(hosts))
    with loop.stage("first mart row"):
        loop.homelab("backfill", FIRST_MART, "--lab", str(loop.lab_file))
        loop.wait_for("a row of the mart", lambda: loop.query(f"SELECT device FROM hive.marts.{FIRST_MART} LIMIT 1"))


def farewell(loop: Loop) -> str:
    """What to look at now, and how to end it."""
    site = json.loads((loop.data / "test-lab" / "site.json").read_text())
    rows = loop.query(
        "SELECT device, sensor, round(avg(value), 1) AS mean, count(*) AS readings FROM hive.default.sensor_data "
        "WHERE sensor IN ('cpu', 'memory', 'disk') GROUP BY device, sensor ORDER BY device, sensor"
    )
    shown = "\n".join(
        f"  {r['device']:<6} {r['sensor']:<8} {r['mean']:>7} %  {r['readings']:>5} readings" for r in rows
    )
    spent = "\n".join(f"  {name:<32} {seconds:6.1f} s" for name, seconds in loop.seconds.items())
    return (
        f"\nThe lab is real. It took\n{spent}\n\nWhat its hosts say of themselves:\n{shown}\n\n"
        f"  UI, with the way from hosts to marts:  http://127.0.0.1:{site['ports']['ui']}/asset-groups\n"
        f"  export HOMELAB_DATA={loop.data}\n"
        f"  homelab status {loop.lab_file.parent}      homelab plan {loop.lab_file.parent}\n"
        f"Edit {loop.lab_file} and watch. `make test-lab-down` removes all of it."
    )


def leave() -> bool:
    """Stop the demo's site and remove its folder; whether there was one."""
    if not HOME.exists():
        return False
    subprocess.run(
        [str(Path(sys.executable).with_name("homelab")), "down", str(HOME / "lab" / "lab.yaml")],
        env={**os.environ, "HOMELAB_DATA": str(HOME / "data")},
        capture_output=True,
        check=False,
    )
    shutil.rmtree(HOME)
    return True

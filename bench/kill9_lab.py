"""kill -9 of the controller at random points of making a lab real, and of applying a change to every layer of it.

On a test lab of its own (as root). A quarter of the rounds kill `homelab apply` while it makes hosts, cluster and
workloads from nothing, one kill after the other; each later round edits a firewall rule of every host, a workload and a
mart, starts `homelab apply` and kills its whole process group after a random time. Then every host must let us in, and
what is left of the work must converge: by the site's own daemon or by the next `homelab apply`, whoever is first. Wrong
is: a host that cannot be reached, a release that hangs half way, an asset that counts as applied and is not, a plan
that does not come to nothing. `python bench/kill9_lab.py [ROUNDS] [SEED]`; goal: 0 wrong in 40 rounds.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

sys.path.insert(0, str(common.PROJECT))

from homelab_platform.errors import HomelabError
from homelab_platform_tests.testlab import demo, lab
from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.demo import Loop

ROUNDS = 40
LONGEST = 75.0
"""Seconds: about what applying the change takes when nobody disturbs it."""
CONVERGES = 420.0
FROM_NOTHING = 40.0
"""Seconds at most between two kills while the lab is made from nothing, which takes about three minutes undisturbed."""


def edit(loop: Loop, number: int) -> None:
    """Another port in every host's firewall, another memory of nginx, another text of a mart."""
    text = loop.lab_file.read_text()
    text = re.sub(r"allow: \[22, (\d{5}, )?6443", f"allow: [22, {20000 + number}, 6443", text)
    text = re.sub(r"(nginx: \{.*)memory: \d+Mi", rf"\1memory: {40 + number}Mi", text)
    loop.lab_file.write_text(text)
    marts = loop.lab_file.parent / "marts"
    marts.mkdir(exist_ok=True)
    (marts / "busiest.sql").write_text(
        f"SELECT date, device, max(max) + {number} AS busiest FROM marts.readings_hourly GROUP BY date, device\n"
    )
    (marts / "busiest.yaml").write_text(
        "about: The busiest moment.\ncolumns:\n  date: {type: date, about: day}\n"
        "  device: {type: text, about: machine}\n"
        "  busiest: {type: number, unit: '%', about: busiest moment}\nsort: [device]\n"
    )


def kill_once(loop: Loop, after: float) -> bool:
    """Apply and kill it after so many seconds; whether it was still at work."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("homelab")), "apply", str(loop.lab_file), "--yes"],
        env={**os.environ, "HOMELAB_DATA": str(loop.data)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def locked_out(loop: Loop) -> list[str]:
    """The hosts that do not let us in."""
    return [f"{host.name} does not let us in" for host in loop.lab.hosts if host.ssh("true", check=False).returncode]


def from_nothing(loop: Loop, kills: int, chance: random.Random) -> tuple[int, list[str]]:
    """Make the lab, killed again and again; how many kills hit the work, and what was wrong."""
    loop.up()
    hits, wrong = 0, []
    for number in range(kills):
        after = chance.uniform(0.3, FROM_NOTHING)
        hit = kill_once(loop, after)
        found = locked_out(loop)
        wrong += found
        hits += hit
        common.say(
            f"from nothing, {number + 1}: {'killed' if hit else 'was done'} after {after:.1f} s; {found or 'ok'}"
        )
    return hits, wrong


def wrong_after(loop: Loop, cluster: TestCluster, number: int) -> list[str]:
    """What is wrong once it had the time to converge."""
    found = locked_out(loop)
    deadline = time.monotonic() + CONVERGES
    pending = ["?"]
    while pending and time.monotonic() < deadline:
        try:
            loop.apply("--yes", codes=(0, 1))
            pending = loop.pending()
        except HomelabError as error:
            pending = [str(error)]
        time.sleep(2 if pending else 0)
    found += [f"does not converge: {key}" for key in pending]
    for host in loop.lab.hosts:
        if str(20000 + number) not in host.ssh("nft list ruleset").stdout:
            found.append(f"{host.name} counts as applied, its firewall is not")
    releases = cluster.helm("list", "--all-namespaces", "--pending", "--short").stdout.split()
    found += [f"release {name} hangs" for name in releases]
    if f'"{40 + number}Mi"' not in cluster.kubectl("get", "deployments", "-A", "-l", NGINX, "-o", "json").stdout:
        found.append("nginx counts as applied, its pods are not")
    return found


NGINX = "app.kubernetes.io/instance=nginx"


def main() -> None:
    """Make it real, then edit, kill, look."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    with tempfile.TemporaryDirectory(prefix="homelab-loop-") as home:
        running = lab.start(progress=common.say)
        try:
            loop, cluster = demo.begin(running, Path(home), common.say)
            try:
                killed, wrong = from_nothing(loop, rounds // 4, chance)
                demo.close_the_loop(loop)
                for number in range(rounds // 4, rounds):
                    edit(loop, number)
                    after = chance.uniform(0.3, LONGEST)
                    hit = kill_once(loop, after)
                    killed += hit
                    found = wrong_after(loop, cluster, number)
                    wrong += found
                    common.say(
                        f"{number + 1}: {'killed' if hit else 'was done'} after {after:.1f} s; {found or 'converged'}"
                    )
            finally:
                loop.down()
        finally:
            running.stop()
    for one in wrong:
        print(one)
    print(f"{rounds} rounds, {killed} kills in the middle of the work")
    common.close("kill9_lab", len(wrong), "wrong", goal=f"0 wrong in {rounds} rounds", met=not wrong)


if __name__ == "__main__":
    main()

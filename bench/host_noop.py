"""One host that is as it should be: our look at it against ansible-playbook's own run of the same roles, CPU-seconds.

A real Debian host (the test lab; needs root) is brought to its state once. Then both are asked whether there is
anything to do, in turn: a fresh process that loads the resolved lab and probes the host, and ansible-playbook with the
roles in ansible/, which must both change nothing. Counted are this side's processes, and beside them the host's own
(its cgroup). Goal: ≤ 0.15 of Ansible's CPU-seconds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform_tests.layers.hosts.support import access_to, lab_file, state_of
from homelab_platform_tests.testlab import cgroups
from homelab_platform_tests.testlab import lab as testlab
from homelab_platform_tests.testlab.hosts import HostSpec
from homelab_platform_tests.testlab.lab import TestLab

RUNS = 3
GOAL = 0.15
LOOK = """
import sys
from pathlib import Path
import orjson
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.plan.gather import desired_states
from homelab_platform.tools.ssh.target import SshAccess
folder, known, key, user = map(Path, sys.argv[1:])
lab = ResolvedLab.model_validate(orjson.loads((folder / "lab.json").read_bytes()))
access = HostAccess(SshAccess(known, key, sockets=folder / "s"), folder / "state", user=str(user))
desired = desired_states(lab)["host/b-1"]
sys.exit(0 if HostAdapter(lab, access).probe(desired).matches(desired) else 1)
"""


def main() -> None:
    """Bring a host to its state, then compare what it costs to find nothing to do."""
    running = testlab.start(specs=(HostSpec("b-1"),))
    try:
        with tempfile.TemporaryDirectory(prefix="homelab-bench-") as scratch:
            _compare(running, Path(scratch))
    finally:
        running.stop()


def _compare(running: TestLab, folder: Path) -> None:
    host = running.host("b-1")
    lab = lab_file(running, folder)
    (folder / "lab.json").write_bytes(lab.to_json())
    access = access_to(running, folder, user=host.user, within=120)
    adapter, desired = HostAdapter(lab, access), state_of(lab, "b-1")
    adapter.change(desired, adapter.probe(desired), lambda text: print(f"  {text}", file=sys.stderr))
    look = [sys.executable, "-c", LOOK, *map(str, (folder, host.known_hosts, host.key, host.user))]
    play = _playbook(adapter, access, folder)
    env = {"PYTHONPATH": str(common.PROJECT), "ANSIBLE_CONFIG": str(common.PROJECT / "ansible" / "ansible.cfg")}
    ours, theirs, hosts_own = [], [], {"ours": [], "theirs": []}  # type: ignore[var-annotated]
    for _ in range(RUNS):
        for name, command, runs in (("ours", look, ours), ("theirs", play, theirs)):
            before = _host_cpu(running)
            run = common.run_child(command, env=env)
            hosts_own[name].append(_host_cpu(running) - before)
            if run.code or (name == "theirs" and "changed=0 " not in run.stdout):
                raise SystemExit(f"{name}: found something to do: {run.stdout[-500:]}")
            runs.append(run)
    _report(ours, theirs, hosts_own)


def _playbook(adapter: HostAdapter, access: HostAccess, folder: Path) -> list[str]:
    target = access.target(adapter.lab, adapter.lab.hosts["b-1"])
    options = " ".join(Ssh(target, access.ssh).options())
    variables = {
        "ansible_host": target.address,
        "ansible_user": target.user,
        "ansible_ssh_common_args": options,
        "lab_file": str(folder / "lab.json"),
    }
    words = [part for name, value in variables.items() for part in ("-e", f"{name}='{value}'")]
    playbook = str(common.PROJECT / "ansible" / "host.yml")
    return [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", "b-1,", *words]


def _host_cpu(running: TestLab) -> float:
    """CPU-seconds that the host itself has used so far."""
    for controller in ("cpuacct", "cpu,cpuacct"):
        file = Path("/sys/fs/cgroup") / controller / cgroups.top(running.id) / "b-1" / "cpuacct.usage"
        if file.exists():
            return int(file.read_text()) / 1e9
    return float("nan")


def _report(ours: list[common.Usage], theirs: list[common.Usage], hosts_own: dict[str, list[float]]) -> None:
    rows = []
    for name, runs in (("ours", ours), ("theirs", theirs)):
        cpu, wall = (common.middle([getattr(run, what) for run in runs]) for what in ("cpu", "wall"))
        rows.append((name, f"{cpu:.2f}", f"{wall:.1f}", f"{common.middle(hosts_own[name]):.2f}"))
    common.table(("no-op of one host", "CPU-s", "wall s", "CPU-s of the host"), rows)
    mine, peer = (common.middle([run.cpu for run in runs]) for runs in (ours, theirs))
    print(f"{os.cpu_count()} CPUs; medians of {RUNS} runs in turn")
    close = {"peer": "ansible-playbook, the same roles", "ratio": mine / peer}
    common.close("host_noop", mine, "CPU-s", goal=f"≤ {GOAL} of Ansible's", met=mine <= GOAL * peer, **close)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

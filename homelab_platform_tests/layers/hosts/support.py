"""Hosts for tests of deploys: a lab file for running test hosts, and a change made of one shell command.

Belongs here: what several tests of hosts share. The roles take half a minute a run; what the guard does with a change
does not depend on who made it, so most of its tests make theirs by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess, Task
from homelab_platform.layers.hosts.adapter import HostAdapter
from homelab_platform.layers.hosts.debian import DebianWay
from homelab_platform.paths import project_path
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.tools.ssh.client import Ssh
from homelab_platform.tools.ssh.target import SshAccess
from homelab_platform_tests.testlab.host import TestHost
from homelab_platform_tests.testlab.lab import TestLab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy6LfDGmpoSGgW81aCCf0NuxjQPYWVqA7IXjOW2BFl3 ada@lab.example.org"


def lab_file(running: TestLab, folder: Path, **changes: Any) -> ResolvedLab:
    """The resolved lab of the running hosts; `changes` replace whole sections of the lab file."""
    gateway = running.place.addresses.gateway
    lan = f"{gateway.rsplit('.', 1)[0]}.0/24"
    said: dict[str, Any] = {
        "version": 1,
        "lab": "deploys",
        "domain": "deploys.test",
        "timezone": "Europe/London",
        "network": {"lan": lan, "gateway": gateway},
        "hosts": {
            host.name: {"board": "pi5-8gb", "os": "raspios", "address": host.address, "k3s": part}
            for host, part in zip(running.hosts, ("server", "agent", "agent"), strict=False)
        },
        "cluster": {"k3s": "v1.33.13+k3s1", "managed": False},
        "people": {"ada": {"role": "admin", "ssh": KEY}, "ben": {"role": "dev", "ssh": KEY, "groups": "video"}},
        "workloads": {"mosquitto": {"expose": "lan"}},
        "streams": {"machines": {"from": {"machine": {"every": "5s"}}, "sensors": {"cpu": {"unit": "%"}}}},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab.yaml").write_text(yaml.safe_dump(said))
    return load_resolved(folder / "lab.yaml", load_catalogue())


def access_to(running: TestLab, folder: Path, *, user: str = "root", within: int = 20, **ssh: Any) -> HostAccess:
    """How this process reaches the running hosts."""
    settings = {"known_hosts": running.place.known_hosts, "key": running.place.key, **ssh}
    return HostAccess(SshAccess(**settings, sockets=folder / "s"), folder / "state", user=user, confirm_within=within)


def state_of(lab: ResolvedLab, host: str) -> DesiredState:
    """The desired state of one host."""
    return desired_states(lab)[f"host/{host}"]


@dataclass
class ShellWay(DebianWay):
    """Changes a host by a shell script instead of the roles, and looks at it as ever."""

    script: str = ":"
    managed: Mapping[str, Any] = field(default_factory=dict)
    claimed: str = "path *\nunit *\naccount *\n"

    def change(self, ssh: Ssh, task: Task) -> str:
        """Run the script under the deploy's token, as the roles' tasks are."""
        done = ssh.run(f"export HOMELAB_DEPLOY={task.token}; {self.script}", may_fail=(1,), timeout=120)
        return f"the script said no: {done.text}{done.errors}" if done.code else ""

    def claims(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """A script may write anything, unless the test says what."""
        return self.claimed

    def logins(self, ssh: Ssh, lab: ResolvedLab, host: ResolvedHost) -> list[str]:
        """A script makes no accounts."""
        return []


def answer_of(host: TestHost) -> dict[str, Any]:
    """What the host's own look says, as it comes, but for what is not the host's own: kernel, and the lab's range."""
    script = project_path("homelab_platform", "tools", "host", "probe.py").read_text()
    said = host.ssh("python3 -I -S - health", text=script).stdout.rpartition("homelab-look:")[2]
    here, recorded = ".".join(host.address.split(".")[:2]), "10.80"
    found: dict[str, Any] = json.loads(re.sub(rf"\b{re.escape(here)}\.", f"{recorded}.", said))
    return found | {"kernel": "of the machine that carries the lab"}


def by_script(lab: ResolvedLab, access: HostAccess, script: str, claimed: str = ShellWay.claimed) -> HostAdapter:
    """An adapter whose changes are `script`, which may write what is `claimed`."""
    adapter = HostAdapter(lab, access)
    adapter._debian = ShellWay(script, claimed=claimed)
    return adapter


def files_of(host: TestHost) -> str:
    """Every file of /etc with its content and owner, the packages, the firewall and the units, as text to compare."""
    return host.ssh(
        "cd /etc && find . -type f ! -name ld.so.cache ! -name 'homelab-rollback.*' -exec sha256sum {} + | sort -k2;"
        " find . ! -type d ! -name 'homelab-rollback.*' -printf '%p %m %U:%G %l\\n' | sort;"
        " dpkg-query --show | sort; nft --stateless list ruleset; hostname;"
        " systemctl list-units --type=service --state=active --no-legend --plain | cut -d' ' -f1 |"
        " grep -vE 'homelab-rollback|user|session' | sort"
    ).stdout

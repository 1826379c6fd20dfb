"""Hosts with Debian or Raspberry Pi OS: looked at by a script, changed by the roles in ansible/.

Belongs here: probe and change of this way. What both ways share is adapter.py.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import Task
from homelab_platform.layers.hosts.deploy import guard_source
from homelab_platform.layers.hosts.state import HostLook, State
from homelab_platform.tools.ansible import run_playbook
from homelab_platform.tools.ssh.client import Ssh

KIND = "files"
BROKER_VARIABLE = "HOMELAB_MQTT_PASSWORD"
"""In the environment of a play: what the host's collector says at the broker (ansible/roles/collector)."""
SECRET_VARIABLE = "HOMELAB_SECRET_{}"  # noqa: S105 (a name)
"""Likewise, each secret that is laid down as a file (ansible/roles/secrets)."""
_PROBE = Path(__file__).resolve().parents[2] / "tools" / "host" / "probe.py"


def host_view(lab: ResolvedLab, host: ResolvedHost) -> dict[str, Any]:
    """The part of lab.json that the roles read for `host`: what its asset's document holds, and nothing else."""
    return {
        "name": lab.name,
        "timezone": lab.timezone,
        "hosts": {host.name: host.model_dump(mode="json", exclude={"labels", "taints", "needs"})},
        "people": {name: lab.people[name].model_dump(mode="json") for name in host.users if name in lab.people},
    }


@cache
def roles_digest(folder: Path) -> str:
    """Digest of everything that changes a host: the roles and the guard."""
    whole = hashlib.sha256(guard_source())
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            whole.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:16]


class DebianWay:
    """Probe and change of a host by way of Python there and Ansible here."""

    kind = KIND

    def setup(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """What would be used to change the host, as a digest."""
        return roles_digest(paths.project_path("ansible"))

    def look(self, ssh: Ssh, *, fresh: bool = False, health: bool = False) -> HostLook:
        """One round trip. Raises the errors of tools/ssh/errors.py, or HomelabError if the host lacks Python."""
        script = f"python3 -I -S - {'health' if health else ''}"
        done = ssh.run(script, data=_PROBE.read_bytes(), fresh=fresh, doing="looking at the host")
        try:
            found = orjson.loads(done.output)
        except orjson.JSONDecodeError:
            said = done.text.strip()[:200] or "nothing"
            raise HomelabError.of(ssh.target.where, f"looking at it brought no answer but: {said}") from None
        facts = {
            "system": found["os"],
            "kernel": found["kernel"],
            "up": f"{found['uptime'] / 86400:.1f} days",
            "free": f"{found['free'] / 2**30:.1f} GiB",
            "failed units": ", ".join(found["failed"]) or "none",
            "restart needed": "yes" if found["restart"] else "no",
        }
        applied = found["applied"] or {}
        if applied.get("at"):
            facts["applied"] = f"{applied['at']} by {applied.get('by', '?')}"
        if found["deploy"].get("who"):
            facts["deploy under way"] = "{who} at {where} since {since}".format(**found["deploy"])
        return HostLook(
            applied=found["applied"],
            state=found["state"],
            failed=tuple(found["failed"]),
            guard=found["guard"],
            deploy=found["deploy"],
            answers=found.get("answers", {}),
            facts=facts,
        )

    def kept(self, state: State) -> State:
        """Confirming changes nothing that is looked at."""
        return state

    def change(self, ssh: Ssh, task: Task) -> str:
        """Run the roles; what failed, empty if nothing did."""
        access = task.access
        access.state.mkdir(parents=True, exist_ok=True)
        view = access.state / f"{task.host.name}.lab.json"
        view.write_bytes(
            orjson.dumps(host_view(task.lab, task.host), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
        )
        variables = {"lab_file": str(view), "deploy": task.token}
        if access.packages is not None:
            variables["homelab_packages"] = str(access.packages)
        password = access.broker_password(task.host)
        secrets = {BROKER_VARIABLE: password} if password else {}
        for name, value in access.secret_values(task.host).items():
            secrets[SECRET_VARIABLE.format(name.upper().replace("-", "_"))] = value
        play = run_playbook(paths.project_path("ansible", "host.yml"), ssh, variables, task.say, secrets=secrets)
        task.say(f"{len(play.changed)} changed" if play.changed else "0 changed")
        return play.failed

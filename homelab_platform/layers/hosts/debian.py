"""Hosts with Debian or Raspberry Pi OS: looked at by a script, changed by the roles in ansible/.

Belongs here: probe and change of this way. What both ways share is adapter.py.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from homelab_platform import paths
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.lab.tables import read_table
from homelab_platform.layers.hosts.access import Task
from homelab_platform.layers.hosts.deploy import guard_source
from homelab_platform.layers.hosts.nodes import TOKEN_VARIABLE, Joining
from homelab_platform.layers.hosts.state import HostLook, State
from homelab_platform.tools.ansible import run_playbook
from homelab_platform.tools.ssh.client import Ssh

KIND = "files"
BROKER_VARIABLE = "HOMELAB_MQTT_PASSWORD"
"""In the environment of a play: what the host's collector says at the broker (ansible/roles/collector)."""
SECRET_VARIABLE = "HOMELAB_SECRET_{}"  # noqa: S105 (a name)
"""Likewise, each secret that is laid down as a file (ansible/roles/secrets)."""
_MARK = b"homelab-look:"
_PLAYS = 3
"""How often the roles are begun when the connection breaks in between."""
_PROBE = Path(__file__).resolve().parents[2] / "tools" / "host" / "probe.py"
_LOGIN = _PROBE.with_name("login.sh")


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
            found = orjson.loads(done.output.rpartition(_MARK)[2])
        except orjson.JSONDecodeError:
            said = done.text.strip()[:200] or "nothing"
            raise HomelabError.of(
                ssh.target.where,
                f"looking at it brought no answer but: {said}",
                "Something there writes or ends when root's shell starts: look at /root/.bashrc and /root/.profile.",
            ) from None
        facts = {
            "system": found["os"],
            "kernel": found["kernel"],
            "up": f"{found['uptime'] / 86400:.1f} days",
            "free": f"{found['free'] / 2**30:.1f} GiB",
            "failed units": ", ".join(found["failed"]) or "none",
            "restart needed": "yes" if found["restart"] else "no",
        }
        applied = found["applied"] if isinstance(found["applied"], dict) else {}
        if applied.get("at"):
            facts["applied"] = f"{applied['at']} by {applied.get('by', '?')}"
        if found["deploy"].get("who"):
            facts["deploy under way"] = "{who} at {where} since {since}".format(**found["deploy"])
        return HostLook(
            applied=applied or None,
            state=found["state"],
            failed=tuple(found["failed"]),
            guard=found["guard"],
            deploy=found["deploy"],
            answers=found.get("answers", {}),
            facts=facts,
        )

    def claims(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """What the roles may write there (ansible/claims.yml), and whose accounts they make."""
        listed = read_table(paths.project_path("ansible", "claims.yml"))
        groups = {*listed["groups"], *(group for name in host.users for group in lab.people[name].groups)}
        lines = [
            *(f"path {pattern}" for pattern in listed["paths"]),
            *(f"path {place.path.lstrip('/')}" for place in host.secrets.values()),
            *(f"unit {pattern}" for pattern in listed["units"]),
            *(f"group {name}" for name in sorted(groups)),
            *(f"account {name}" for name in host.users),
        ]
        return "\n".join(lines) + "\n"

    def logins(self, ssh: Ssh, lab: ResolvedLab, host: ResolvedHost) -> list[str]:
        """Who of the lab's people cannot log in to the host by SSH, and why; each tries, on the host itself."""
        names = [name for name in host.users if lab.people[name].settings.get("shell") != "nologin"]
        if not names:
            return []
        done = ssh.run(f"sh -s - {shlex.join(names)}", data=_LOGIN.read_bytes(), doing="logging in as each person")
        rows = dict(line.split(" ", 1) for line in done.text.splitlines() if " " in line)
        wrong = {name: rows.get(name, "the attempt did not end") for name in names}
        return [f"{name} cannot log in: {why}" for name, why in wrong.items() if why != "ok"]

    def kept(self, state: State) -> State:
        """Confirming changes nothing that is looked at."""
        return state

    def _comes_back(self, ssh: Ssh, seconds: float) -> bool:
        """Whether the host can be logged in to again before it undoes the deploy by itself."""
        until = time.monotonic() + seconds / 2
        while time.monotonic() < until:
            try:
                ssh.run(":", fresh=True, timeout=seconds / 2, doing="coming back")
            except Unreachable:
                time.sleep(1)
            except HomelabError:
                return False
            else:
                return True
        return False

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
        joining = Joining(task.lab, task.host, access)
        if complaint := joining.complaint(ssh):
            return complaint
        words = {BROKER_VARIABLE: access.broker_password(task.host), TOKEN_VARIABLE: joining.token()}
        for name, value in access.secret_values(task.host).items():
            words[SECRET_VARIABLE.format(name.upper().replace("-", "_"))] = value
        secrets = {name: word for name, word in words.items() if word}
        for left in reversed(range(_PLAYS)):
            play = run_playbook(paths.project_path("ansible", "host.yml"), ssh, variables, task.say, secrets=secrets)
            if not (play.unreachable and left and self._comes_back(ssh, access.confirm_within)):
                break
            task.say("the connection broke; the roles begin again")
        task.say(f"{len(play.changed)} changed" if play.changed else "0 changed")
        return play.failed or joining.absence()

"""NixOS hosts: looked at by a shell script, changed by copying a system and switching to it.

Belongs here: probe and change of this way. What both ways share is adapter.py.

The deploy only tests the new system: the boot loader keeps the old one until the guard confirms. So a restart or a
rollback in between leads back to the generation that was confirmed last.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts.access import HostAccess, Task
from homelab_platform.layers.hosts.deploy import guard_source
from homelab_platform.layers.hosts.state import HostLook, State
from homelab_platform.tools import nix
from homelab_platform.tools.ssh.client import Ssh

KIND = "nixos"
_PROBE = Path(__file__).resolve().parents[2] / "tools" / "host" / "probe_nixos.sh"
LONGEST_SWITCH = 900.0
BROKER_FILE = "/var/lib/homelab/collector.password"
"""What nix/modules/readings.nix gives the collector; the guard has made its folder."""


class Builder(Protocol):
    """Where systems come from."""

    def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
        """Store path of the host's system, built if need be."""
        ...

    def copy(self, system: str, ssh: Ssh, say: Callable[[str], None]) -> None:
        """Bring it to the host with all that it needs."""
        ...


class NixBuilder:
    """Systems built from the flake in nix/ by the nix command of this machine, or those it hands the work to."""

    def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
        """See Builder."""
        return nix.build_system(lab, host.name, access.state, say)

    def copy(self, system: str, ssh: Ssh, say: Callable[[str], None]) -> None:
        """See Builder."""
        nix.copy_closure(system, ssh, say)


@cache
def modules_digest(folder: Path) -> str:
    """Digest of everything that changes a host: the flake with its files, and the guard."""
    whole = hashlib.sha256(guard_source())
    for file in nix.flake_files(folder):
        whole.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()[:16]


class NixosWay:
    """Probe and change of a host that runs NixOS."""

    kind = KIND

    def __init__(self, builder: Builder | None = None) -> None:
        self._builder: Builder = builder or NixBuilder()

    def setup(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """What would be used to change the host, as a digest."""
        return modules_digest(paths.project_path("nix"))

    def look(self, ssh: Ssh, *, fresh: bool = False, health: bool = False) -> HostLook:
        """One round trip; needs nothing there but a shell and systemd."""
        script = f"sh -s {'health' if health else ''}"
        done = ssh.run(script, data=_PROBE.read_bytes(), fresh=fresh, doing="looking at the host")
        return read_look(done.text)

    def claims(self, lab: ResolvedLab, host: ResolvedHost) -> str:
        """None: undoing means to switch back to the system that ran before."""
        return ""

    def logins(self, ssh: Ssh, lab: ResolvedLab, host: ResolvedHost) -> list[str]:
        """Not asked: keys lie in the store, where none can be added for a moment."""
        return []

    def kept(self, state: State) -> State:
        """Confirming makes the running system the one that starts next."""
        running = state.get("system", {}).get("running")
        return {**state, "system": {"running": running, "default": running}}

    def change(self, ssh: Ssh, task: Task) -> str:
        """Build, copy, switch for a try; what failed, empty if nothing did."""
        say = task.say
        system = self._builder.system(task.lab, task.host, task.access, say)
        _hand_password(ssh, task)
        running = ssh.run("readlink -f /run/current-system", doing="asking for the running system").text.strip()
        if running == system:
            say("0 changed")
            return ""
        self._builder.copy(system, ssh, say)
        say(f"switching to {system}")
        switch = f"HOMELAB_DEPLOY={task.token} {shlex.quote(system)}/bin/switch-to-configuration test"
        done = ssh.run(switch, timeout=LONGEST_SWITCH, may_fail=(1, 2, 3, 4), doing="switching")
        if done.code == 0:
            return ""
        last = (done.errors or done.text).strip().splitlines()
        return f"switching ended with code {done.code}: {last[-1] if last else 'without a word'}"


def _hand_password(ssh: Ssh, task: Task) -> None:
    """Give the host's collector its password for the broker. The store is readable by all: it must not lie there."""
    password = task.access.broker_password(task.host)
    if not password:
        return
    put = (
        f"umask 077; cat >{BROKER_FILE}.new && if cmp -s {BROKER_FILE}.new {BROKER_FILE};"
        f" then rm {BROKER_FILE}.new; else mv {BROKER_FILE}.new {BROKER_FILE};"
        " ! systemctl --quiet is-active homelab-collector.service || systemctl restart homelab-collector.service; fi"
    )
    ssh.run(put, data=password.encode(), doing="handing over the broker's password")


def read_look(text: str) -> HostLook:
    """The look of the probe's lines `kind<TAB>name<TAB>value`. Raises HomelabError if they are not whole."""
    rows = [line.split("\t", 2) for line in text.splitlines()]
    if not rows or rows[-1][0] != "end":
        raise HomelabError.of("host", f"looking at it brought no answer but: {text[:200]}")
    state: dict[str, dict[str, str]] = {}
    single: dict[str, str] = {}
    deploy: dict[str, str] = {}
    failed: list[str] = []
    answers: dict[str, str] = {}
    for row in rows:
        kind, name, value = [*row, "", ""][:3]
        if kind in ("system", "unit"):
            state.setdefault(kind, {})[name] = value
        elif kind == "failed":
            failed.append(name)
        elif kind == "answer":
            answers[name] = value
        elif kind == "deploy":
            deploy[name] = value
        else:
            single[kind] = name
    return _look(state, single, deploy, tuple(failed), answers)


def _look(
    state: dict[str, dict[str, str]],
    single: dict[str, str],
    deploy: dict[str, str],
    failed: tuple[str, ...],
    answers: dict[str, str],
) -> HostLook:
    import orjson

    try:
        applied = orjson.loads(single.get("applied") or "null")
    except orjson.JSONDecodeError:
        applied = None
    booted, running = single.get("booted", ""), state.get("system", {}).get("running", "")
    facts = {
        "system": single.get("os", ""),
        "kernel": single.get("kernel", ""),
        "generation": running.removeprefix("/nix/store/"),
        "failed units": ", ".join(failed) or "none",
        "restart needed": "yes" if booted != single.get("kernel-of-system", booted) else "no",
    }
    return HostLook(applied, state, failed, single.get("guard") or None, deploy, answers, facts)

"""NixOS hosts: looked at by a shell script, changed by copying a system and switching to it.

Belongs here: probe and change of this way. What both ways share is adapter.py.

The deploy only tests the new system: the boot loader keeps the old one until the guard confirms. So a restart or a
rollback in between leads back to the generation that was confirmed last.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

from homelab_platform import paths
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.resolve.secrets import FOLDER, K3S_TOKEN
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
from homelab_platform.layers.hosts import secret_files
from homelab_platform.layers.hosts.access import HostAccess, Task
from homelab_platform.layers.hosts.deploy import GUARD, OVER, guard_source
from homelab_platform.layers.hosts.state import HostLook, State
from homelab_platform.tools import nix
from homelab_platform.tools.nix import SecretFile
from homelab_platform.tools.ssh.client import Ssh, opened

KIND = "nixos"
_PROBE = Path(__file__).resolve().parents[2] / "tools" / "host" / "probe_nixos.sh"
LONGEST_SWITCH = 900.0
BROKER_FILE = "/var/lib/homelab/collector.password"
"""What nix/modules/readings.nix gives the collector; the guard has made its folder."""
K3S_MADE = "/var/lib/rancher/k3s/server/token"
STILL_RUNNING, NO_ROOM_LEFT = 11, 28
"""Exit codes of the guard: the switch has not ended; there is no room for the system."""
INIT_CHANGED = 100
"""Exit code of switch-to-configuration: only a restart brings the new system's init."""


class Builder(Protocol):
    """Where systems come from."""

    def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
        """Store path of the host's system, built if need be."""
        ...

    def copy(self, system: str, ssh: Ssh, say: Callable[[str], None]) -> None:
        """Bring it to the host with all that it needs."""
        ...

    def secrets(
        self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]
    ) -> Mapping[str, SecretFile]:
        """The files with secrets that the system reads, by name."""
        ...


class NixBuilder:
    """Systems built from the flake in nix/ by the nix command of this machine, or those it hands the work to."""

    def system(self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]) -> str:
        """See Builder."""
        platform = nix.PLATFORMS[host.arch]
        if nix.builds_for(platform, nix.lab_builders(lab)):
            return nix.build_system(lab, host.name, access.state, say)
        say(f"nothing here builds for {platform}: the host builds its own system")
        with opened(access.target(lab, host), access.ssh) as ssh:
            return nix.build_at_host(lab, host.name, access.state, ssh, say)

    def copy(self, system: str, ssh: Ssh, say: Callable[[str], None]) -> None:
        """See Builder."""
        nix.copy_closure(system, ssh, say)

    def secrets(
        self, lab: ResolvedLab, host: ResolvedHost, access: HostAccess, say: Callable[[str], None]
    ) -> Mapping[str, SecretFile]:
        """See Builder."""
        return nix.secret_files(lab, host.name, access.state, say)


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
        _refuse_another_machine(ssh, task)
        system = self._builder.system(task.lab, task.host, task.access, say)
        # the system's list holds the lab's files as well (nix/modules/options.nix), so nothing is written twice
        files = secret_files.delivered(self._builder.secrets(task.lab, task.host, task.access, say), task.host)
        texts = secret_files.texts(files, task.access, task.host)
        _hand_password(ssh, task)
        _hand_token(ssh, task)
        units = secret_files.hand_over(ssh, files, texts)
        running = ssh.run("readlink -f /run/current-system", doing="asking for the running system").text.strip()
        if running == system:
            secret_files.restart(ssh, units)
            say(f"new secrets for {', '.join(units)}" if units else "0 changed")
            return ""
        self._builder.copy(system, ssh, say)
        say(f"switching to {system}")
        failed = _switch(ssh, task, system)
        if failed:
            # the next deploy finds the files as they should be and restarts nothing; what failed is what is told
            with suppress(HomelabError):
                secret_files.restart(ssh, units)
            return failed
        secret_files.own(ssh, files)
        secret_files.restart(ssh, units)
        return ""


def _switch(ssh: Ssh, task: Task, system: str) -> str:
    """Try the system in a unit of its own, and ask how it went over whatever connection there is; what failed."""
    start = shlex.join(("sh", GUARD, "switch", task.token, system))
    begun = ssh.run(start, may_fail=(NO_ROOM_LEFT,), doing="switching")
    if begun.code:
        return begun.errors or "no room for the system where the machine starts from"
    ask, began, silent_since = shlex.join(("sh", GUARD, "switched", task.token)), time.monotonic(), 0.0
    while time.monotonic() - began < LONGEST_SWITCH:
        try:
            done = ssh.run(ask, fresh=bool(silent_since), may_fail=(STILL_RUNNING, OVER), doing="asking for the switch")
        except Unreachable:
            # The switch may restart what carries this connection. The host undoes it if nobody comes back in time.
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > task.access.confirm_within:
                raise
        else:
            silent_since = 0.0
            if done.code == OVER:  # the connection came back only after the host had given up on us
                return "it does not answer after the change; the host undid it, because nothing confirmed in time"
            if done.code != STILL_RUNNING:
                return switch_failure(done.text, system)
        time.sleep(0.5)
    return f"switching did not end within {LONGEST_SWITCH:.0f} s"


def switch_failure(text: str, system: str) -> str:
    """What the guard's words on a switch (code=N, then its last lines) say that went wrong; empty if nothing did."""
    head, _, rest = text.partition("\n")
    code = int(head.removeprefix("code=") or 137)
    last = [line for line in rest.strip().splitlines() if line.strip()]
    said = last[-1] if last else "no message"
    if code == 0:
        return ""
    if code == INIT_CHANGED or "inhibit" in rest.lower():
        return (
            f"the system takes effect only by a restart ({said}). At the host: "
            f"sudo nix-env -p /nix/var/nix/profiles/system --set {system} && "
            f"sudo {system}/bin/switch-to-configuration boot && sudo reboot; then apply again"
        )
    return f"switching ended with code {code}: {said}"


def _refuse_another_machine(ssh: Ssh, task: Task) -> None:
    """A system on the wrong machine would take its name and address. Raises HomelabError naming the machine."""
    there = ssh.run("cat /etc/homelab/host 2>/dev/null || true", doing="asking for its name").text.strip()
    if there and there != task.host.name:
        raise HomelabError.of(
            ssh.target.where, f"this machine is {there}, not {task.host.name}", "Correct its address in the lab file."
        )


def _hand_token(ssh: Ssh, task: Task) -> None:
    """Give a further node of the cluster the token of the first server, which made it when it started."""
    cluster = task.lab.cluster
    if cluster is None or not task.host.k3s or task.host.name == cluster.servers[0]:
        return
    if K3S_TOKEN in task.host.secrets:
        return  # the lab names one, which is handed over with its other secrets
    first = task.lab.hosts[cluster.servers[0]]
    with opened(task.access.target(task.lab, first), task.access.ssh) as server:
        token = server.run(f"cat {K3S_MADE}", doing="asking the first server for the cluster's token").output
    file = f"{FOLDER}/{K3S_TOKEN}"
    put = f"umask 077; {secret_files.folder_command(FOLDER)} && cat >{file}.new && mv {file}.new {file}"
    ssh.run(put, data=token, doing="handing over the cluster's token")


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

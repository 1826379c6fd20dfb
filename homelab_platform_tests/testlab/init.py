"""The first process inside a lab or inside one of its machines: keeps the processes of a JSON file running.

Belongs here: starting, restarting and ending processes, and reaping what they leave. It runs as process 1 of its own
PID namespace, so that its end is the end of everything below it: the kernel sees to that. Standard library only, in
one file, because it is started without the package (`python -I -S init.py PLAN`).

The plan: `setup`, a shell script that runs once; `processes` by name, each with `command`, `log`, `cgroup` (a path
below each hierarchy), `environment`, `before` (a shell script that runs before each start), `after` (one that runs when
it has ended), `once` (not started again, unless it asked for a reboot) and `ends` (its end is the end of this process,
with the same exit code). SIGHUP reads the plan anew: new processes start, missing ones are killed. A process that ends
on its own is started again a second later.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REBOOT = 133
"""What systemd-nspawn exits with when its guest asks for a reboot."""
PAUSE = 1.0  # seconds between the end of a process and its next start
CGROUPS = Path("/sys/fs/cgroup")


class Init:
    """The processes of one plan."""

    def __init__(self, plan: Path) -> None:
        self._file = plan
        self._plan: dict[str, Any] = {}
        self._running: dict[str, int] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        self._not_before: dict[str, float] = {}
        self._reread = True
        self._wake, waker = socket.socketpair()
        self._wake.setblocking(False)
        waker.setblocking(False)
        self._waker = waker

    def work(self) -> int:
        """Run until a process whose end is ours ends; returns the exit code."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, self._noticed)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            if self._reread:
                self._read()
            code = self._reap()
            if code is not None:
                return code
            self._start_missing()
            select.select([self._wake], [], [], PAUSE)
            while _drain(self._wake):
                pass

    def _noticed(self, number: int, _frame: object) -> None:
        self._reread |= number == signal.SIGHUP

    def _read(self) -> None:
        self._reread = False
        first = not self._plan
        self._plan = json.loads(self._file.read_text())
        if first:
            shell(self._plan.get("setup", ""), "setup")
        for name in [name for name in self._running if name not in self._plan["processes"]]:
            os.killpg(self._running[name], signal.SIGKILL)

    def _reap(self) -> int | None:
        """Collect whoever ended; an exit code when that ends us too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            code = os.waitstatus_to_exitcode(status)
            for name in [name for name, running in self._running.items() if running == pid]:
                del self._running[name]
                if self._ended(name, code):
                    return code if code >= 0 else 128 - code

    def _ended(self, name: str, code: int) -> bool:
        """Note the end of a process; whether that is the end of us too."""
        say(f"{name} ended with {code}")
        entry = self._entries.pop(name)
        shell(entry.get("after", ""), name)
        pause = 0.0 if code == REBOOT else float("inf") if entry.get("once") else PAUSE
        self._not_before[name] = time.monotonic() + pause
        return bool(entry.get("ends"))

    def _start_missing(self) -> None:
        known = self._plan["processes"]
        self._not_before = {name: when for name, when in self._not_before.items() if name in known}
        for name, entry in known.items():
            if name not in self._running and time.monotonic() >= self._not_before.get(name, 0):
                self._running[name], self._entries[name] = start(name, entry), entry


def _drain(wake: socket.socket) -> bool:
    try:
        return bool(wake.recv(1024))
    except BlockingIOError:
        return False


def start(name: str, entry: dict[str, Any]) -> int:
    """Start a process in its own session and cgroup; returns its pid."""
    say(f"starting {name}")
    shell(entry.get("before", ""), name)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        output = os.open(entry["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open("/dev/null", os.O_RDONLY)
        for descriptor, wanted in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, wanted)
        join_cgroup(entry["cgroup"])
        os.execvpe(entry["command"][0], entry["command"], os.environ | entry.get("environment", {}))
    except OSError as error:
        say(f"{name}: {error}")
    os._exit(127)


def join_cgroup(path: str) -> None:
    """Put this process below `path` in every hierarchy of control groups, made where it is missing."""
    for hierarchy in hierarchies():
        folder = hierarchy / path
        folder.mkdir(parents=True, exist_ok=True)
        give_processors(hierarchy, folder)
        (folder / "cgroup.procs").write_text("0")


def hierarchies() -> list[Path]:
    """The mounted hierarchies: one for each controller (version 1), or one for all (version 2)."""
    mounted = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _what, where, kind = line.split()[:3]
        if kind in {"cgroup", "cgroup2"} and Path(where).is_relative_to(CGROUPS):
            mounted.append(Path(where))
    return sorted(set(mounted))


def give_processors(hierarchy: Path, folder: Path) -> None:
    """Version 1 refuses a process in a group that was given no processors: hand down the parent's."""
    if not (hierarchy / "cpuset.cpus").exists():
        return
    steps = [folder, *(parent for parent in folder.parents if parent.is_relative_to(hierarchy) and parent != hierarchy)]
    for step in reversed(steps):
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (step / name).read_text().strip():
                (step / name).write_text((step.parent / name).read_text())


def shell(script: str, whose: str) -> None:
    """Run a script that should not fail; what it says goes to our log."""
    if script and subprocess.run(["/bin/sh", "-ec", script], stdin=subprocess.DEVNULL, check=False).returncode:
        say(f"the script of {whose} failed")


def say(text: str) -> None:
    """One line in the log."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(Init(Path(sys.argv[1])).work())

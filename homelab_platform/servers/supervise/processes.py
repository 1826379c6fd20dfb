"""Processes of this machine, told apart for certain: a pid alone may be somebody else's by now.

Belongs here: identity, liveness and ending of processes and their groups. Standard library only, because the
supervisor must stay small.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

PROC = Path("/proc")


@cache
def boot_id() -> str:
    """A name of this boot of this machine, or nothing where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_of(pid: int) -> str | None:
    """When process `pid` started, in the system's own words, or None when it does not run (a zombie does not).

    Pid and start together name a process for certain: on Linux the boot and field 22 of /proc/PID/stat (proc(5)),
    elsewhere what `ps -o lstart=` says.
    """
    if not PROC.joinpath("self", "stat").exists():
        return _start_by_ps(pid)
    try:
        text = PROC.joinpath(str(pid), "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot_id()}:{fields[19]}"


def _start_by_ps(pid: int) -> str | None:
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words = done.stdout.split(maxsplit=1)
    return None if len(words) < 2 or words[0].startswith("Z") else words[1].strip()


def is_running(pid: int, start: str) -> bool:
    """Whether the process with this pid and this start still runs."""
    return start_of(pid) == start


def group_members(group: int) -> list[int]:
    """The live processes of a process group; only the leader where the system has no /proc."""
    if not PROC.joinpath("self", "stat").exists():
        return [group] if start_of(group) else []
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX" and int(fields[2]) == group:
                found.append(int(entry.name))
    return found


def carrying(mark: str) -> list[int]:
    """The live processes whose environment holds the text `mark` (`NAME=value`), this one left out.

    A process that left its group is found too. Only on Linux; elsewhere the list is empty.
    """
    wanted = mark.encode()
    found = []
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and start_of(int(entry.name)) is not None:
            found.append(int(entry.name))
    return found


def listens(port: int, leader: int, mark: str) -> bool:
    """Whether a process of this group, or one that carries `mark`, is who listens on a TCP port.

    An answer on a port says only that somebody is there. Asked of /proc (net/tcp and net/tcp6 of proc(5): field 4 is
    the state, 0A for listening, field 10 the inode, which fd/ of the holder names); always true where there is none.
    """
    if not PROC.joinpath("self", "stat").exists():
        return True
    sockets = {f"socket:[{inode}]" for inode in _listening(port, leader)}
    return _holds_any(group_members(leader), sockets) or _holds_any(carrying(mark), sockets)


def _holds_any(pids: list[int], sockets: set[str]) -> bool:
    return any(sockets & _descriptors(pid) for pid in pids)


def _listening(port: int, pid: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = PROC.joinpath(str(pid), "net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = [line.split() for line in lines]
        inodes |= {row[9] for row in fields if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    return inodes


def _descriptors(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it ended meanwhile, or is another user's
        for entry in PROC.joinpath(str(pid), "fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def send(pid: int, number: int, *, group: bool = False) -> bool:
    """Send a signal to a process, or to the group it leads; False when it is gone or not ours."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Wait for the condition at most `seconds`; returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def end_group(leader: int, start: str, *, first: int = signal.SIGTERM, patience: float = 10) -> bool:
    """End a group whose leader is known by pid and start: `first` to the leader, then SIGKILL to who is left.

    Returns whether there was anything to end. When the pid belongs to another process by now, nothing is touched.
    `patience` in seconds.
    """
    now = start_of(leader)
    if now is not None and now != start:
        return False
    if now is None and not group_members(leader):
        return False
    send(leader, first)
    if not wait_until(lambda: not group_members(leader), patience):
        send(leader, signal.SIGKILL, group=True)
        wait_until(lambda: not group_members(leader), 5)
    return True


def end_carrying(mark: str, patience: float = 5) -> list[int]:
    """End every process whose environment holds `mark`; returns their pids."""
    found = carrying(mark)
    for pid in found:
        send(pid, signal.SIGTERM)
    if found and not wait_until(lambda: not carrying(mark), patience):
        for pid in carrying(mark):
            send(pid, signal.SIGKILL)
        wait_until(lambda: not carrying(mark), 5)
    return found

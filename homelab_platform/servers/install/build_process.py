"""Running a build for as long as it progresses, however slow the machine is.

Belongs here: one command, its output, and the judgement that it stands still. Not here: where what it makes lies
(installs.py), or what is built (minio.py and others).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

STALLED_SECONDS = 600.0
"""A build whose processes took no processor time for so long waits for something that does not come."""
LOOK_EVERY_SECONDS = 5.0


class BuildStalled(Exception):
    """A build stood still and was ended."""


def run_build(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stalled_after: float = STALLED_SECONDS,
    look_every: float = LOOK_EVERY_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder `cwd` to its end, without a limit of time while its processes work.

    Raises:
        BuildStalled: none of its processes took processor time for `stalled_after` seconds; all of them were ended.
        OSError: the command cannot be started.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    worked, idle = 0.0, 0.0
    try:
        while True:
            try:
                out, errors = process.communicate(timeout=look_every)
                return subprocess.CompletedProcess(command, process.returncode, out, errors)
            except subprocess.TimeoutExpired:
                now = _cpu_seconds(process.pid)
                idle = 0.0 if now > worked else idle + look_every
                worked = max(worked, now)
            if idle >= stalled_after:
                raise BuildStalled(f"stood still for {idle:.0f} s")
    except BaseException:
        _end(process)
        raise


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process, of all below it, and of those below it that have ended."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):  # one that ends while we look: the next look says more
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a build with all that it started, which shares its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

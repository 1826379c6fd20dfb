"""Starting a supervisor and watching it until its processes answer.

Belongs here: what every owner of a run folder needs (the embedded site, the scratch servers of tests and benchmarks).
Not here: what to run (site.py, servers/scratch/servers.py) or how it is kept running (supervisor.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.files import try_lock
from homelab_platform.names import silent
from homelab_platform.servers.supervise import processes
from homelab_platform.servers.supervise.environment import allowed
from homelab_platform.servers.supervise.spec import (
    LOCK_FILE,
    RESTART_FOLDER,
    USERS_FOLDER,
    ChildState,
    RunPlan,
    RunState,
    load_state,
)
from homelab_platform.servers.supervise.supervisor import LOCK_PATIENCE, clean_up, take_lock

OWNER_ALONE = 0o077  # umask: what the supervisor and its processes write is for their owner alone
GIVE_UP_AFTER = 3  # ends on its own, during a start, after which a process counts as unable to start
FIRST_WORD = 60.0  # seconds that a supervisor has until its first state is written: a Pi that boots is slow


@contextmanager
def exclusive(file: Path, waiting: Callable[[], None] = lambda: None, timeout: float = 300) -> Iterator[None]:
    """Hold a lock on `file` (made when missing). The kernel frees it when this process dies, however it dies.

    Calls `waiting` once when somebody else holds it; raises HomelabError after `timeout` seconds.
    """
    descriptor = _open_and_lock(file, waiting, timeout)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_and_lock(file: Path, waiting: Callable[[], None], timeout: float) -> int:
    told = False
    deadline = time.monotonic() + timeout
    while True:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        if try_lock(descriptor) and _still_there(file, descriptor):
            return descriptor
        holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
        os.close(descriptor)
        if not told:
            told = True
            waiting()
        if time.monotonic() > deadline:
            raise HomelabError.of(str(file), f"held by another one ({holder})", "Wait for it, or end it.")
        time.sleep(0.05)


def _still_there(file: Path, descriptor: int) -> bool:
    """Whether the locked file is the one under this name: its folder may have been removed while we waited."""
    try:
        return file.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def make_run_folder(run: Path) -> None:
    """The folders that a supervisor expects."""
    for folder in (run, run / RESTART_FOLDER, run / USERS_FOLDER):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def live_state(run: Path) -> RunState | None:
    """What the supervisor of this folder says, or None when none runs."""
    state = load_state(run)
    return state if state is not None and processes.is_running(state.pid, state.start) else None


def start_supervisor(run: Path, plan: RunPlan) -> int:
    """Write the plan and start its supervisor, detached from this terminal; returns its pid.

    Raises HomelabError when the folder has a supervisor; stop that one first.
    """
    logs = Path(plan.logs)
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    further = {name for spec in plan.processes for name in spec.inherit}
    with _folder_lock(run) as lock, (logs / "supervisor.log").open("ab") as output:
        plan.save(run)
        process = subprocess.Popen(
            [sys.executable, "-m", "homelab_platform.servers.supervise.supervisor", str(run), str(lock)],
            cwd=run,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=allowed(os.environ, further) | {"LC_ALL": "C.UTF-8"},
            umask=OWNER_ALONE,
            pass_fds=(lock,),
        )
    _CHILDREN.append(process)
    return process.pid


@contextmanager
def _folder_lock(run: Path) -> Iterator[int]:
    lock = take_lock(run, LOCK_PATIENCE)
    if lock is None:
        holder = (run / LOCK_FILE).read_text(errors="replace").strip() or "not signed"
        raise HomelabError.of(str(run), f"another supervisor holds this folder ({holder})", "End it, then try again.")
    try:
        yield lock
    finally:
        os.close(lock)  # the supervisor has it by now, or there is none


def is_held(run: Path) -> bool:
    """Whether a supervisor has this folder, be it one that has only just been started and said nothing yet."""
    lock = take_lock(run, 0) if run.is_dir() else None
    if lock is not None:
        os.close(lock)
    return lock is None and run.is_dir()


_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept so that ended ones are reaped instead of warned about


def reap() -> None:
    """Collect ended supervisors that this process started."""
    _CHILDREN[:] = [process for process in _CHILDREN if process.poll() is None]


def wait_for(
    run: Path,
    logs: Path,
    names: tuple[str, ...],
    *,
    timeout: float,
    progress: Callable[[str], None] = silent,
) -> RunState:
    """Wait until all named processes answer; `timeout` in seconds.

    Raises HomelabError with the end of the log when the supervisor ends or a process cannot start.
    """
    deadline = time.monotonic() + timeout
    said: set[str] = set()
    while True:
        reap()
        state = live_state(run)
        if state is not None:
            waiting = [name for name in names if state.children[name].state != "running"]
            for name in names:
                if name not in waiting and name not in said:
                    said.add(name)
                    progress(f"{name} answers")
            if not waiting:
                return state
            _give_up_on_broken(state, waiting, logs)
        elif not is_held(run) and live_state(run) is None:
            raise _ended("supervisor", logs)
        if time.monotonic() > deadline:
            raise HomelabError.of(
                ", ".join(waiting) if state else "supervisor",
                f"no answer within {timeout:.0f} s",
                f"Look into the logs in {logs}.",
            )
        time.sleep(0.05)


def _give_up_on_broken(state: RunState, waiting: list[str], logs: Path) -> None:
    for name in waiting:
        if state.children[name].state == "broken" and state.children[name].ended >= GIVE_UP_AFTER:
            raise _ended(name, logs, state.children[name])


def _ended(name: str, logs: Path, child: ChildState | None = None) -> HomelabError:
    file = logs / f"{name}.log"
    detail = child.detail if child is not None else "ended"
    return HomelabError.of(
        f"server {name}", f"cannot start: {detail}", f"The end of {file}:\n      " + "\n      ".join(tail(file, 6))
    )


def tail(file: Path, lines: int) -> list[str]:
    """The last lines of a text file; none when it cannot be read."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 16384))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def wake(state: RunState) -> None:
    """Have the supervisor look at once instead of at its next turn."""
    processes.send(state.pid, signal.SIGUSR1)


def stop_supervisor(run: Path, mark: str, timeout: float = 120) -> bool:
    """Stop the supervisor and all it runs, and whatever a killed one left; returns whether anything ran.

    `timeout` in seconds, after which everything is killed.
    """
    # one that was started a moment ago says nothing yet: to clean up under it would only have it start all again
    processes.wait_until(lambda: live_state(run) is not None or not is_held(run), FIRST_WORD)
    state = live_state(run)
    if state is None:
        return clean_up(run, mark)
    processes.send(state.pid, signal.SIGTERM)

    def gone() -> bool:
        reap()
        return not processes.is_running(state.pid, state.start)

    if not processes.wait_until(gone, timeout):
        processes.send(state.pid, signal.SIGKILL)
        processes.wait_until(gone, 5)
    reap()
    clean_up(run, mark)
    return True

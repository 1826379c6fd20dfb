"""Keeps the processes of one site running: starts them in order, restarts what ends, stops them in reverse order.

Run as `python -m homelab_platform.servers.supervise.supervisor RUN_FOLDER [LOCK]`; holds a lock on that folder, so
that there is never a second one. LOCK is the descriptor under which whoever starts it hands the lock over: so the
folder is held from before there is a supervisor, and nobody takes one that has not said anything yet for none.
Standard library only: it stays for weeks and must be small. Not here: what to run (site.py makes the plan).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from homelab_platform.files import try_lock
from homelab_platform.servers.supervise import processes
from homelab_platform.servers.supervise.child import Child, say
from homelab_platform.servers.supervise.spec import (
    LOCK_FILE,
    RESTART_FOLDER,
    USERS_FOLDER,
    ChildState,
    RunPlan,
    RunState,
    load_state,
)

BUSY, IDLE = 0.1, 2.0  # seconds between looks
UPKEEP = 15.0  # seconds between looks at health and log sizes
LOCK_PATIENCE = 10.0  # seconds that one which is ending has to let go of the folder


class Supervisor:
    """The processes of one plan and their fate."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.plan = RunPlan.load(run)
        self.logs = Path(self.plan.logs)
        self.children = [Child(spec, self.plan, run) for spec in self.plan.processes]
        me = os.getpid()
        self.state = RunState(
            me,
            processes.start_of(me) or "",
            socket.gethostname(),
            time.time(),
            {c.spec.name: c.state for c in self.children},
        )
        self.ending = False
        self.unused = False
        self._said = ""
        self._next_upkeep = 0.0
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    def work(self) -> None:
        """Run until SIGTERM or SIGINT, or until nobody uses the plan any more."""
        self._listen()
        self._clean_up_after_predecessor()
        while not self.ending:
            busy = self._look()
            self._say()
            self._sleep(BUSY if busy else IDLE)
        self._stop_all()

    def _listen(self) -> None:
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _end(self, number: int, _frame: object) -> None:
        say(f"asked to end by signal {number}")
        self.ending = True

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            self._wake.recv(1024)

    def _clean_up_after_predecessor(self) -> None:
        """A supervisor that was killed leaves its processes behind: end them before starting new ones."""
        clean_up(self.run, self.plan.mark)

    def _look(self) -> bool:
        """Move every process one step on; returns whether one is on its way."""
        answering = {child.spec.name for child in self.children if child.answers}
        busy = False
        for child in self.children:
            busy |= child.step(answering)
        self._serve_restarts()
        if time.monotonic() >= self._next_upkeep:
            self._next_upkeep = time.monotonic() + UPKEEP
            self._upkeep()
        if self.plan.while_users and not users(self.run):
            say("nobody uses these servers any more")
            self.ending = self.unused = True
        return busy

    def _upkeep(self) -> None:
        os.utime(self.run / LOCK_FILE)
        for child in self.children:
            child.look_after(self.plan.log_limit)

    def _serve_restarts(self) -> None:
        folder = self.run / RESTART_FOLDER
        for child in self.children:
            request = folder / child.spec.name
            if request.exists():
                request.unlink(missing_ok=True)
                say(f"{child.spec.name}: restart asked for")
                child.stop()
                child.state.state = "waiting"

    def _say(self) -> None:
        now = repr(self.state)
        if now != self._said:
            self._said = now
            self.state.save(self.run)

    def _stop_all(self) -> None:
        self.state.stopping = True
        self._say()
        for child in reversed(self.children):
            child.stop()
            self._say()
        processes.end_carrying(self.plan.mark)
        self.state.stopped = True
        self._say()
        say("everything is stopped")
        if self.unused and self.plan.remove:
            import shutil

            shutil.rmtree(self.plan.remove, ignore_errors=True)


def users(run: Path) -> list[int]:
    """The processes that said they use these servers (files named by pid that hold the start) and still run."""
    found = []
    for entry in (run / USERS_FOLDER).iterdir():
        if processes.is_running(int(entry.name), entry.read_text()):
            found.append(int(entry.name))
        else:
            entry.unlink(missing_ok=True)
    return found


def clean_up(run: Path, mark: str) -> bool:
    """End what a killed supervisor of this folder left running; returns whether there was anything."""
    state = load_state(run)
    left: list[ChildState] = [] if state is None else list(state.children.values())
    found = False
    for child in reversed(left):
        if child.pid and processes.end_group(child.pid, child.start, first=child.stop_signal):
            say(f"{child.name}: ended process {child.pid}, left by a supervisor that is gone")
            found = True
    others = processes.end_carrying(mark)
    _sweep(run)
    if others:
        say(f"ended processes {others}, left by a supervisor that is gone")
    return found or bool(others)


def _sweep(run: Path) -> None:
    """Remove the files that processes of the former plan leave when they are killed."""
    try:
        plan = RunPlan.load(run)
    except (OSError, ValueError, KeyError, TypeError):
        return
    for file in (Path(name) for spec in plan.processes for name in spec.litter):
        file.unlink(missing_ok=True)


def take_lock(run: Path, patience: float) -> int | None:
    """Lock the folder for as long as the descriptor returned is open; None when another one holds it.

    `patience` in seconds. The lock belongs to the open file: a process that inherits the descriptor holds it too.
    """
    descriptor = os.open(run / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    if not processes.wait_until(lambda: try_lock(descriptor), patience):
        os.close(descriptor)
        return None
    return descriptor


def _sign(lock: int) -> None:
    """Write into the lock who holds it, for people who look."""
    os.truncate(lock, 0)
    os.pwrite(lock, f"{socket.gethostname()} {os.getpid()} {processes.start_of(os.getpid())}\n".encode(), 0)


def main() -> int:
    """Run the plan of the folder named on the command line; 3 when another supervisor has it."""
    run = Path(sys.argv[1])
    lock = int(sys.argv[2]) if len(sys.argv) > 2 else take_lock(run, LOCK_PATIENCE)
    if lock is None:
        say("another supervisor holds this folder")
        return 3
    os.set_inheritable(lock, False)
    _sign(lock)
    Supervisor(run).work()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

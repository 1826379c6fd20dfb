"""One supervised process: start, health, back-off after it ended, stop, its log file.

Belongs here: the life of a single process. Standard library only, because the supervisor must stay small.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from homelab_platform.servers.supervise import processes
from homelab_platform.servers.supervise.environment import allowed
from homelab_platform.servers.supervise.spec import Answer, ChildState, Health, ProcessSpec, RunPlan

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds of back-off after a process ended on its own
CALM = 15.0  # seconds of answering after which the back-off starts anew
KEPT_LOGS = 3
COPY = 1 << 20
LONGEST_ANSWER = 1 << 20


class Pulse:
    """Asks in a thread of its own whether a process answers, so that a slow one holds up the restart of no other."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._thread: threading.Thread | None = None
        self._answer: bool | None = None

    def ask(self) -> None:
        """Begin to ask, unless that is under way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def _look(self) -> None:
        self._answer = is_healthy(self._health)

    def take(self) -> bool | None:
        """The answer to the last question, once; None before it came."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._answer


class Child:
    """A process that should run, and what is known about it."""

    def __init__(self, spec: ProcessSpec, plan: RunPlan, run: Path) -> None:
        self.spec = spec
        self.plan = plan
        self.run = run
        self.log_file = Path(plan.logs) / f"{spec.name}.log"
        self.state = ChildState(spec.name, port=spec.port, stop_signal=spec.stop_signal)
        self._process: subprocess.Popen[bytes] | None = None
        self._next_try = 0.0
        self._pause = FIRST_PAUSE
        self._began = 0.0
        self._answered: float | None = None
        self._foreign = False
        self._pulse = Pulse(spec.health)

    @property
    def answers(self) -> bool:
        """Whether it answered when last asked."""
        return self.state.state in {"running", "unhealthy"}

    def step(self, answering: set[str]) -> bool:
        """Move one step on; returns whether it is on its way to running."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode)
        state = self.state.state
        if state in {"waiting", "broken"}:
            if self._may_start(answering):
                self._start()
            return state == "waiting" or time.monotonic() + 2 > self._next_try
        if state == "starting":
            self._see_whether_it_answers()
            return True
        answer = self._pulse.take() if self.answers else None
        if answer is not None:
            self._become("running" if answer else "unhealthy")
        return False

    def _may_start(self, answering: set[str]) -> bool:
        if time.monotonic() < self._next_try or not answering.issuperset(self.spec.after):
            return False
        return self.spec.gate is None or Path(self.spec.gate).exists()

    def _start(self) -> None:
        user = self.spec.user
        try:
            with self.log_file.open("ab") as output:
                self._process = subprocess.Popen(
                    self.spec.command,
                    cwd=self.spec.folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    user=user,
                    group=_main_group(user),
                    extra_groups=None if user is None else [],
                )
        except OSError as error:
            self._ended(-1, str(error))
            return
        self._began = time.monotonic()
        self._answered = None
        self._pulse = Pulse(self.spec.health)  # what an earlier one may still hear is of an earlier process
        self.state.pid = self._process.pid
        self.state.start = processes.start_of(self._process.pid) or ""
        self.state.generation += 1
        self._become("starting")

    def _environment(self) -> dict[str, str]:
        name, _, value = self.plan.mark.partition("=")
        made = allowed(os.environ, self.spec.inherit) | self.spec.environment | {name: value}
        if self.spec.secrets and self.plan.secrets_file:
            known = json.loads(Path(self.plan.secrets_file).read_text())
            made |= {variable: known[key] for variable, key in self.spec.secrets.items()}
        return made

    def _see_whether_it_answers(self) -> None:
        if self._pulse.take():
            self._foreign = not self._is_its_own()
            if not self._foreign:
                self._answered = time.monotonic()
                self._become("running")
                return
        if time.monotonic() - self._began > self.spec.start_timeout:
            say(f"{self.spec.name}: no answer within {self.spec.start_timeout:.0f} s; starting it again")
            self.stop()
            late = (
                f"another program answers on its port {self.spec.port}" if self._foreign else "did not answer in time"
            )
            self._back_off(late)
        else:
            self._pulse.ask()

    def _is_its_own(self) -> bool:
        """Whether what answers on its port is this process: a foreign one would make a site green that is not there."""
        port, pid = self.spec.port, self.state.pid
        return port is None or processes.listens(port, pid, self.plan.mark)

    def _ended(self, code: int, reason: str = "") -> None:
        """It ended on its own: end what is left of its group, and try again after a pause."""
        detail = reason or (f"ended by signal {-code}" if code < 0 else f"exited with {code}")
        if self._process is not None:
            processes.send(self._process.pid, signal.SIGKILL, group=True)
        self._process = None
        self._sweep()
        self.state.ended += 1
        if self._answered is not None and time.monotonic() - self._answered > CALM:
            self._pause = FIRST_PAUSE
        self._back_off(detail)

    def _back_off(self, detail: str) -> None:
        say(f"{self.spec.name}: {detail}; next start in {self._pause:.1f} s")
        self._next_try = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.state.pid, self.state.start, self.state.detail = 0, "", detail
        self._become("broken")

    def _become(self, state: str) -> None:
        if state != self.state.state:
            say(f"{self.spec.name}: {state}" + (f" (process {self.state.pid})" if self.state.pid else ""))
            self.state.since = time.time()
        self.state.state = state

    def look_after(self, log_limit: int) -> None:
        """What is due now and then: ask whether it still answers, and keep its log small."""
        if self.answers:
            self._pulse.ask()
        roll(self.log_file, log_limit)

    def stop(self) -> None:
        """Stop it and whatever is left of its process group."""
        if self._process is not None:
            processes.send(self._process.pid, self.spec.stop_signal)
            try:
                self._process.wait(self.spec.stop_timeout)
            except subprocess.TimeoutExpired:
                say(f"{self.spec.name}: did not stop within {self.spec.stop_timeout:.0f} s; killed")
            processes.send(self._process.pid, signal.SIGKILL, group=True)
            self._process.wait()
        self._process = None
        self._sweep()
        self.state.pid, self.state.start = 0, ""
        self._become("stopped")

    def _sweep(self) -> None:
        for file in self.spec.litter:
            Path(file).unlink(missing_ok=True)


def _main_group(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid


def is_healthy(health: Health) -> bool:
    """Whether the process behind this check answers."""
    if health.command:
        try:
            done = subprocess.run(
                health.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10, check=False
            )
        except (subprocess.TimeoutExpired, OSError):
            return False
        return done.returncode == 0
    return all(_comes(answer) for answer in health.answers)


def _comes(answer: Answer) -> bool:
    """Whether GET gives 2xx and the wanted text (HTTP/1.0 by hand: http.client would cost 4 MiB)."""
    if not answer.path:
        return _listens(answer.port)
    request = f"GET {answer.path} HTTP/1.0\r\nHost: 127.0.0.1:{answer.port}\r\n\r\n".encode()
    body = b""
    try:
        with _connected(answer) as connection:
            connection.sendall(request)
            while len(body) < LONGEST_ANSWER and (piece := connection.recv(65536)):
                body += piece
    except OSError:
        return False
    status = body[:64].split()
    return len(status) > 1 and status[1].startswith(b"2") and answer.text.encode() in body


def _connected(answer: Answer) -> socket.socket:
    """A connection to whoever should answer; raises OSError (which ssl's errors are)."""
    connection = socket.create_connection(("127.0.0.1", answer.port), timeout=5)
    if not answer.identity:
        return connection
    import ssl  # 4 MiB, which a site without such a question does not pay

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(answer.authority)
        context.load_cert_chain(answer.identity)
        return context.wrap_socket(connection, server_hostname="127.0.0.1")
    except OSError:
        connection.close()
        raise


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def roll(log_file: Path, limit: int) -> None:
    """Once a log is larger than `limit` bytes, copy it away and empty it; the writer keeps its open file."""
    try:
        if not log_file.exists() or log_file.stat().st_size <= limit:
            return
        for number in range(KEPT_LOGS - 1, 0, -1):
            older = log_file.with_name(f"{log_file.name}.{number}")
            if older.exists():
                older.replace(log_file.with_name(f"{log_file.name}.{number + 1}"))
        with log_file.open("rb") as old, log_file.with_name(f"{log_file.name}.1").open("wb") as kept:
            while piece := old.read(COPY):
                kept.write(piece)
        os.truncate(log_file, 0)
    except OSError as error:
        say(f"cannot roll {log_file}: {error}")


def say(text: str) -> None:
    """One line in the supervisor's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()

"""Inside and outside: finding the first process of a lab or a machine, and running commands in its namespaces.

Belongs here: namespaces(7) as seen from this side. Not here: what runs inside (init.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.servers.supervise import processes

INIT = Path(__file__).with_name("init.py")
PLAN = "plan.json"


@dataclass(frozen=True)
class Space:
    """The namespaces whose first process runs the plan in `folder`."""

    folder: Path

    @property
    def plan_file(self) -> Path:
        """What runs inside."""
        return self.folder / PLAN

    def command(self) -> list[str]:
        """How its first process is started: with nothing of this Python's environment but its interpreter."""
        return [os.path.realpath(sys.executable), "-I", "-S", str(INIT), str(self.plan_file)]

    def pid(self) -> int | None:
        """The first process as this side numbers it; None when it does not run."""
        wanted = "\0".join(self.command()).encode() + b"\0"
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _reads(entry / "cmdline") == wanted and _is_first(entry):
                return int(entry.name)
        return None

    def enter(self, *, net_only: bool = False) -> list[str]:
        """The words that put a command inside. Raises HomelabError when nothing runs there."""
        pid = self.pid()
        if pid is None:
            raise HomelabError.of(self.folder.name, "does not run", "Plug it in, or start the lab.")
        kinds = ["--net"] if net_only else ["--mount", "--pid", "--net", "--uts"]
        return ["nsenter", f"--target={pid}", *kinds, "--"]

    def run(
        self, *command: str, net_only: bool = False, check: bool = True, text: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside. Raises HomelabError with what it said when it fails and `check` is set."""
        done = ran([*self.enter(net_only=net_only), *command], text=text, timeout=timeout)
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise HomelabError.of(self.folder.name, f"`{' '.join(command)}` failed inside: {said[-2000:]}")
        return done

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Say what should run inside, and have it carried out when something runs there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.plan_file.with_suffix(".new")
        scratch.write_text(json.dumps(plan, indent=1))
        scratch.replace(self.plan_file)
        pid = self.pid()
        if pid is not None:
            processes.send(pid, signal.SIGHUP)

    def plan(self) -> dict[str, Any]:
        """What should run inside."""
        found: dict[str, Any] = json.loads(self.plan_file.read_text())
        return found


def ran(command: list[str], *, text: str | None = None, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command with this input; after `timeout` seconds it is killed and counts as failed (124)."""
    try:
        return subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout:.0f} s")


def _reads(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _is_first(process: Path) -> bool:
    """Whether a process is number 1 of a namespace of its own (NSpid in proc(5)), and lives."""
    lines = [line.split() for line in _reads(process / "status").decode(errors="replace").splitlines()]
    numbers = next((words[1:] for words in lines if words and words[0] == "NSpid:"), [])
    state = next((words[1] for words in lines if words and words[0] == "State:"), "Z")
    return len(numbers) > 1 and numbers[-1] == "1" and state not in "ZX"


UNSHARE: Sequence[str] = (
    "unshare",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--propagation=private",
)
"""Namespaces of its own for a command, which dies with this one (unshare(1))."""
CONTAINED: Sequence[str] = ("setpriv", "--pdeathsig=KILL", "--", *UNSHARE, "--")
"""The same for a build: when this process dies, however it dies, so do the build and everything that it mounted."""

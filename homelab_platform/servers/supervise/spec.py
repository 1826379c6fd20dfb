"""What the supervisor is told to run, and what it says about it: two JSON files in a site's `run` folder.

Belongs here: the types of these files and how they are read and written. Standard library only, because the
supervisor must stay small.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from homelab_platform.files import write_whole

PLAN_FILE = "plan.json"
STATE_FILE = "state.json"
LOCK_FILE = "supervisor.lock"
RESTART_FOLDER = "restart"
USERS_FOLDER = "users"


@dataclass(frozen=True)
class Answer:
    """A URL path on a port of 127.0.0.1 that should give 2xx, and a body that holds `text`.

    With no path, it is enough that something listens. With an `identity` (a PEM file of certificate and key) the
    question goes over TLS by that identity, to a server whose certificate is of `authority` (a PEM file).
    """

    port: int
    path: str
    text: str = ""
    identity: str = ""
    authority: str = ""


@dataclass(frozen=True)
class Health:
    """How to see that a process answers: every one of `answers` comes, or a `command` exits with 0.

    With neither, running is all that is asked.
    """

    answers: tuple[Answer, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running.

    `after` names processes that must answer first, `gate` a file that must exist first. `environment` is added to what
    every process has (environment.py), `inherit` names variables of the caller's shell that this one has too; `secrets`
    maps a variable to a key of the secrets file, so that no value stands in this file. `user` is a system user to run
    as (only root can); `litter` are files to remove once it has ended. Times in seconds.
    """

    name: str
    command: tuple[str, ...]
    folder: str
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    inherit: tuple[str, ...] = ()
    user: str | None = None
    health: Health = Health()
    after: tuple[str, ...] = ()
    gate: str | None = None
    port: int | None = None
    litter: tuple[str, ...] = ()
    stop_signal: int = signal.SIGTERM
    start_timeout: float = 120
    stop_timeout: float = 20


@dataclass(frozen=True)
class RunPlan:
    """Everything one supervisor runs. `mark` (`NAME=value`) is set in the environment of each process.

    With `while_users`, the supervisor ends once no process named in the folder `users` runs any more, and then removes
    the folder `remove`.
    """

    mark: str
    logs: str
    secrets_file: str | None
    processes: tuple[ProcessSpec, ...]
    while_users: bool = False
    remove: str | None = None
    log_limit: int = 8 << 20

    def save(self, run: Path) -> None:
        """Write the plan into the `run` folder."""
        write_json(run / PLAN_FILE, asdict(self))

    @classmethod
    def load(cls, run: Path) -> RunPlan:
        """Read the plan of a `run` folder."""
        raw = json.loads((run / PLAN_FILE).read_text())
        raw["processes"] = tuple(_spec(entry) for entry in raw["processes"])
        return cls(**raw)


def _spec(entry: dict[str, Any]) -> ProcessSpec:
    health = entry["health"]
    answers = tuple(Answer(**answer) for answer in health["answers"])
    made = entry | {
        "health": Health(answers, tuple(health["command"])),
        "command": tuple(entry["command"]),
        "after": tuple(entry["after"]),
        "inherit": tuple(entry["inherit"]),
        "litter": tuple(entry["litter"]),
    }
    return ProcessSpec(**made)


@dataclass
class ChildState:
    """What the supervisor says about one process. `state` is waiting, starting, running, unhealthy, broken or stopped.

    `since` is a Unix time; `ended` counts how often it ended on its own, `generation` how often it was started.
    """

    name: str
    state: str = "waiting"
    pid: int = 0
    start: str = ""
    since: float = 0
    ended: int = 0
    generation: int = 0
    port: int | None = None
    stop_signal: int = signal.SIGTERM
    detail: str = ""


@dataclass
class RunState:
    """What a supervisor says about itself and its processes."""

    pid: int
    start: str
    host: str
    began: float
    children: dict[str, ChildState]
    stopping: bool = False
    stopped: bool = False

    def save(self, run: Path) -> None:
        """Write the state into the `run` folder, at once or not at all."""
        write_json(run / STATE_FILE, asdict(self))


def load_state(run: Path) -> RunState | None:
    """The state that a supervisor left in this `run` folder; None when there is none that can be read."""
    try:
        raw = json.loads((run / STATE_FILE).read_text())
        children = {name: ChildState(**child) for name, child in raw.pop("children").items()}
        return RunState(children=children, **raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_json(path: Path, content: object, mode: int = 0o600) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part; survives a power cut."""
    write_whole(path, json.dumps(content, indent=1), mode=mode)

"""Servers that several processes share for a while: started by the first that asks, gone with the last.

Belongs here: who uses a supervised folder, attaching to what runs there, and its end. Not here: which servers
(servers.py, engines.py). What runs in such a folder does not survive a power cut, and need not.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homelab_platform.servers.supervise import launch, processes
from homelab_platform.servers.supervise.spec import USERS_FOLDER, ProcessSpec, RunPlan, load_state, write_json

ENDPOINTS_FILE = "endpoints.json"
SECRETS_FILE = "secrets.json"
PATIENCE = 3600.0
"""Seconds for which one process waits for another that starts the same servers, their installation included."""


@dataclass(frozen=True)
class Shared:
    """What runs in a shared folder. `endpoints` is JSON-able; `secrets` are what processes are given by name."""

    specs: tuple[ProcessSpec, ...]
    endpoints: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)


@contextmanager
def shared_servers(
    folder: Path, make: Callable[[Path], Shared], *, start_timeout: float = 120
) -> Iterator[dict[str, Any]]:
    """The endpoints of servers in `folder`, started by `make`'s word unless another process has; removed with the last.

    All this happens too, within half a minute, when the processes that use them are killed. `start_timeout` in
    seconds. Raises HomelabError when a server cannot start.
    """
    run = folder / "run"
    me = run / USERS_FOLDER / str(os.getpid())
    with launch.exclusive(folder / "lock", timeout=PATIENCE):
        launch.make_run_folder(run)
        me.write_text(processes.start_of(os.getpid()) or "")
        try:
            endpoints = _running(folder, start_timeout) or _start(folder, make, start_timeout)
        except BaseException:
            _leave(folder, me)
            raise
    try:
        yield endpoints
    finally:
        with launch.exclusive(folder / "lock", timeout=PATIENCE):
            _leave(folder, me)


def _leave(folder: Path, me: Path) -> None:
    """Use them no more; the last one out ends them. The caller holds the folder's lock."""
    run = folder / "run"
    me.unlink(missing_ok=True)
    if not any((run / USERS_FOLDER).iterdir()):
        launch.stop_supervisor(run, mark(folder), timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def mark(folder: Path) -> str:
    """In the environment of each process of this folder."""
    return f"HOMELAB_SUPERVISED={folder}"


def _running(folder: Path, timeout: float) -> dict[str, Any] | None:
    run = folder / "run"
    if launch.live_state(run) is None:
        return None
    state = load_state(run)
    names = tuple(state.children) if state else ()
    launch.wait_for(run, folder / "logs", names, timeout=timeout)
    found: dict[str, object] = json.loads((folder / ENDPOINTS_FILE).read_text())
    return found


def _start(folder: Path, make: Callable[[Path], Shared], timeout: float) -> dict[str, Any]:
    run, logs = folder / "run", folder / "logs"
    launch.stop_supervisor(run, mark(folder))
    made = make(folder)
    secrets = folder / SECRETS_FILE
    write_json(secrets, made.secrets)
    plan = RunPlan(mark(folder), str(logs), str(secrets), made.specs, while_users=True, remove=str(folder))
    write_json(folder / ENDPOINTS_FILE, made.endpoints)
    launch.start_supervisor(run, plan)
    launch.wait_for(run, logs, tuple(spec.name for spec in made.specs), timeout=timeout)
    return made.endpoints

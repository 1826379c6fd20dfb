"""Running a playbook on one host over the connection that is open already.

Belongs here: starting ansible-playbook, its settings, reading what it says task by task. Not here: what the roles do
(ansible/) or what follows from a failure (layers/hosts/adapter.py).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.tools.children import dying_with_parent
from homelab_platform.tools.ssh.client import Ssh

LONGEST_PLAY = 3600.0
RETRIES = 3
"""How often a task whose connection broke is run again: modules bear that."""


@dataclass(frozen=True)
class Play:
    """What a play came to. `failed` names the task and what it said; empty if all went well."""

    changed: tuple[str, ...]
    failed: str = ""
    unreachable: bool = False


def program() -> Path:
    """ansible-playbook of this environment. Raises HomelabError if it is not there."""
    found = Path(sys.executable).with_name("ansible-playbook")
    if not found.exists():
        raise HomelabError.of(str(found), "is missing", "Install the locked environment: make setup.")
    return found


def run_playbook(
    playbook: Path,
    ssh: Ssh,
    variables: Mapping[str, str],
    say: Callable[[str], None],
    *,
    secrets: Mapping[str, str] | None = None,
    seconds: float = LONGEST_PLAY,
) -> Play:
    """Run `playbook` on the host of `ssh`; `variables` are extra variables, none of them secret.

    `secrets` go into the play's environment, which only this user can look into; tasks that use them say no_log.
    The play dies with this process, so that a killed controller does not go on deploying without anyone watching.
    Raises HomelabError if Ansible itself fails before any task.
    """
    process = subprocess.Popen(
        _command(playbook, ssh, variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=playbook.parent,
        env=_environment(playbook.parent) | dict(secrets or {}),
        text=True,
        preexec_fn=dying_with_parent(),  # noqa: PLW1509 (one call into libc)
    )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        play = _follow(process, say)
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if code != 0 and not play.failed:
        raise HomelabError.of(ssh.target.where, f"ansible-playbook ended with code {code}: {''.join(errors)[-500:]}")
    return play


def _command(playbook: Path, ssh: Ssh, variables: Mapping[str, str]) -> list[str]:
    target = ssh.target
    ours = {
        "ansible_host": target.address,
        "ansible_port": str(target.port),
        "ansible_user": target.user,
        "ansible_ssh_common_args": shlex.join(ssh.options()),
        **variables,
    }
    return [str(program()), str(playbook), "--inventory", f"{target.name},", "--extra-vars", json.dumps(ours)]


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "homelab_lines",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_SSH_ARGS": "",
        "ANSIBLE_SSH_RETRIES": str(RETRIES),
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', os.defpath)}",
    }


def _follow(process: subprocess.Popen[str], say: Callable[[str], None]) -> Play:
    changed: list[str] = []
    failed, unreachable = "", False
    for line in process.stdout or ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a word of Ansible that is no task's
        if row.get("event") == "ok" and row["changed"]:
            changed.append(row["task"])
            say(row["task"])
        elif row.get("event") in ("failed", "unreachable") and not failed:
            unreachable = row["event"] == "unreachable"
            failed = f"{row['task']}: {row['said']}"
    return Play(tuple(dict.fromkeys(changed)), failed, unreachable)

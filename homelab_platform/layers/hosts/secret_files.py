"""Laying down a host's secret files by its SSH connection, for hosts that no Ansible role does it on.

Belongs here: the shell that writes one file, and which units then start anew. Values go through the connection's
standard input, never into a command.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from homelab_platform.lab.resolved import ResolvedSecret
from homelab_platform.tools.ssh.client import Ssh

CHANGED = "changed"


def write_command(secret: ResolvedSecret) -> str:
    """A shell command that replaces the file by its standard input in one step and says `changed`, if it differs.

    An owner that does not exist yet (its service comes with the system that is about to be switched to) is left to the
    host's own unit `homelab-secrets`; until then the file is root's alone.
    """
    path, new = shlex.quote(secret.path), shlex.quote(f"{secret.path}.new")
    owner = shlex.quote(f"{secret.owner}:{secret.group}")
    folder = shlex.quote(secret.path.rpartition("/")[0] or "/")
    return (
        f"umask 077 && mkdir -p {folder} && cat >{new} && if cmp -s {new} {path}; then rm {new}; "
        f"else mv {new} {path} && echo {CHANGED}; fi && "
        f"if chown {owner} {path} 2>/dev/null; then chmod {secret.mode} {path}; fi"
    )


def hand_over(ssh: Ssh, secrets: Mapping[str, ResolvedSecret], values: Mapping[str, str]) -> list[str]:
    """Write every file; the units that read one that changed, each once."""
    units: list[str] = []
    for name, secret in secrets.items():
        done = ssh.run(write_command(secret), data=values[name].encode(), doing=f"laying down the secret {name}")
        units += secret.units if CHANGED in done.text else ()
    return list(dict.fromkeys(units))


def restart(ssh: Ssh, units: list[str]) -> None:
    """Have units that run read their new secrets; those that do not run read them when they start."""
    for unit in units:
        ssh.run(f"systemctl try-restart {shlex.quote(unit)}", may_fail=(5,), doing=f"restarting {unit}")

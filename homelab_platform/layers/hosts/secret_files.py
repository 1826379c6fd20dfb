"""Laying down a host's secret files by its SSH connection, for hosts that no Ansible role does it on.

Belongs here: which files of a system's list are ours to deliver, what they say, the shell that writes one, and which
units then start anew. Values go through the connection's standard input, never into a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from homelab_platform.lab.resolve.secrets import FOLDER
from homelab_platform.lab.resolved import ResolvedHost
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.tools.nix import SecretFile
from homelab_platform.tools.ssh.client import Ssh

CHANGED = "changed"


def delivered(files: Mapping[str, SecretFile], host: ResolvedHost) -> dict[str, SecretFile]:
    """Those of a system's files that are handed over, by name: they have a source, and lie where the platform put them.

    A file whose path a module changed belongs to whatever makes it there, such as sops-nix.
    """
    found = {}
    for name, file in sorted(files.items()):
        said = host.secrets.get(name)
        if file.sources and file.path == (said.path if said is not None else f"{FOLDER}/{name}"):
            found[name] = file
    return found


def texts(files: Mapping[str, SecretFile], access: HostAccess, host: ResolvedHost) -> dict[str, str]:
    """What each file says, to be used at once and kept nowhere; what has several lines ends with a line's end.

    Raises HomelabError naming the first reference that leads nowhere.
    """
    found = {name: filled(file, access.values_of(host, file.sources)) for name, file in files.items()}
    return {name: f"{text}\n" if "\n" in text and not text.endswith("\n") else text for name, text in found.items()}


def filled(file: SecretFile, values: Mapping[str, str]) -> str:
    """The template of a file with its values in place of their names in braces."""
    return re.sub(r"\{(\w[\w-]*)\}", lambda found: values.get(found[1], found[0]), file.template)


def folder_command(folder: str) -> str:
    """A shell command that makes a folder; services that are not root must be able to pass through our own."""
    made = f"mkdir -p {shlex.quote(folder)}"
    return f"{made} && chmod 711 {FOLDER}" if folder == FOLDER else made


def write_command(file: SecretFile) -> str:
    """A shell command that replaces the file by its standard input in one step and says `changed`, if it differs.

    An owner that does not exist yet comes with the system that is about to be switched to; until `own` runs after that,
    the file is root's alone.
    """
    path, new = shlex.quote(file.path), f"{file.path}.new"
    folder = folder_command(file.path.rpartition("/")[0] or "/")
    return (
        f"umask 077 && {folder} && cat >{shlex.quote(new)} && "
        f"if cmp -s {shlex.quote(new)} {path}; then rm {shlex.quote(new)} && {{ {own_command(file, file.path)}; }}; "
        f"else {own_command(file, new)} && mv {shlex.quote(new)} {path} && echo {CHANGED}; fi"
    )


def own_command(file: SecretFile, path: str) -> str:
    """A shell command that gives the file at `path` its owner and its mode, if the owner is there."""
    owner, there = shlex.quote(f"{file.owner}:{file.group}"), shlex.quote(path)
    return f"if chown {owner} {there} 2>/dev/null; then chmod {file.mode} {there}; fi"


def hand_over(ssh: Ssh, files: Mapping[str, SecretFile], said: Mapping[str, str]) -> list[str]:
    """Write every file; the units that read one that changed, each once."""
    units: list[str] = []
    for name, file in files.items():
        done = ssh.run(write_command(file), data=said[name].encode(), doing=f"handing over the secret {name}")
        units += file.units if CHANGED in done.text else ()
    return list(dict.fromkeys(units))


def own(ssh: Ssh, files: Mapping[str, SecretFile]) -> None:
    """Give files outside our folder their owners, which a switch may just have made; the rest has the host's own unit
    `homelab-secrets` for it.
    """
    for name, file in files.items():
        if file.path != f"{FOLDER}/{name}":
            ssh.run(own_command(file, file.path), doing=f"giving the secret {name} its owner")


def restart(ssh: Ssh, units: Iterable[str]) -> None:
    """Have units that run read their new secrets; those that do not run read them when they start."""
    for unit in units:
        ssh.run(f"systemctl try-restart {shlex.quote(unit)}", may_fail=(5,), doing=f"restarting {unit}")

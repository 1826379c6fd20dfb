"""Small files on another machine over the system's own sftp client.

Belongs here: batches of sftp's commands, what their failures mean, and the same connection for restic. A NAS often lets
backups in by SFTP alone, so no shell is asked for. Not here: which files (layers/backups).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from homelab_platform.errors import HomelabError
from homelab_platform.tools.ssh import errors as ssh_errors
from homelab_platform.tools.ssh.client import OWN_FAILURE, Ssh
from homelab_platform.tools.ssh.target import SshAccess, Target

TIMEOUT = 120.0
"""Seconds that a batch may take: some hundred small files over a slow line."""


class Sftp:
    """A folder of another machine, by its absolute path or one below the login's home."""

    def __init__(self, target: Target, access: SshAccess, folder: str) -> None:
        self.target = target
        self.access = access
        self.folder = folder

    def listing(self) -> list[str]:
        """Names in the folder itself. Raises HomelabError if there is no such folder."""
        said = self._batch([f"cd {_quoted(self.folder)}", "ls -1a"], doing=f"listing {self.folder}")
        names = [line.strip() for line in said.splitlines() if not line.startswith("sftp>")]
        return [name for name in names if name not in ("", ".", "..")]

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """Copy files and whole folders below `folder` into `into`; what is not there is left out."""
        commands = [f"-get -R {_quoted(self._path(name))} {_quoted(str(into / name))}" for name in names]
        self._batch(commands, doing=f"reading {self.folder}")

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, with the folders above it."""
        above = [parent for parent in reversed(PurePosixPath(name).parents) if str(parent) != "."]
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            place, part = self._path(name), self._path(f"{name}.part")
            self._batch(
                [
                    *(f"-mkdir {_quoted(self._path(str(parent)))}" for parent in above),
                    f"put {_quoted(file.name)} {_quoted(part)}",
                    f"rename {_quoted(part)} {_quoted(place)}",
                ],
                doing=f"writing {place}",
            )

    def remove(self, name: str) -> None:
        """Delete a file; no error if there is none."""
        self._batch([f"-rm {_quoted(self._path(name))}"], doing=f"deleting {name}")

    def room(self) -> int | None:
        """Bytes that are free for this login; None where the server does not say."""
        said = self._batch([f"-df {_quoted(self.folder)}"], doing=f"asking for room in {self.folder}")
        rows = [line.split() for line in said.splitlines() if line.strip().endswith("%")]
        return int(rows[-1][2]) * 1024 if rows and rows[-1][2].isdigit() else None

    def transport(self) -> str:
        """The command by which restic reaches the server's SFTP subsystem."""
        return shlex.join(["ssh", *self._options(), "-l", self.target.user, self.target.address, "-s", "sftp"])

    def _path(self, name: str) -> str:
        return f"{self.folder.rstrip('/')}/{name}"

    def _options(self) -> list[str]:
        options = Ssh(self.target, self.access).options(fresh=True)
        return [*options, "-o", f"Port={self.target.port}"]

    def _batch(self, commands: Sequence[str], *, doing: str) -> str:
        login = f"{self.target.user}@{self.target.address}"
        try:
            done = subprocess.run(
                ["sftp", "-b", "-", *self._options(), "--", login],
                input="".join(f"{command}\n" for command in commands),
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise ssh_errors.slow(self.target.where, TIMEOUT, doing) from None
        except FileNotFoundError:
            raise HomelabError.of("sftp", "is not installed here", "Install openssh-client.") from None
        if done.returncode == OWN_FAILURE:
            raise ssh_errors.of_connection(self.target, self.access, done.stderr.strip(), doing)
        if done.returncode:
            said = ssh_errors.last_line(done.stderr) or f"sftp ended with {done.returncode}"
            raise ssh_errors.CommandFailed.of(self.target.where, f"{doing} failed: {said}")
        return done.stdout


def _quoted(path: str) -> str:
    """A path as sftp's own command line takes it."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Commands on the lab's hosts over the system's own OpenSSH client.

Belongs here: one connection per host that all commands share, its settings, time limits, becoming root. Not here: what
is asked or changed there (layers/hosts/adapter.py of the adapters, nix.py), or what a failure means (errors.py).

Host keys are strictly compared with the lab's own file of known hosts, where each host stands by its name in the lab:
an address that another machine took over is found out, a host that moves to another address keeps its key.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.tools.ssh import errors as ssh_errors
from homelab_platform.tools.ssh.target import SshAccess, Target

LONGEST_SOCKET = 48
"""Characters of a socket's folder; with its name of up to 58, it must fit what the kernel takes (107)."""
OWN_FAILURE = 255
"""The exit code by which ssh says that it failed itself."""


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    output: bytes
    errors: str = field(default="")

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")


class Ssh:
    """A host. The first command opens the connection, later ones share it; close() ends it."""

    def __init__(self, target: Target, access: SshAccess) -> None:
        self.target = target
        self.access = access

    def options(self, *, fresh: bool = False) -> list[str]:
        """The settings of ssh for this host; Ansible is given the same. `fresh`: a connection of its own."""
        access = self.access
        checking = "accept-new" if access.first_contact == "accept" else "yes"
        settings = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": checking,
            "UserKnownHostsFile": str(access.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": self.target.name,
            "HashKnownHosts": "no",
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": str(access.connect_timeout),
            "ServerAliveInterval": str(access.alive_every),
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "LogLevel": "ERROR",
            "ControlMaster": "no" if fresh else "auto",
            "ControlPath": "none" if fresh else f"{self._sockets()}/%C",
            "ControlPersist": str(access.keep_open),
        }
        if access.key is not None:
            settings |= {"IdentitiesOnly": "yes", "IdentityFile": str(access.key)}
        return [*access.options, *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]

    def _sockets(self) -> Path:
        """A folder for the connection's socket that only this user may enter."""
        folder = self.access.sockets or self.access.known_hosts.parent / "sockets"
        if len(str(folder)) > LONGEST_SOCKET:
            folder = Path(tempfile.gettempdir()) / f"homelab-ssh-{os.getuid()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
            raise HomelabError.of(str(folder), "others may enter this folder of SSH sockets", f"chmod 700 {folder}")
        return folder

    def command(self, remote: str, *, fresh: bool = False) -> list[str]:
        """The whole command line of ssh that runs the shell text `remote` there."""
        target = self.target
        return [
            "ssh",
            *self.options(fresh=fresh),
            "-p",
            str(target.port),
            "-l",
            target.user,
            "--",
            target.address,
            remote,
        ]

    def run(
        self,
        script: str,
        *,
        data: bytes = b"",
        timeout: float = 60.0,
        root: bool = True,
        fresh: bool = False,
        may_fail: Sequence[int] = (),
        doing: str = "",
    ) -> Done:
        """Run a shell script there and return what it came to.

        `root` becomes root by sudo where the login is another. `fresh` makes a new connection, which is the proof that
        one can be made. Exit codes in `may_fail` are answers; any other but 0 raises HomelabError with the words of the
        command. What keeps the host from answering raises one of ssh_errors' types, before which nothing was run.
        """
        return self._carried_out(
            script, subprocess.PIPE, data, timeout=timeout, root=root, fresh=fresh, may_fail=may_fail, doing=doing
        )

    def fetch(
        self,
        script: str,
        file: Path,
        *,
        data: bytes = b"",
        timeout: float,
        may_fail: Sequence[int] = (),
        doing: str = "",
    ) -> None:
        """Run a shell script there as root and write its output to `file` as it comes; `data` is its input.

        Raises what run() raises: a stream that broke off is an error, whatever of it was written.
        """
        with file.open("wb") as stream:
            self._carried_out(script, stream, data, timeout=timeout, may_fail=may_fail, doing=doing)

    def send(self, script: str, file: Path, *, timeout: float, doing: str = "") -> Done:
        """Run a shell script there as root with the content of `file` as its input. Raises what run() raises."""
        with file.open("rb") as stream:
            return self._carried_out(script, subprocess.PIPE, stream, timeout=timeout, doing=doing)

    def _carried_out(
        self,
        script: str,
        output: int | IO[bytes],
        data: bytes | IO[bytes],
        *,
        timeout: float,
        root: bool = True,
        fresh: bool = False,
        may_fail: Sequence[int] = (),
        doing: str = "",
    ) -> Done:
        inner = f"sh -c {shlex.quote(script)}"
        if root and self.target.user != "root":
            inner = f"sudo -n -- {inner}"
        # A command that ends with ssh's own code must not be taken for a broken connection.
        remote = f"{inner}; code=$?; [ $code -ne {OWN_FAILURE} ] || code=254; exit $code"
        command, environment = self.command(remote, fresh=fresh), {**os.environ, "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command,
                input=data if isinstance(data, bytes) else None,
                stdin=None if isinstance(data, bytes) else data,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=timeout,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise ssh_errors.slow(self.target.where, timeout, doing) from None
        except FileNotFoundError:
            raise HomelabError.of("ssh", "is not installed here", "Install openssh-client.") from None
        errors = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode == OWN_FAILURE:
            raise ssh_errors.of_connection(self.target, self.access, errors, doing)
        if done.returncode == 0 or done.returncode in may_fail:
            return Done(done.returncode, done.stdout or b"", errors)
        raise ssh_errors.of_command(self.target, done.returncode, errors, doing)

    def close(self) -> None:
        """End the shared connection; no error if there is none."""
        exit_master = [*self.command("", fresh=False)[:-1]]
        exit_master[1:1] = ["-O", "exit"]
        subprocess.run(exit_master, capture_output=True, timeout=10, check=False)


def knock(target: Target, timeout: float) -> None:
    """Wait `timeout` seconds at most for the first words of the host's SSH server (RFC 4253, 4.2); logs nobody in.

    Raises Unreachable if it does not speak, HomelabError if something else does.
    """
    try:
        with socket.create_connection((target.address, target.port), timeout=timeout) as connection:
            said = connection.recv(255)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Unreachable.of(
            target.where, f"does not answer ({reason.lower()})", "Is it switched on and in the network?"
        ) from None
    if not said.startswith(b"SSH-"):
        raise HomelabError.of(target.where, "something else than SSH answers", "Is this its address and port?")


@contextmanager
def opened(target: Target, access: SshAccess) -> Iterator[Ssh]:
    """A host whose connection ends with the block."""
    ssh = Ssh(target, access)
    try:
        yield ssh
    finally:
        ssh.close()

"""What keeps a command from running on a host, each with the way out.

Belongs here: the error types, and reading them from what ssh and sudo say (in the C locale). The texts are those of
OpenSSH 7 to 10 (sshconnect.c, packet.c, clientloop.c, mux.c) and sudo 1.8 to 1.9.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError, Unreachable

if TYPE_CHECKING:
    from homelab_platform.tools.ssh.target import SshAccess, Target


class NoAnswer(Unreachable):
    """Nothing answers at the address."""


class Refused(Unreachable):
    """The machine answers, but nothing listens for SSH."""


class Dropped(Unreachable):
    """The connection broke while something was under way: whether that took effect is not known."""


class WrongHostKey(HomelabError):
    """Another key than the known one."""


class UnknownHostKey(HomelabError):
    """A host that was never met."""


class AuthFailed(HomelabError):
    """None of our keys is let in."""


class SudoNeedsPassword(HomelabError):
    """The login may not become root by itself."""


class DiskFull(HomelabError):
    """No room left on the host."""


class CommandFailed(HomelabError):
    """The command ran and failed."""


_NO_ANSWER = re.compile(
    r"timed out|No route to host|Network is unreachable|Could not resolve hostname|Host is down|"
    r"Connection reset by \S+ port \d+$",
    re.MULTILINE,
)
_DROPPED = re.compile(
    r"closed by remote host|Broken pipe|not responding|Connection reset|mux_client|Connection closed|"
    r"Connection to \S+ closed|lost connection|session request failed"
)
_SUDO = re.compile(r"sudo: (a password is required|a terminal is required|no tty present|sorry, you must have a tty)")
_NO_PYTHON = re.compile(r"python3: (command )?not found")
_NOT_SUDOER = re.compile(r"is not (in the sudoers file|allowed to execute)|may not run sudo")


def of_connection(target: Target, access: SshAccess, said: str, doing: str = "") -> HomelabError:
    """The error for ssh's own failure, by what it said."""
    where = target.where
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return WrongHostKey.of(
            where,
            "shows another host key than the one that is known of it",
            f"Set up anew? Then forget the old key: ssh-keygen -R {target.name} -f {access.known_hosts}. "
            "If not, another machine has its address or stands in between: do not log in.",
        )
    if "Host key verification failed" in said or "No ED25519 host key is known" in said:
        return UnknownHostKey.of(
            where,
            "its host key is not known yet",
            "Compare what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows at the host with what "
            f"`ssh-keyscan {target.address}` brings, then add that to {access.known_hosts}, beginning {target.name}.",
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        key = f"the key {access.key}" if access.key else "any key of the SSH agent"
        return AuthFailed.of(
            where,
            f"does not let {target.user} in with {key}",
            f"Add its public key to the lab file (people.{target.user}.ssh), or put it into "
            f"~{target.user}/.ssh/authorized_keys at the host's console.",
        )
    return _of_network(target, said, doing)


def _of_network(target: Target, said: str, doing: str) -> HomelabError:
    where = target.where
    if "Connection refused" in said:
        return Refused.of(
            where,
            "is up, but nothing listens for SSH",
            "At its console: systemctl start ssh. It may also still be starting; it is asked again later.",
        )
    if _NO_ANSWER.search(said):
        detail = "its name leads nowhere" if "resolve" in said else "does not answer"
        return NoAnswer.of(where, detail, "Is it switched on and in the network? It is skipped, and asked again later.")
    if _DROPPED.search(said) or not said:
        return Dropped.of(
            where,
            f"the connection broke{f' while {doing}' if doing else ''}",
            "What was under way may have taken effect or not: it is looked at again before anything else.",
        )
    return Unreachable.of(
        where, f"cannot be logged in to: {last_line(said)}", f"Try: ssh {target.user}@{target.address}"
    )


def of_command(target: Target, code: int, said: str, doing: str = "") -> HomelabError:
    """The error for a command that ran and ended with `code`."""
    where = target.where
    if _SUDO.search(said):
        return SudoNeedsPassword.of(
            where,
            f"sudo asks {target.user} for a password",
            f"At the host: echo '{target.user} ALL=(ALL:ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{target.user}; "
            "or give the lab a person of kind deploy.",
        )
    if _NOT_SUDOER.search(said):
        return SudoNeedsPassword.of(
            where, f"{target.user} may not become root", f"At the host, as root: adduser {target.user} sudo."
        )
    if "No space left on device" in said:
        return DiskFull.of(
            where,
            f"its disk is full{f' ({doing})' if doing else ''}: {last_line(said)}",
            "Make room there (journalctl --vacuum-size=50M, apt-get clean); nothing else was changed.",
        )
    what = doing or "a command"
    if "Read-only file system" in said:
        return CommandFailed.of(
            where,
            f"its disk is mounted read-only ({what}: {last_line(said)})",
            "A worn SD card often shows itself so: look at dmesg there, then mount -o remount,rw / or another card.",
        )
    if _NO_PYTHON.search(said):
        return CommandFailed.of(where, f"has no Python ({what})", "At the host: sudo apt-get install python3.")
    return CommandFailed.of(where, f"{what} failed with code {code}: {last_line(said) or 'without a word'}")


def slow(where: str, seconds: float, doing: str = "") -> HomelabError:
    """The error for a command that did not end in time."""
    return Dropped.of(
        where,
        f"{doing or 'a command'} did not end within {seconds:.0f} s",
        "The host may be overloaded or cut off; it is looked at again before anything else.",
    )


def last_line(said: str) -> str:
    """The last line of a program's words that says something."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""

"""A Debian or Raspberry Pi OS host while it is patched: looked at, updated, restarted.

Belongs here: talking to tools/host/updates.py over SSH. Not here: the order of things (operations/patch.py).
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.hosts.debian import DebianWay
from homelab_platform.layers.hosts.state import unhealthy
from homelab_platform.layers.patches.facts import (
    HostFacts,
    Installing,
    PatchRecord,
    Update,
    read_facts,
    read_installing,
)
from homelab_platform.names import Say
from homelab_platform.tools.ssh.client import Ssh

PROGRAM = "/var/lib/homelab/updates.py"
LOOK_SECONDS = 600.0
"""Seconds for a look that also asks the archives: a Pi 1 over Wi-Fi takes two minutes."""
INSTALL_SECONDS = 3 * 3600.0
SILENCE_SECONDS = 900.0
"""Seconds for which a host may not answer while it updates: its network may restart, or its card be slow."""
POLL_SECONDS = 2.0
_SOURCE = Path(__file__).resolve().parents[2] / "tools" / "host" / "updates.py"


class Machine(Protocol):
    """A host as the procedure sees it."""

    def look(self, *, refresh: bool = False) -> HostFacts:
        """What the host is like; `refresh` asks the archives first. Raises Unreachable if it does not answer."""
        ...

    def boot(self) -> str:
        """The id of its boot, over a new connection. Raises Unreachable if it does not answer."""
        ...

    def install(self, run: str, updates: Sequence[Update], say: Say) -> None:
        """Make these updates and nothing else. Raises HomelabError with apt's own words if they were not made."""

    def reboot(self) -> None:
        """Restart; returns before it goes down."""

    def ailments(self, failed_before: Sequence[str]) -> list[str]:
        """What is wrong with it by its own checks, beyond the units that had failed before."""
        ...

    def note(self, record: PatchRecord) -> None:
        """Leave the record of a patching there."""


class DebianMachine:
    """A host with apt, reached by SSH."""

    def __init__(self, ssh: Ssh, *, node: bool) -> None:
        self._ssh = ssh
        self._node = node

    @property
    def _where(self) -> str:
        return self._ssh.target.where

    def look(self, *, refresh: bool = False) -> HostFacts:
        """What the host is like. Raises HomelabError if apt cannot say, or what tools/ssh raises."""
        words = ["look", *(["refresh"] if refresh else []), *(["node"] if self._node else [])]
        output = self._call(words, doing="looking at its updates", timeout=LOOK_SECONDS, put=True)
        return read_facts(self._where, output)

    def boot(self) -> str:
        """The id of its boot. Raises what tools/ssh raises."""
        return self._ssh.run(
            "cat /proc/sys/kernel/random/boot_id", fresh=True, doing="asking for its boot"
        ).text.strip()

    def _call(self, words: Sequence[str], *, doing: str, data: bytes = b"", timeout: float, put: bool = False) -> bytes:
        """Run the host's program; with `put` it is laid there first, in the same round trip."""
        call = shlex.join(("python3", "-I", "-S", PROGRAM, *words))
        if put:
            source = _SOURCE.read_bytes()
            digest = hashlib.sha256(source).hexdigest()
            call = (
                f"umask 022; mkdir -p {PROGRAM.rpartition('/')[0]} && cat >{PROGRAM}.new && "
                f"echo '{digest}  {PROGRAM}.new' | sha256sum --check --quiet && mv {PROGRAM}.new {PROGRAM} && {call}"
            )
            data = source
        return self._ssh.run(call, data=data, timeout=timeout, fresh=True, doing=doing).output

    def install(self, run: str, updates: Sequence[Update], say: Say) -> None:
        """Have the host make the updates in a unit of its own, and wait for its end; may be repeated."""
        listed = "".join(f"{update.pin}\n" for update in updates).encode()
        began = heard = time.monotonic()
        asked, shown = ["install", run], ""
        while True:
            try:
                output = self._call(asked, doing="updating", data=listed, timeout=60)
            except Unreachable:
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise
            else:
                heard, asked = time.monotonic(), ["state", run]
                now = read_installing(self._where, output)
                if not now.running and self._ended(run, now):
                    return
                asked = asked if now.mine else ["install", run]  # another run's work was still under way there
                if now.line and now.line != shown:
                    shown = now.line
                    say(shown)
            if time.monotonic() - began > INSTALL_SECONDS:
                raise HomelabError.of(
                    self._where, f"its updates do not end within {INSTALL_SECONDS / 3600:.0f} h", "Look at top there."
                )
            time.sleep(POLL_SECONDS)

    def _ended(self, run: str, now: Installing) -> bool:
        """Whether this run's work was done. Raises HomelabError with what went wrong."""
        if not now.mine:
            return False
        if now.code == 0:
            return True
        if now.code is None:
            fault = "its updates were cut off: the host may have restarted in the middle"
        else:
            fault = f"its updates failed with code {now.code}: {now.said}"
        raise HomelabError.of(
            self._where,
            fault,
            "Its log: sudo cat /var/lib/homelab/patching/log. Then: sudo dpkg --configure -a; sudo apt-get upgrade.",
        )

    def reboot(self) -> None:
        """Restart the host a second from now, so that this connection ends well."""
        later = "sync; systemd-run --quiet --collect --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot"
        self._ssh.run(later, fresh=True, doing="restarting")
        self._ssh.close()

    def ailments(self, failed_before: Sequence[str]) -> list[str]:
        """What the host's own checks say: units, exporters, packages, settings without effect."""
        look = DebianWay().look(self._ssh, fresh=True, health=True)
        return list(unhealthy(look, replace(look, failed=tuple(failed_before))))

    def note(self, record: PatchRecord) -> None:
        """Leave the record at the host, where another controller finds it too."""
        self._call(["note"], doing="noting the patching", data=record.model_dump_json().encode(), timeout=60)

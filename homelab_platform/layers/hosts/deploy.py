"""One deploy to one host under the guard that lies there: lock, armed rollback, sign of life, confirmation.

Belongs here: the conversation with guard.sh. Not here: what is changed between begin and confirm.

The host undoes the deploy by itself unless this process confirms it in time over a connection that it made anew. While
the change runs, a sign of life every few seconds puts that off; a killed controller gives none.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.state import HostLook
from homelab_platform.tools import who
from homelab_platform.tools.ssh.client import Done, Ssh

GUARD = "/var/lib/homelab/guard"
BUSY, OVER = 75, 76
"""Exit codes of the guard: another deploy is under way; this deploy is over."""
UNDO_TAKES = 60
"""Seconds that a host may take to undo a deploy, beyond the time until it begins."""

NO_ROOM = "No space left on device"

_SOURCE = Path(__file__).resolve().parents[2] / "tools" / "host" / "guard.sh"


class Locked(HomelabError):
    """Somebody else deploys to the host."""


class RolledBack(HomelabError):
    """The deploy was undone; the host is as it was."""


def guard_source() -> bytes:
    """The guard as it is installed on hosts."""
    return _SOURCE.read_bytes()


def guard_digest() -> str:
    """How a look at the host names the guard of this version (mode, owner, content)."""
    return f"755 0:0 {hashlib.sha256(guard_source()).hexdigest()[:32]}"


class Deploy:
    """A deploy under way. Use as: begin, change, health over a fresh connection, confirm; rollback on any failure."""

    def __init__(self, ssh: Ssh, access: HostAccess, kind: str, claims: str = "") -> None:
        """`claims`: what the deploy may write and an undo may put back, in the guard's words."""
        self.ssh = ssh
        self._claims = claims.encode()
        self.token = uuid.uuid4().hex
        self._access = access
        self._kind = kind
        self._stop = threading.Event()
        self._life: threading.Thread | None = None

    def __enter__(self) -> Deploy:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever happened, nothing puts the rollback off any longer."""
        self._end_life()

    @property
    def _seconds(self) -> int:
        return self._access.confirm_within

    def begin(self, look: HostLook) -> None:
        """Install the guard if need be, take the lock, save what is there, arm the rollback.

        Raises Locked with who deploys, from where and since when; DiskFull if the host cannot save its state. Nothing
        was changed then.
        """
        if look.guard != guard_digest():
            folder = GUARD.rpartition("/")[0]
            put = f"mkdir -p {folder} && cat >{GUARD}.new && chmod 755 {GUARD}.new && mv {GUARD}.new {GUARD}"
            self.ssh.run(put, data=guard_source(), doing="installing the guard")
        holder = self._try_begin()
        if holder and self._is_dead(holder):
            self._guard("rollback", holder["token"], "its controller died", timeout=UNDO_TAKES + 300, may_fail=(OVER,))
            holder = self._try_begin()
        if holder:
            raise Locked.of(
                self.ssh.target.where,
                f"{holder['who']} at {holder['where']} deploys to it since {holder['since']} (process {holder['pid']})",
                f"Wait for it. If that process is gone, the host undoes its work in {holder['rest']} s by itself.",
            )
        self._life = threading.Thread(target=self._live, name=f"life-{self.ssh.target.name}", daemon=True)
        self._life.start()

    def _try_begin(self) -> dict[str, str]:
        words = (self.token, who.person(), who.machine(), str(os.getpid()), str(self._seconds))
        wait = UNDO_TAKES + 300
        done = self._guard("begin", *words, self._kind, data=self._claims, timeout=wait, may_fail=(BUSY,))
        if done.code != BUSY:
            return {}
        return dict(line.split("=", 1) for line in done.text.splitlines() if "=" in line)

    def _is_dead(self, holder: Mapping[str, str]) -> bool:
        """Whether the holder was a process of this machine that is gone."""
        if holder.get("where") != who.machine() or not holder.get("pid", "").isdigit():
            return False
        with suppress(PermissionError):
            try:
                os.kill(int(holder["pid"]), 0)
            except ProcessLookupError:
                return True
        return False

    def _guard(
        self, *words: str, data: bytes = b"", timeout: float = 60.0, fresh: bool = False, may_fail: tuple[int, ...] = ()
    ) -> Done:
        script = shlex.join(("sh", GUARD, *words))
        return self.ssh.run(
            script, data=data, timeout=timeout, fresh=fresh, may_fail=may_fail, doing=f"the guard's {words[0]}"
        )

    def _live(self) -> None:
        while not self._stop.wait(max(1.0, self._seconds / 5)):
            with suppress(HomelabError):  # the next one may come through; if none does, the host undoes the deploy
                self._guard("extend", self.token, str(self._seconds), timeout=self._seconds)

    def _end_life(self) -> None:
        self._stop.set()
        if self._life is not None:
            self._life.join(self._seconds)
            self._life = None

    def confirm(self, applied: Mapping[str, object]) -> None:
        """Keep the change, over a connection made for it, and leave `applied` at the host.

        Raises RolledBack if the host has undone it already.
        """
        self._end_life()
        data = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        done = self._guard("confirm", self.token, data=data, fresh=True, timeout=120, may_fail=(OVER,))
        if done.code == OVER:
            raise RolledBack.of(self.ssh.target.where, "the host has undone the deploy before it could be confirmed")

    def undo(self, reason: str, say: Callable[[str], None]) -> HomelabError:
        """Have the host undo the deploy, or wait until it did so by itself; the error that says what came of it."""
        self._end_life()
        say(f"undoing: {reason}")
        try:
            self._guard("rollback", self.token, reason, timeout=UNDO_TAKES + 300, may_fail=(OVER,))
        except HomelabError:
            say(f"it cannot be reached; it undoes the deploy by itself within {self._seconds} s")
        return self._outcome(reason, time.monotonic() + self._seconds + UNDO_TAKES)

    def _outcome(self, reason: str, until: float) -> HomelabError:
        where = self.ssh.target.where
        while True:
            try:
                rows = self._guard("status", fresh=True).text.splitlines()
                last = dict(row.split("=", 1) for row in rows if "=" in row)
                if last.get("last-token") == self.token:
                    return self._told(reason, last)
                problem = "the host has not undone it yet"
            except Unreachable as error:
                problem = error.problems[0].what
            if time.monotonic() > until:
                return HomelabError.of(
                    where,
                    f"the deploy failed ({reason}) and the host did not come back: {problem}",
                    f"At its console: sh {GUARD} status; sh {GUARD} log.",
                )
            time.sleep(1.0)

    def _told(self, reason: str, last: Mapping[str, str]) -> HomelabError:
        log = ""
        with suppress(HomelabError):
            log = self._guard("log", fresh=True).text
        whole = last.get("last-outcome") == "rolled-back"
        state = "was rolled back" if whole else "was rolled back, but not completely"
        reason = reason or last.get("last-reason", "")
        now = "The host runs what it ran before."
        if NO_ROOM in reason:
            now += " Make room there (journalctl --vacuum-size=50M, apt-get clean) and apply again."
        tail = "\n    ".join(log.strip().splitlines()[-12:])
        return RolledBack.of(
            self.ssh.target.where, f"the deploy {state}: {reason}", f"{now} Its log:\n    {tail}" if tail else now
        )

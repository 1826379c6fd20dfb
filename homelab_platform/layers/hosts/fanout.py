"""Many hosts at once: each in a thread of its own, and those that are off hold nobody up.

Belongs here: waiting. Not here: what is asked of a host (adapter.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from homelab_platform.errors import HomelabError

SIDE_BY_SIDE = 32
"""Hosts that are logged in to at once."""
BEYOND_THE_SLOWEST_SECONDS = 1.2
"""How long hosts that are silent may take beyond the last one that answers: one SYN lost and sent again (RFC 6298)."""
SILENT_SECONDS = 4.0
"""How long a host may be silent when none answers."""

T = TypeVar("T")


class Fanout(Generic[T]):
    """One round over many hosts. `is_there(key, seconds)` asks whether a machine answers at all; `look(key)` may take
    its time and raise HomelabError.
    """

    def __init__(self, is_there: Callable[[str, float], bool], look: Callable[[str], T]) -> None:
        self._is_there = is_there
        self._look = look
        self._turn = threading.Condition()
        self._logins = threading.Semaphore(SIDE_BY_SIDE)
        self._silent: set[str] = set()
        self._results: dict[str, T | HomelabError | BaseException] = {}
        self._last = 0.0

    def round(self, keys: Iterable[str], silent: Callable[[str], HomelabError]) -> dict[str, T | HomelabError]:
        """What each host came to, in the order of `keys`; `silent(key)` for those that did not answer in time.

        A host that answers is waited for however slow it is. Anything but HomelabError in a look is raised here.
        """
        wanted = list(dict.fromkeys(keys))
        self._silent = set(wanted)
        self._last = time.monotonic()
        for key in wanted:
            threading.Thread(target=self._one, args=(key,), name=f"host-{key}", daemon=True).start()
        with self._turn:
            while len(self._results) < len(wanted):
                rest = self._rest(len(wanted))
                if rest is not None and rest <= 0:
                    break
                self._turn.wait(rest)
            found = dict(self._results)
        rows: dict[str, T | HomelabError] = {}
        for key in wanted:
            one = found[key] if key in found else silent(key)
            if isinstance(one, BaseException) and not isinstance(one, HomelabError):
                raise one
            rows[key] = one
        return rows

    def _rest(self, count: int) -> float | None:
        """Seconds to go on waiting; None while a host that answered is being looked at."""
        if len(self._results) + len(self._silent) < count:
            return None
        patience = BEYOND_THE_SLOWEST_SECONDS if self._results else SILENT_SECONDS
        return self._last + patience - time.monotonic()

    def _one(self, key: str) -> None:
        if not self._is_there(key, SILENT_SECONDS):
            return
        with self._turn:
            self._silent.discard(key)
            self._turn.notify()
        result: T | HomelabError | BaseException
        try:
            with self._logins:
                result = self._look(key)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            result = error
        with self._turn:
            self._results[key] = result
            self._last = time.monotonic()
            self._turn.notify()

"""When the bridge received what: on disk before a message's readings are sent on, so that a redelivery keeps its time.

Belongs here: remembering messages that brought no time of their own. Not here: sessions (stream.py).

A broker sends a message of QoS 1 again, with the same packet identifier, until it gets the acknowledgement (MQTT 5.0,
sections 4.3.2 and 4.4). Its readings have been stored by then, perhaps: only the same time makes them the same readings
again. So the time is found by packet identifier and content, as long as the broker may come back to it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from homelab_platform.files import write_whole

MOST = 4096
"""Entries that are kept: several times what a broker may have on the way to us at once."""


@dataclass
class Entry:
    """A message: packet identifier, hash of topic and payload, when it came (µs since 1970), whether it is stored."""

    mid: int
    digest: str
    at_us: int
    stored: bool = False


def digest_of(topic: str, payload: bytes) -> str:
    """What tells messages apart."""
    return hashlib.sha256(topic.encode("utf-8", "surrogatepass") + b"\0" + payload).hexdigest()[:24]


class Journal:
    """The memory of one session. Everything but `save` and `forget` is memory only. Not shared between threads."""

    def __init__(self, file: Path, *, now: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._file = file
        self._now = now
        self._entries: dict[int, Entry] = {}
        self._written = 0
        self._last = 0
        for entry in _read(file):
            self._keep(entry)
            self._written += 1

    def arrival(self, span: int = 1) -> int:
        """The time of a message that comes now, in µs since 1970; the next one is at least `span` µs later.

        It never goes back, so that no two readings of a sensor share a time, unless the clock was set back by more than
        a minute: then the old time was wrong.
        """
        now = self._now()
        at = now if now > self._last or self._last - now > 60_000_000 else self._last + 1
        self._last = at + span - 1
        return at

    def known(self, mid: int, digest: str, *, again: bool) -> Entry | None:
        """The entry of a message that the broker sends once more, or None for a new one.

        `again` is the packet's DUP flag. Without it a packet identifier may be in use again for another message, unless
        that one was never acknowledged.
        """
        entry = self._entries.get(mid)
        if entry is None or entry.digest != digest or not (again or not entry.stored):
            return None
        return entry

    def save(self, entries: Iterable[Entry]) -> None:
        """Put entries on the disk; they are there when this returns. Raises OSError when the disk is full or gone."""
        fresh = list(entries)
        for entry in fresh:
            self._keep(entry)
        if self._written + len(fresh) > 2 * MOST or not self._file.exists():
            self._rewrite()
        elif fresh:
            with self._file.open("ab") as file:
                file.write(b"".join(_line(entry) for entry in fresh))
                file.flush()
                os.fsync(file.fileno())
            self._written += len(fresh)

    def forget(self) -> None:
        """The broker has lost the session: what it sends from now on is new, whatever its packet identifiers."""
        self._entries.clear()
        self._rewrite()

    def _keep(self, entry: Entry) -> None:
        self._entries.pop(entry.mid, None)
        self._entries[entry.mid] = entry
        self._last = max(self._last, entry.at_us)
        while len(self._entries) > MOST:
            self._entries.pop(next(iter(self._entries)))

    def _rewrite(self) -> None:
        write_whole(self._file, b"".join(_line(entry) for entry in self._entries.values()))
        self._written = len(self._entries)


def _line(entry: Entry) -> bytes:
    return orjson.dumps([entry.mid, entry.digest, entry.at_us], option=orjson.OPT_APPEND_NEWLINE)


def _read(file: Path) -> Iterable[Entry]:
    """The entries of a journal; a line that a power cut tore was not saved, so nothing was sent for it."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            found: Any = orjson.loads(line)
            mid, digest, at_us = found
            # Whether it was acknowledged nobody knows any more: only the broker's own word makes it the same again.
            yield Entry(int(mid), str(digest), int(at_us), stored=True)
        except (ValueError, TypeError):
            continue

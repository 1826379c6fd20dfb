"""Streams of the hosts' own readings: lines that a collector wrote, each sample in the bucket's objects once.

Belongs here: what is different from any device's messages. A sample brings its own times, so it can be told from all
others by its bytes; a batch lies on the disk, with the key of its object, before the bucket is asked to keep it, and is
brought to its end after a kill; which samples are stored is remembered, for a collector sends again what its broker may
have forgotten (ansible/roles/collector). Not here: sessions and acknowledgements (stream.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import orjson

from homelab_platform.agents.bridge.outlets import BucketOutlet, Outlet
from homelab_platform.agents.bridge.stream import BridgeStream, Log, Message, StreamBridge
from homelab_platform.files import write_whole
from homelab_platform.wire import payload

MOST = 20_000
"""Samples that are remembered as stored: many times what collectors and broker may send again."""
BATCH_SECONDS = 10.0
"""Seconds for which samples are gathered: an object each, 8640 a day and stream at most."""


class MachineBridge(StreamBridge):
    """Carries one stream of machines into the bucket until stopped. `folder` holds what it remembers."""

    def __init__(self, stream: BridgeStream, folder: Path, outlet: BucketOutlet, rejects: Outlet, log: Log) -> None:
        super().__init__(stream, folder, outlet, rejects, log)
        self._bucket = outlet
        self._stored = Stored(folder / f"{stream.name}.stored")
        self._file = folder / f"{stream.name}.batch"
        self._strangers: set[str] = set()

    def run(self) -> None:
        """Bring the batch of a killed bridge to its end, then carry."""
        if self._finish():
            super().run()
        else:
            self._bucket.close()

    def _lines(self, message: Message) -> bytes:
        """The lines as they came; nothing of a sample that is stored already."""
        if message.digest in self._stored:
            return b""
        host = message.topic.rpartition("/")[2]
        return b"".join(self._line(line, host, message.topic) for line in message.data.splitlines() if line.strip())

    def _line(self, line: bytes, host: str, topic: str) -> bytes:
        """A line of the host itself. One that speaks for another is no reading: a host's user writes its topic alone.

        What is no JSON goes along: the table keeps it with the reason.
        """
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return payload.raw_line(topic.encode(), line)
        if isinstance(found, dict) and found.get("device") == host:
            return line + b"\n"
        if topic not in self._strangers:
            self._strangers.add(topic)
            self._log(f"{topic}: refused: its readings are of another device than {host}")
        return payload.raw_line(f"{topic} of another device".encode(), line)

    def _keep(self, batch: list[Message]) -> bool:
        fresh = {message.digest: message.lines for message in batch if message.lines}
        if not fresh:
            return True
        lines = b"".join(fresh.values())
        made = Batch(self._bucket.key(lines), tuple(fresh), lines)
        return self._until_done(lambda: made.save(self._file)) and self._finish()

    def _finish(self) -> bool:
        """Store the batch that lies on the disk, if one does; False when stopped before that was done."""
        batch = Batch.load(self._file)
        if batch is None:
            return True
        return (
            self._until_done(lambda: self._bucket.put_at(batch.key, batch.lines))
            and self._until_done(lambda: self._stored.add(batch.digests))
            and self._until_done(lambda: self._file.unlink(missing_ok=True))
        )


class Batch(NamedTuple):
    """Samples on their way to one object: its key, what tells the samples apart, their lines."""

    key: str
    digests: tuple[str, ...]
    lines: bytes

    def save(self, file: Path) -> None:
        """Put it on the disk, whole or not at all. Raises OSError."""
        head = orjson.dumps({"key": self.key, "digests": self.digests}, option=orjson.OPT_APPEND_NEWLINE)
        write_whole(file, head + self.lines)

    @classmethod
    def load(cls, file: Path) -> Batch | None:
        """The batch in `file`; None if there is none."""
        try:
            head, _, lines = file.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        found = orjson.loads(head)
        return cls(str(found["key"]), tuple(found["digests"]), lines)


class Stored:
    """Which samples are in the bucket, the newest MOST of them; on the disk when `add` returns."""

    def __init__(self, file: Path) -> None:
        self._file = file
        whole = file.read_bytes().decode("ascii", "replace").split("\n") if file.exists() else [""]
        self._known = dict.fromkeys(whole[:-1])  # what a power cut tore has no end of line
        self._written = len(whole) - 1 if not whole[-1] else 2 * MOST

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def add(self, digests: Iterable[str]) -> None:
        """Remember these. Raises OSError when the disk is full or gone."""
        fresh = [digest for digest in digests if digest not in self._known]
        known = self._known | dict.fromkeys(fresh)
        while len(known) > MOST:
            del known[next(iter(known))]
        if self._written + len(fresh) > 2 * MOST or not self._file.exists():
            write_whole(self._file, _text(known))
            self._written = len(known)
        else:
            before, self._written = self._written, 2 * MOST  # a write that fails may leave half a line
            with self._file.open("ab") as file:
                file.write(_text(fresh))
                file.flush()
                os.fsync(file.fileno())
            self._written = before + len(fresh)
        self._known = known


def _text(digests: Iterable[str]) -> bytes:
    return "".join(f"{digest}\n" for digest in digests).encode()

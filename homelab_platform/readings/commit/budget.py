"""What one object may bring: how old its readings may be, on how many days, how many refused lines of it are kept.

Belongs here: the limits that keep one producer from filling tables and disks, applied to decoded steps. Not here: what
a reading is (decode/record.py), columns (decode/record.py: ExtraColumns), the limits' sizes (contract.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from homelab_platform.readings.decode.columns import Chunk, Decoded, RowBuffer, spelled
from homelab_platform.readings.decode.record import Rejected
from homelab_platform.wire.contract import DAYS_PER_FILE, DAYS_PER_OBJECT, OLDEST_DAYS, REJECTED_PER_OBJECT
from homelab_platform.wire.timestamps import DAY_US

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from homelab_platform.lab.resolved import ResolvedStream

BACKFILL_FOLDER = "files"
"""The folder of a stream for files that people bring: whoever puts one there declares a backfill."""


@dataclass
class Budget:
    """The limits of one object, and what it has used of them. `oldest` in µs since 1970; None: any age."""

    oldest: int | None
    days: int
    oldest_reason: str = ""
    _seen: set[int] = field(default_factory=set)
    _kept: int = 0
    unkept: int = 0  # refused lines beyond those that are kept

    def admit(self, decoded: Decoded, buffer: RowBuffer) -> Decoded:
        """The step without what is beyond the limits, which is refused, and with those refused lines that are kept."""
        chunk, rejected = decoded.chunk, decoded.rejected
        if chunk is not None and len(chunk):
            chunk, refused = self._within(chunk, buffer)
            rejected = rejected + refused
        return Decoded(chunk, self.kept(rejected))

    def kept(self, rejected: list[Rejected]) -> list[Rejected]:
        """Those refused lines that are kept, and once a line that says that others are only counted."""
        room = max(0, REJECTED_PER_OBJECT - self._kept)
        self._kept += min(room, len(rejected))
        over = max(0, len(rejected) - room)
        if not over:
            return rejected
        first = self.unkept == 0
        self.unkept += over
        reason = f"more than {REJECTED_PER_OBJECT:,} lines were refused; the rest is counted in the ledger, not kept"
        return [*rejected[:room], *([Rejected(0, reason, "")] if first else [])]

    def _within(self, chunk: Chunk, buffer: RowBuffer) -> tuple[Chunk, list[Rejected]]:
        refused: list[Rejected] = []
        if self.oldest is not None and int(chunk.ts.min()) < self.oldest:
            chunk = self._without(chunk, buffer, chunk.ts < self.oldest, self.oldest_reason, refused)
        day = chunk.ts // DAY_US
        found = np.unique(day)
        fresh = [d for d in found.tolist() if d not in self._seen]
        room = self.days - len(self._seen)
        self._seen.update(fresh[-room:] if room > 0 else ())
        if len(fresh) > room:
            reason = f"its object holds readings of more than {self.days} days: split it, or bring it as a file"
            over = ~np.isin(day, np.array(sorted(self._seen), dtype=np.int64))
            chunk = self._without(chunk, buffer, over, reason, refused)
        return chunk, refused

    def _without(
        self, chunk: Chunk, buffer: RowBuffer, gone: NDArray[np.bool_], reason: str, refused: list[Rejected]
    ) -> Chunk:
        for row in np.flatnonzero(gone).tolist():
            text = spelled(chunk, buffer, row) if self._kept + len(refused) < REJECTED_PER_OBJECT else ""
            refused.append(Rejected(int(chunk.line[row]), reason, text))
        return chunk.where(~gone)


def budget_of(key: str, stream: ResolvedStream | None) -> Budget:
    """The limits of an object by its key: what arrives by itself may not be old, a file that somebody brings may."""
    if key.split("/")[1:2] == [BACKFILL_FOLDER]:
        return Budget(None, DAYS_PER_FILE)
    kept = stream.keep_table if stream is not None else None
    seconds = OLDEST_DAYS * 86_400 if kept is None else kept
    reason = (
        f"ts is more than {seconds // 86_400} days ago, "
        + ("which is longer than its stream keeps readings" if kept else "too old for a reading that arrives by itself")
        + ": check the producer's clock, or bring old readings as a file (homelab ingest)"
    )
    return Budget(int((time.time() - seconds) * 1_000_000), DAYS_PER_OBJECT, reason)

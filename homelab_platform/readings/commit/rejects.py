"""Refused lines on their way to `default.sensor_data_rejected`.

Belongs here: holding them until they are written, and their columns. Not here: why a line is refused (record).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from homelab_platform.readings.decode.record import Rejected

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema

FULL_LINES = 50_000
FULL_CHARACTERS = 32 * 1024 * 1024


class RejectBuffer:
    """Refused lines by the number of their object."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, Rejected]] = []
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether it is time to write them."""
        return len(self._lines) >= FULL_LINES or self._size >= FULL_CHARACTERS

    def add(self, source: int, rejected: Iterable[Rejected]) -> None:
        """Append lines of an object."""
        for line in rejected:
            self._lines.append((source, line))
            self._size += len(line.raw)

    def drop(self, source: int) -> None:
        """Forget the lines of an object."""
        self._keep([item for item in self._lines if item[0] != source])

    def take(self, current: int | None, *, others: bool) -> list[tuple[int, Rejected]]:
        """Remove and return the lines of all objects but `current`, or of `current` only."""
        out = [item for item in self._lines if (item[0] != current) == others]
        self._keep([item for item in self._lines if (item[0] != current) != others])
        return out

    def _keep(self, lines: list[tuple[int, Rejected]]) -> None:
        self._lines = lines
        self._size = sum(len(line.raw) for _, line in lines)


def rejected_table(schema: Schema, rejected: Sequence[tuple[int, Rejected]], keys: Sequence[str]) -> pa.Table:
    """The lines as rows of the table."""
    import numpy as np
    import pyarrow as pa

    from homelab_platform.readings import arrow
    from homelab_platform.readings.parquet import arrow_schema

    wanted = arrow_schema(schema, ("source", "line", "reason", "raw", "ingested_at", "stream"))
    now = np.full(len(rejected), time.time_ns() // 1000, dtype=np.int64)
    columns = {
        "source": arrow.strings([keys[i] for i, _ in rejected]),
        "line": arrow.fixed(np.array([r.line for _, r in rejected], dtype=np.int64), pa.int64()),
        "reason": arrow.strings([r.reason for _, r in rejected]),
        "raw": arrow.strings([r.raw for _, r in rejected]),
        "ingested_at": arrow.fixed(now, wanted.field("ingested_at").type),
        "stream": arrow.strings([keys[i].split("/", 1)[0] for i, _ in rejected]),
    }
    return pa.Table.from_arrays([columns[f.name] for f in wanted], schema=wanted)

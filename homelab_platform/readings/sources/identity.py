"""Whether a mapping keeps the devices of a foreign file apart, and which column would.

Belongs here: two values for one identity in a file's sample. Not here: the same in a whole delivery, which the commit
finds (readings/commit/parts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from homelab_platform.readings.decode.record import Row


class Collision(NamedTuple):
    """Two records that give two values for one device, sensor and time."""

    first: int
    second: int
    row: Row
    other: float


def collisions(trial: Sequence[tuple[int, Row]]) -> list[Collision]:
    """Readings (with the number of their record) that contradict an earlier one."""
    seen: dict[tuple[str, str, int], tuple[int, float]] = {}
    found: list[Collision] = []
    for number, row in trial:
        key = (row.device, row.sensor, row.ts)
        before = seen.setdefault(key, (number, row.value))
        if before[1] != row.value:
            found.append(Collision(before[0], number, row, before[1]))
    return found


def telling_columns(
    rows: Sequence[Mapping[str, object]], columns: Iterable[str], trial: Callable[[str], list[Collision]]
) -> list[str]:
    """The columns that keep colliding records apart when they name the device."""
    return [
        column for column in columns if all(row.get(column) not in (None, "") for row in rows) and not trial(column)
    ]

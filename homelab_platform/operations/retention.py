"""Which snapshots are given up, and why the others stay.

Belongs here: the rule, as a pure function of records and proofs. Not here: giving them up (backup.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from homelab_platform.layers.backups.records import SnapshotRecord

LEAST_PROVEN = 2
"""So many snapshots that a drill has proven are always kept, however old they are."""
LABELLED = timedelta(days=30)
"""How long a snapshot stays that a person gave a name."""

_PERIODS: Mapping[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda t: (t.year, t.month, t.day, t.hour),
    "daily": lambda t: (t.year, t.month, t.day),
    "weekly": lambda t: t.isocalendar()[:2],
    "monthly": lambda t: (t.year, t.month),
    "yearly": lambda t: (t.year,),
}


def given_up(
    snapshots: Sequence[SnapshotRecord], keep: Mapping[str, int], proven: Collection[str], now: datetime
) -> list[SnapshotRecord]:
    """The snapshots to forget, oldest first; none while the newest one is suspect.

    `keep` counts periods (hourly … yearly) whose newest good snapshot stays; `proven` are the runs whose snapshot a
    drill has proven.
    """
    ordered = sorted(snapshots, key=lambda record: record.made)
    if not ordered or ordered[-1].verdict != "good":
        return []
    good = [record for record in ordered if record.verdict == "good"]
    stays = {good[-1].run}
    stays |= {record.run for record in [r for r in good if r.run in proven][-LEAST_PROVEN:]}
    stays |= {record.run for record in ordered if record.label and now - record.made < LABELLED}
    for word, count in keep.items():
        newest = {_PERIODS[word](record.made): record.run for record in good}
        stays |= set(list(newest.values())[-count:] if count else ())
    return [record for record in ordered if record.run not in stays]

"""Whatever is kept and however snapshots lie: the newest, two proven ones and the promised periods stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.layers.backups.records import SnapshotRecord
from homelab_platform.operations.retention import LEAST_PROVEN, given_up

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)


def snapshot(hours: int, verdict: str = "good", label: str = "") -> SnapshotRecord:
    made = NOW - timedelta(hours=hours)
    words = {"item": "lake", "method": "lake", "snapshot": "s", "root": "", "manifest": "", "key": "", "label": label}
    counts = {"files": 1, "bytes": 1, "added": 1, "rows": 1}
    return SnapshotRecord.model_validate(
        {**words, **counts, "run": f"run-{hours}", "made": made, "ended": made, "verdict": verdict}
    )


@given(
    st.sets(st.integers(0, 24 * 60), min_size=1, max_size=60),
    st.dictionaries(st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly"]), st.integers(0, 10)),
    st.data(),
)
def test_what_is_promised_stays(ages: set[int], keep: dict[str, int], data: st.DataObject) -> None:
    made = [snapshot(age) for age in sorted(ages, reverse=True)]
    proven = data.draw(st.sets(st.sampled_from([record.run for record in made])))
    gone = {record.run for record in given_up(made, keep, proven, NOW)}
    stays = [record for record in made if record.run not in gone]
    assert made[-1] in stays
    assert sum(record.run in proven for record in stays) >= min(LEAST_PROVEN, len(proven))
    days = {record.made.date() for record in made}
    assert len({record.made.date() for record in stays}) >= min(keep.get("daily", 0), len(days))
    assert given_up(stays, keep, proven, NOW) == []


def test_nothing_is_given_up_while_the_newest_is_suspect_or_has_a_name() -> None:
    old, newest = [snapshot(hours) for hours in range(240, 24, -24)], snapshot(1, "suspect")
    assert given_up([*old, newest], {"daily": 1}, set(), NOW) == []
    named = [*old[:-1], snapshot(48, label="before the move"), snapshot(1)]
    assert "run-48" not in {record.run for record in given_up(named, {"daily": 1}, set(), NOW)}

"""Whether the readings are sound: fresh, in range, without gaps, few rejected, none lost on the way.

Belongs here: the verdicts, as pure functions of measurements, each with one line for people. Not here: taking the
measurements (measures.py) or showing verdicts (graph/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

LATE_FACTOR = 5.0  # expected intervals after which a series is late
LATE_LEAST = 600.0  # seconds that collecting, uploading and ingesting may take together
LATE_UNKNOWN = 86_400.0  # for a series without a known pace
RANGE_WARN, RANGE_FAIL = 0.01, 0.10
GAPS_WARN, GAPS_FAIL = 0.05, 0.25
REJECTED_WARN, REJECTED_FAIL = 0.001, 0.05
SHOWN = 10  # worst cases in the metadata


@dataclass(frozen=True)
class CheckResult:
    """A verdict. `description` is one line; `metadata` holds numbers, texts and tables (lists of flat maps).

    `severity` says how bad a failure is; a check that passed has it too, and it means nothing then.
    """

    name: str
    passed: bool
    severity: Literal["warn", "error"]
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesMeasure:
    """One series over the time looked at. `every`: the lab's pace in seconds; `missing`: readings lost in gaps."""

    stream: str
    device: str
    sensor: str
    newest: datetime
    readings: int
    out_of_range: int = 0
    simulated: int = 0
    every: float | None = None
    missing: float = 0
    longest_gap: float = 0

    @property
    def name(self) -> str:
        """`device/sensor`."""
        return f"{self.device}/{self.sensor}"

    @property
    def is_simulated(self) -> bool:
        """Whether nothing of it was measured."""
        return self.simulated == self.readings > 0


@dataclass(frozen=True)
class RejectedMeasure:
    """What one stream got rejected for: lines by reason, beside the readings accepted in the same time."""

    stream: str
    accepted: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Lines rejected."""
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Conservation:
    """What came in, what the ledger says of it, what lies in the tables.

    `waiting` are objects in the bucket that the ledger does not know though they are old enough; `removed` says that
    retention or another engine took rows away, so that the table may hold fewer than the ledger counted.
    """

    objects: int
    known: int
    waiting: Sequence[str]
    quarantined: Sequence[str]
    ledger_rows: int
    table_rows: int
    ledger_rejected: int
    table_rejected: int
    removed: bool = False


def freshness(series: Iterable[SeriesMeasure], now: datetime) -> CheckResult:
    """Whether every measured series goes on: its newest reading is not older than five intervals and ten minutes."""
    measured = [one for one in series if not one.is_simulated]
    if not measured:
        return CheckResult("freshness", False, "warn", "No measured reading in the last week.", {"series": 0})
    late = sorted(
        (one for one in measured if (now - one.newest).total_seconds() > _patience(one)), key=lambda one: one.newest
    )
    newest = max(one.newest for one in measured)
    facts = {
        "series": len(measured),
        "late": len(late),
        "newest": newest.isoformat(),
        "newest_age_seconds": round((now - newest).total_seconds(), 1),
        "late_series": [
            {"series": one.name, "stream": one.stream, "newest": one.newest.isoformat(), "age": age(now - one.newest)}
            for one in late[:SHOWN]
        ],
    }
    if not late:
        text = f"All {len(measured)} series are fresh; the newest reading is {age(now - newest)} old."
        return CheckResult("freshness", True, "warn", text, facts)
    text = (
        f"{len(late)} of {len(measured)} series are late; the longest is {late[0].name}, {age(now - late[0].newest)}."
    )
    return CheckResult("freshness", False, "error" if len(late) == len(measured) else "warn", text, facts)


def _patience(one: SeriesMeasure) -> float:
    return LATE_UNKNOWN if one.every is None else max(LATE_LEAST, LATE_FACTOR * one.every)


def value_range(series: Iterable[SeriesMeasure]) -> CheckResult:
    """Whether values lie in the range that the lab gives their sensor."""
    known = [one for one in series if one.readings]
    return _by_share(
        "range",
        known,
        part=lambda one: one.out_of_range,
        whole=lambda one: one.readings,
        limits=(RANGE_WARN, RANGE_FAIL),
        word="out of range",
    )


def gaps(series: Iterable[SeriesMeasure]) -> CheckResult:
    """Whether readings are missing: those that silences longer than three intervals swallowed."""
    known = [one for one in series if one.every and one.readings and not one.is_simulated]
    if not known:
        return CheckResult("gaps", True, "warn", "No series has a known pace, so none can have gaps.", {"series": 0})
    return _by_share(
        "gaps",
        known,
        part=lambda one: one.missing,
        whole=lambda one: one.readings + one.missing,
        limits=(GAPS_WARN, GAPS_FAIL),
        word="missing",
    )


def _by_share(
    name: str,
    series: Sequence[SeriesMeasure],
    *,
    part: Callable[[SeriesMeasure], float],
    whole: Callable[[SeriesMeasure], float],
    limits: tuple[float, float],
    word: str,
) -> CheckResult:
    """A verdict on a share: of all series together for people, of the worst one for the judgement."""
    ranked = sorted(series, key=lambda one: -part(one) / max(1.0, whole(one)))
    bad = [one for one in ranked if part(one) / max(1.0, whole(one)) > limits[0]]
    total, amount = sum(whole(one) for one in series), sum(part(one) for one in series)
    share = amount / total if total else 0.0
    facts = {
        "readings": sum(one.readings for one in series),
        "share": round(share, 6),
        "worst": [
            {
                "series": one.name,
                "share": f"{part(one) / max(1.0, whole(one)):.2%}",
                word: round(part(one)),
                "longest gap": age(timedelta(seconds=one.longest_gap)) if one.longest_gap else "–",
            }
            for one in ranked[:SHOWN]
            if part(one)
        ],
    }
    if not bad:
        text = f"{share:.2%} of {round(total):,} readings {word}, in no series more than {limits[0]:.0%}."
        return CheckResult(name, True, "warn", text, facts)
    worst = part(bad[0]) / max(1.0, whole(bad[0]))
    text = f"{len(bad)} series with more than {limits[0]:.0%} {word}; the worst is {bad[0].name}, {worst:.0%}."
    return CheckResult(name, False, "error" if worst > limits[1] else "warn", text, facts)


def rejected(streams: Iterable[RejectedMeasure]) -> CheckResult:
    """Whether few lines are no readings."""
    known = list(streams)
    lost, kept = sum(one.rejected for one in known), sum(one.accepted for one in known)
    share = lost / (lost + kept) if lost + kept else 0.0
    reasons: dict[str, int] = {}
    for one in known:
        for reason, count in one.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    facts = {
        "rejected": lost,
        "accepted": kept,
        "share": round(share, 6),
        "reasons": [{"reason": reason, "lines": count} for reason, count in ordered[:SHOWN]],
        "streams": [
            {"stream": one.stream, "accepted": one.accepted, "rejected": one.rejected} for one in known if one.rejected
        ],
    }
    if share <= REJECTED_WARN:
        return CheckResult("rejected", True, "warn", f"{lost:,} of {lost + kept:,} lines rejected.", facts)
    text = f"{share:.1%} of the lines rejected ({lost:,}), most for: {ordered[0][0]}. See `homelab readings rejected`."
    return CheckResult("rejected", False, "error" if share > REJECTED_FAIL else "warn", text, facts)


def conservation(found: Conservation) -> CheckResult:
    """Whether everything that came in is accounted for: bucket against ledger, ledger against tables."""
    wrong: list[str] = []
    if found.waiting:
        wrong.append(f"{len(found.waiting)} objects wait though they are old enough")
    missing = found.ledger_rows - found.table_rows
    if missing < 0 or (missing > 0 and not found.removed):
        wrong.append(f"the ledger counts {found.ledger_rows:,} readings, the table holds {found.table_rows:,}")
    unkept = found.ledger_rejected - found.table_rejected
    if unkept < 0 or (unkept > 0 and not found.removed):
        wrong.append(f"the ledger counts {found.ledger_rejected:,} rejected lines, {found.table_rejected:,} are kept")
    facts = {
        "objects": found.objects,
        "objects_in_ledger": found.known,
        "ledger_rows": found.ledger_rows,
        "table_rows": found.table_rows,
        "ledger_rejected": found.ledger_rejected,
        "table_rejected": found.table_rejected,
        "waiting": [{"object": key} for key in found.waiting[:SHOWN]],
        "quarantined": [{"object": key} for key in found.quarantined[:SHOWN]],
    }
    if not wrong:
        aside = f"; {len(found.quarantined)} objects are quarantined" if found.quarantined else ""
        text = f"{found.known:,} objects and {found.table_rows:,} readings, all accounted for{aside}."
        return CheckResult("conservation", True, "error", text, facts)
    only_waiting = len(wrong) == 1 and bool(found.waiting)
    return CheckResult("conservation", False, "warn" if only_waiting else "error", f"{'; '.join(wrong)}.", facts)


def age(span: timedelta) -> str:
    """A span of time in the largest unit that it has two of."""
    seconds = max(0.0, span.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

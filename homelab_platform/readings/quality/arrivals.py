"""What is unusual about how readings arrive: clocks that are wrong, streams that suddenly bring many times their usual.

Belongs here: these two measurements and their verdicts. Not here: what the readings say (verdicts.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import orjson

from homelab_platform.readings.quality.verdicts import CheckResult, age
from homelab_platform.wire.timestamps import to_microseconds

if TYPE_CHECKING:
    import psycopg
    from duckdb import DuckDBPyConnection

REMEDY = "what to do"
SHOWN = 10
WINDOW = timedelta(days=1)
AHEAD = 120.0  # seconds that a clock may be ahead of ours: two machines with NTP differ by milliseconds
MOST_LINES = 5_000  # refused lines that are read for their device
STEP = timedelta(minutes=15)
STEPS = 96  # of the usual rate: a day
LEAST_STEPS = 8  # with arrivals, before anything is usual
BURST = 10.0  # times the usual
BURST_LEAST = 1_000  # readings in a step; fewer trouble nobody
_FUTURE, _UNSET = "ts is more than one day in the future%", "ts is in 1970%"


@dataclass(frozen=True)
class Clock:
    """A device whose times cannot be right: how many seconds ahead of their ingest (negative: behind), how many
    readings, and whether those were refused.
    """

    device: str
    stream: str
    offset: float
    readings: int
    refused: bool


def measure_clocks(sql: DuckDBPyConnection, now: datetime) -> list[Clock]:
    """The devices whose readings of the last day came from the future, or were refused for their time."""
    ahead = sql.execute(
        "SELECT device, split_part(source, '/', 1), max(epoch(ts) - epoch(ingested_at)), count(*) FROM sensor_data"
        " WHERE date >= $since::DATE AND ingested_at > $since::TIMESTAMPTZ AND ingested_at <= $now::TIMESTAMPTZ"
        " AND epoch(ts) - epoch(ingested_at) > $ahead GROUP BY 1, 2",
        {"since": now - WINDOW, "now": now, "ahead": AHEAD},
    ).fetchall()
    lines = sql.execute(
        "SELECT raw, coalesce(stream, split_part(source, '/', 1)), source, epoch(ingested_at) FROM sensor_data_rejected"
        " WHERE ingested_at > $since::TIMESTAMPTZ AND ingested_at <= $now::TIMESTAMPTZ"
        " AND (reason LIKE $future OR reason LIKE $unset) ORDER BY ingested_at DESC LIMIT $most",
        {"since": now - WINDOW, "now": now, "future": _FUTURE, "unset": _UNSET, "most": MOST_LINES},
    ).fetchall()
    found = [Clock(str(d), str(s), float(offset), int(n), refused=False) for d, s, offset, n in ahead]
    return [*_refused(lines), *found]


def _refused(lines: Iterable[Sequence[Any]]) -> list[Clock]:
    counted: dict[tuple[str, str], tuple[float, int]] = {}
    for raw, stream, source, ingested in lines:
        device, offset = _of_line(str(raw), str(source), float(ingested))
        _, count = counted.get((device, str(stream)), (0.0, 0))
        counted[device, str(stream)] = (offset, count + 1)
    return [Clock(device, stream, offset, n, refused=True) for (device, stream), (offset, n) in counted.items()]


def _of_line(raw: str, source: str, ingested: float) -> tuple[str, float]:
    """Device and offset of a refused line; of one that is not JSON its object, and no offset."""
    try:
        record = orjson.loads(raw)
        device = str(record["device"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"a line of {source}", 0.0
    try:
        return device, to_microseconds(record.get("ts")) / 1e6 - ingested
    except ValueError:
        return device, -ingested  # in 1970


def clocks(found: Iterable[Clock]) -> CheckResult:
    """Whether the devices' clocks can be right."""
    wrong = sorted(found, key=lambda one: (not one.refused, -abs(one.offset)))
    if not wrong:
        return CheckResult("clocks", True, "warn", "No reading of the last day came from the future.", {"devices": 0})
    lost = sum(one.readings for one in wrong if one.refused)
    first = wrong[0]
    text = f"{len(wrong)} device(s) with a wrong clock; {first.device} ({first.stream}) is {_offset(first.offset)}."
    if lost:
        text += f" {lost:,} readings were refused because of that; they are kept in sensor_data_rejected."
    rows = [
        {
            "device": one.device,
            "stream": one.stream,
            "clock": _offset(one.offset),
            "readings": one.readings,
            "what became of them": "refused" if one.refused else "taken in",
        }
        for one in wrong[:SHOWN]
    ]
    remedy = (
        "Set the device's clock (NTP). Refused lines do not come back by themselves: have the producer send them again "
        "with the right time."
    )
    facts = {"devices": len(wrong), "refused": lost, "clocks": rows, REMEDY: remedy}
    return CheckResult("clocks", False, "error" if lost else "warn", text, facts)


def _offset(seconds: float) -> str:
    if not seconds:
        return "off by an unknown time"
    return f"{age(timedelta(seconds=abs(seconds)))} {'ahead' if seconds > 0 else 'behind'}"


@dataclass(frozen=True)
class Rate:
    """Readings of a stream that arrived in the last quarter of an hour with any, and in those of the day before."""

    stream: str
    latest: int
    before: Sequence[int]

    @property
    def usual(self) -> float | None:
        """The median of the quarters in which any arrived; None if there are too few."""
        known = [count for count in self.before if count]
        return median(known) if len(known) >= LEAST_STEPS else None

    @property
    def factor(self) -> float:
        """How many times the usual; 0 where nothing is usual yet."""
        usual = self.usual
        return self.latest / usual if usual else 0.0


def measure_rates(connection: psycopg.Connection, bucket: str, now: datetime) -> list[Rate]:
    """Arrivals of each stream by the ledger: duplicates and refused lines count, as they cost as much."""
    rows = connection.execute(
        "SELECT split_part(key, '/', 1), floor(extract(epoch FROM %s - committed_at) / %s)::int AS step,"
        " sum(rows + duplicates + rejected)::bigint FROM ingest_ledger"
        " WHERE bucket = %s AND committed_at > %s AND committed_at <= %s GROUP BY 1, 2",
        (now, STEP.total_seconds(), bucket, now - STEP * (STEPS + 2), now),
    ).fetchall()
    found: dict[str, dict[int, int]] = {}
    for stream, step, count in rows:
        found.setdefault(str(stream), {})[int(step)] = int(count)
    return [
        Rate(stream, max(steps.get(0, 0), steps.get(1, 0)), [steps.get(n, 0) for n in range(2, STEPS + 2)])
        for stream, steps in sorted(found.items())
    ]


def burst(rates: Iterable[Rate]) -> CheckResult:
    """Whether streams bring what they usually bring, and not ten times as much."""
    known = list(rates)
    wild = sorted((r for r in known if r.factor >= BURST and r.latest >= BURST_LEAST), key=lambda r: -r.factor)
    rows = [
        {"stream": r.stream, "readings in 15 min": r.latest, "usual": r.usual or 0, "times": round(r.factor, 1)}
        for r in sorted(known, key=lambda r: -r.factor)[:SHOWN]
    ]
    facts: dict[str, object] = {"streams": len(known), "rates": rows}
    if not wild:
        return CheckResult("burst", True, "warn", f"{len(known)} streams bring about what they usually bring.", facts)
    first = wild[0]
    text = (
        f"{first.stream} brought {first.latest:,} readings in a quarter of an hour, {first.factor:.0f} times its "
        "usual; nothing of it is lost or held back."
    )
    facts[REMEDY] = (
        "If it goes on, see which device sends: SELECT device, count(*) FROM sensor_data WHERE ingested_at > now() - "
        "INTERVAL '1' HOUR GROUP BY device. A file of old readings does this once and needs nothing."
    )
    return CheckResult("burst", False, "warn", text, facts)

"""The marts: columns with their meaning, the SQL of each, and which days a changed day can change.

Belongs here: definitions only. Not here: running them (refresh.py).

The SQL runs in DuckDB over these relations, which refresh.py makes:
- `readings`: every table of readings as one; only the days that `{dates}` or `{history}` select are read;
- `rejected`: lines that were no readings, or nothing where that table does not exist yet;
- `days(date)`: the days to compute; `sensors(stream, sensor, every)` and `devices(stream, device, site)`: what the
  lab expects, `every` in seconds;
- `getvariable('as_of')`: now, for what depends on how much of the present day is over.
Each statement gives the columns in order, one row for each key, and depends on nothing else: computing a day twice
gives the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

NAMESPACE = "marts"
GAP_FACTOR = 3  # a silence counts as a gap when it is longer than this many expected intervals
GAP_LOOKBACK = 7  # days in which the reading before a gap is looked for
ANOMALY_LOOKBACK = 16  # days of readings that a finding may depend on; see anomalies.MEMORY

Column = tuple[str, str, str]  # name, kind, meaning


@dataclass(frozen=True)
class Mart:
    """One mart. `affects`: how many days after a changed day may change with it; `sort` orders rows in a file."""

    name: str
    about: str
    columns: Sequence[Column]
    sort: Sequence[str]
    sql: str = ""
    affects: int = 0
    empty_days: bool = False  # whether a day without readings has rows

    @property
    def identifier(self) -> str:
        """`marts.<name>`."""
        return f"{NAMESPACE}.{self.name}"

    def schema(self) -> Schema:
        """The Iceberg schema, each column with its meaning."""
        from pyiceberg.schema import Schema
        from pyiceberg.types import (
            DateType,
            DoubleType,
            LongType,
            NestedField,
            PrimitiveType,
            StringType,
            TimestamptzType,
        )

        kinds: dict[str, PrimitiveType] = {
            "date": DateType(),
            "time": TimestamptzType(),
            "text": StringType(),
            "number": DoubleType(),
            "count": LongType(),
        }
        return Schema(
            *(
                NestedField(number, name, kinds[kind], required=False, doc=meaning)
                for number, (name, kind, meaning) in enumerate(self.columns, 1)
            )
        )


_SERIES: tuple[Column, ...] = (
    ("date", "date", "day in UTC; the partition"),
    ("site", "text", "place"),
    ("device", "text", "what measured"),
    ("sensor", "text", "what was measured"),
    ("unit", "text", "unit of the newest reading"),
)
_STATISTICS: tuple[Column, ...] = (
    ("readings", "count", "number of readings"),
    ("min", "number", "smallest value"),
    ("max", "number", "largest value"),
    ("mean", "number", "arithmetic mean of the values"),
    ("stddev", "number", "standard deviation of the values (of the population)"),
    ("first", "number", "value of the earliest reading"),
    ("last", "number", "value of the latest reading"),
    ("p50", "number", "median, interpolated"),
    ("p95", "number", "95th percentile, interpolated"),
    ("out_of_range", "count", "readings outside the range that the lab gives the sensor"),
)
# Sums over sorted lists: the order in which doubles are added must not depend on how the files lie or are read, or a
# day computed twice would differ in the last digit.
_AGGREGATES = """
    arg_max(unit, ts) AS unit,
    count(*) AS readings,
    min(value) AS min,
    max(value) AS max,
    list_sum(list(value ORDER BY ts, value)) / count(*) AS mean,
    sqrt(greatest(0, list_aggregate(list(value ORDER BY ts, value), 'var_pop'))) AS stddev,
    arg_min(value, ts) AS first,
    arg_max(value, ts) AS last,
    quantile_cont(value, 0.5) AS p50,
    quantile_cont(value, 0.95) AS p95,
    count(*) FILTER (quality = 'out_of_range') AS out_of_range"""

READINGS_HOURLY = Mart(
    name="readings_hourly",
    about="Statistics of each sensor for each hour.",
    columns=(_SERIES[0], ("hour", "time", "begin of the hour, UTC"), *_SERIES[1:], *_STATISTICS),
    sort=("device", "sensor", "site", "hour"),
    sql=f"""
SELECT date, date_trunc('hour', ts) AS hour, coalesce(site, '') AS site, device, sensor,{_AGGREGATES}
FROM readings
WHERE {{dates}}
GROUP BY ALL""",  # noqa: S608 - constants only
)

READINGS_DAILY = Mart(
    name="readings_daily",
    about="Statistics of each sensor for each day.",
    columns=(*_SERIES, *_STATISTICS, ("hours", "count", "hours of the day with at least one reading")),
    sort=("device", "sensor", "site"),
    sql=f"""
SELECT date, coalesce(site, '') AS site, device, sensor,{_AGGREGATES},
    count(DISTINCT date_trunc('hour', ts)) AS hours
FROM readings
WHERE {{dates}}
GROUP BY ALL""",  # noqa: S608 - constants only
)

DEVICE_HEALTH = Mart(
    name="device_health",
    about="How complete, fresh and sound the readings of each device were on each day.",
    columns=(
        _SERIES[0],
        ("site", "text", "place; where the device said several, the alphabetically last"),
        _SERIES[2],
        ("readings", "count", "number of readings; 0 for a device that the lab lists and that was silent"),
        ("sensors", "count", "sensors with at least one reading"),
        ("first_seen", "time", "earliest reading of the day"),
        ("last_seen", "time", "latest reading of the day"),
        (
            "silent_seconds",
            "number",
            "time from the latest reading to the end of the day, or to now for the present day",
        ),
        ("expected", "number", "readings expected by the pace of the sensors; empty where the lab gives none"),
        ("completeness", "number", "readings with an expected pace, over expected; may exceed 1"),
        ("out_of_range_share", "number", "share of the readings outside their sensor's range"),
        ("rejected", "count", "lines rejected from the raw objects that delivered this device's readings of the day"),
        ("rejected_share", "number", "rejected over readings and rejected together"),
    ),
    sort=("device",),
    empty_days=True,
    sql="""
WITH r AS (
    SELECT date, device, sensor, site, ts, quality, source, split_part(source, '/', 1) AS stream
    FROM readings WHERE {dates}
), span AS (
    SELECT date, least(date + INTERVAL 1 DAY, getvariable('as_of')::TIMESTAMP) AS until,
        greatest(0, epoch(least(date + INTERVAL 1 DAY, getvariable('as_of')::TIMESTAMP)) - epoch(date)) AS seconds
    FROM days
), seen AS (
    SELECT date, device, max(site) AS site, count(*) AS readings, count(DISTINCT sensor) AS sensors,
        min(ts) AS first_seen, max(ts) AS last_seen,
        count(*) FILTER (quality = 'out_of_range') AS out_of_range
    FROM r GROUP BY ALL
), known AS (
    SELECT date, device, site FROM span, devices WHERE seconds > 0
), pairs AS (
    SELECT DISTINCT date, device, stream, sensor FROM r
    UNION
    SELECT date, device, stream, sensor FROM span, devices JOIN sensors USING (stream) WHERE seconds > 0
), expectation AS (
    SELECT date, device, sum(seconds / every) AS expected
    FROM pairs JOIN sensors USING (stream, sensor) JOIN span USING (date)
    WHERE every > 0 GROUP BY ALL
), paced AS (
    SELECT date, device, count(*) AS readings FROM r JOIN sensors USING (stream, sensor) WHERE every > 0 GROUP BY ALL
), refused AS (
    SELECT date, device, sum(lines)::BIGINT AS rejected
    FROM (SELECT DISTINCT date, device, source FROM r)
    JOIN (SELECT source, count(*) AS lines FROM rejected GROUP BY source) USING (source)
    GROUP BY ALL
)
SELECT date, device,
    coalesce(seen.site, known.site, '') AS site,
    coalesce(seen.readings, 0) AS readings,
    coalesce(seen.sensors, 0) AS sensors,
    first_seen, last_seen,
    greatest(0, epoch(until) - epoch(last_seen)) AS silent_seconds,
    expected,
    CASE WHEN expected > 0 THEN coalesce(paced.readings, 0) / expected END AS completeness,
    out_of_range / seen.readings AS out_of_range_share,
    coalesce(rejected, 0) AS rejected,
    coalesce(rejected, 0) / nullif(coalesce(seen.readings, 0) + coalesce(rejected, 0), 0) AS rejected_share
FROM seen FULL JOIN known USING (date, device) JOIN span USING (date)
LEFT JOIN expectation USING (date, device) LEFT JOIN paced USING (date, device) LEFT JOIN refused USING (date, device)
""",
)

GAPS = Mart(
    name="gaps",
    about="Silences of each sensor that were longer than its pace explains, by the day on which they ended.",
    columns=(
        _SERIES[0],
        *_SERIES[1:4],
        ("gap_start", "time", "last reading before the silence"),
        ("gap_end", "time", "first reading after it"),
        ("seconds", "number", "length of the silence"),
        ("expected_seconds", "number", "pace: the lab's, else the median distance of the day's readings"),
        ("missing", "count", "readings that the pace would have given in between"),
    ),
    sort=("device", "sensor", "gap_end"),
    affects=GAP_LOOKBACK,
    sql=f"""
WITH r AS (
    SELECT date, coalesce(site, '') AS site, device, sensor, ts, split_part(source, '/', 1) AS stream
    FROM readings WHERE {{dates}}
), earlier AS (
    SELECT d.date, e.device, e.sensor, max(e.last) AS last
    FROM (SELECT date, device, sensor, max(ts) AS last FROM readings WHERE {{history}} GROUP BY ALL) e
    JOIN days d ON e.date < d.date AND e.date >= d.date - {GAP_LOOKBACK}
    GROUP BY ALL
), steps AS (
    SELECT r.*, coalesce(lag(ts) OVER (PARTITION BY r.date, r.device, r.sensor ORDER BY ts), last) AS before
    FROM r LEFT JOIN earlier USING (date, device, sensor)
), pace AS (
    SELECT date, device, sensor, median(epoch(ts) - epoch(before)) AS usual, count(*) AS steps
    FROM steps WHERE before IS NOT NULL GROUP BY ALL
), judged AS (
    SELECT steps.*, epoch(ts) - epoch(before) AS seconds,
        coalesce(sensors.every, CASE WHEN pace.steps >= 10 THEN usual END) AS expected_seconds
    FROM steps JOIN pace USING (date, device, sensor) LEFT JOIN sensors USING (stream, sensor)
)
SELECT date, site, device, sensor, before AS gap_start, ts AS gap_end, seconds, expected_seconds,
    greatest(0, round(seconds / expected_seconds) - 1)::BIGINT AS missing
FROM judged
WHERE expected_seconds > 0 AND seconds > {GAP_FACTOR} * expected_seconds
""",  # noqa: S608 - constants only
)

ANOMALIES = Mart(
    name="anomalies",
    about="Readings that are unusual for their own sensor, by comparison with its last fortnight.",
    columns=(
        *_SERIES,
        ("ts", "time", "when; of several readings in five minutes the earliest"),
        ("value", "number", "the value; of several readings in five minutes their median"),
        ("kind", "text", "spike, hour, six_hours, level (the scale at which it stands out) or flat (stands still)"),
        ("score", "number", "how far outside the usual range, in widths of that range"),
        ("low", "number", "lower end of the usual range at that scale"),
        ("high", "number", "upper end of the usual range at that scale"),
    ),
    sort=("device", "sensor", "ts"),
    affects=ANOMALY_LOOKBACK,
)

MARTS: dict[str, Mart] = {mart.name: mart for mart in (READINGS_HOURLY, READINGS_DAILY, DEVICE_HEALTH, GAPS, ANOMALIES)}

"""Pictures of readings: the last day of a sensor as a PNG, a series as one line of text.

Belongs here: drawing. matplotlib is imported when something is drawn, never with this module.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from homelab_platform.tools.endpoints import Lakehouse

Point = tuple[str, datetime, float]  # device, time, value
BARS = "▁▂▃▄▅▆▇█"
MOST_LINES = 8
_SQL = """
SELECT device, min(ts) AS ts, median(value) AS value, any_value(unit) AS unit FROM sensor_data
WHERE date >= $since::DATE AND ts > $since::TIMESTAMPTZ AND ts <= $until::TIMESTAMPTZ AND sensor = $sensor
    AND ($device IS NULL OR device = $device)
GROUP BY device, time_bucket(INTERVAL '5 minutes', ts) ORDER BY device, ts
"""


def plot_last_day(
    source: Lakehouse | Iterable[Point],
    sensor: str,
    *,
    device: str | None = None,
    unit: str = "",
    now: datetime | None = None,
) -> bytes:
    """A PNG of one sensor's last 24 hours, a line for each device (the eight with the most readings).

    `source` is the lake, or points sorted by device and time. A day without readings gives a picture that says so.
    """
    end = now or datetime.now(UTC)
    points: list[Point]
    if isinstance(source, Lakehouse):
        points, found = _read(source, sensor, device, end)
        unit = unit or found
    else:
        points = [p for p in source if end - timedelta(days=1) <= p[1] <= end and device in (None, p[0])]
    lines = {name: list(group) for name, group in groupby(points, key=lambda point: point[0])}
    return _draw(lines, sensor, unit, end)


def _read(lakehouse: Lakehouse, sensor: str, device: str | None, end: datetime) -> tuple[list[Point], str]:
    from homelab_platform.tools.duckdb import connect

    with closing(connect(lakehouse)) as sql:
        rows = sql.execute(
            _SQL, {"since": end - timedelta(days=1), "until": end, "sensor": sensor, "device": device}
        ).fetchall()
    return [(name, ts, value) for name, ts, value, _ in rows], next((str(row[3]) for row in rows if row[3]), "")


def _draw(lines: Mapping[str, Sequence[Point]], sensor: str, unit: str, end: datetime) -> bytes:
    from matplotlib import dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mdates: Any = dates  # matplotlib leaves most of this module untyped
    figure = Figure(figsize=(7.2, 2.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    shown = sorted(lines, key=lambda name: (-len(lines[name]), name))[:MOST_LINES]
    for name in sorted(shown):
        times, values = _with_breaks(lines[name])
        axes.plot(times, values, linewidth=1.2, label=name, marker="." if len(times) < 20 else None, markersize=3)
    axes.set_xlim(mdates.date2num(end - timedelta(days=1)), mdates.date2num(end))
    locator = mdates.AutoDateLocator(tz=UTC, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, tz=UTC))
    axes.set_ylabel(unit or "value")
    axes.set_title(f"{sensor}, last 24 hours (UTC)", fontsize=10, loc="left")
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if not lines:
        axes.text(0.5, 0.5, "no readings", transform=axes.transAxes, ha="center", va="center", alpha=0.6)
    elif len(shown) > 1 or len(lines) > 1:
        axes.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _with_breaks(points: Sequence[Point]) -> tuple[list[datetime], list[float]]:
    """Times and values with a break in the line wherever a silence is far longer than usual."""
    steps = sorted((b[1] - a[1]).total_seconds() for a, b in pairwise(points))
    limit = max(900.0, 4 * steps[len(steps) // 2]) if steps else math.inf
    times: list[datetime] = []
    values: list[float] = []
    for _, ts, value in points:
        if times and (ts - times[-1]).total_seconds() > limit:
            times.append(times[-1] + timedelta(seconds=1))
            values.append(math.nan)
        times.append(ts)
        values.append(value)
    return times, values


def sparkline(values: Iterable[float | None], *, width: int = 24) -> str:
    """A series as one line of bars, at most `width` characters, each the mean of its share; a blank where none is."""
    known = [None if v is None or not math.isfinite(v) else v for v in values]
    if not known:
        return ""
    count = min(width, len(known))
    cells: list[float | None] = []
    for number in range(count):
        part = [v for v in known[number * len(known) // count : (number + 1) * len(known) // count] if v is not None]
        cells.append(math.fsum(part) / len(part) if part else None)
    finite = [cell for cell in cells if cell is not None]
    if not finite:
        return " " * count
    low, span = min(finite), max(finite) - min(finite)
    return "".join(
        " " if cell is None else BARS[round((cell - low) / span * (len(BARS) - 1)) if span else 3] for cell in cells
    )

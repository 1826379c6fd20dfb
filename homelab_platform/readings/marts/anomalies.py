"""Finding what is unusual in one series of readings, without labels and with one set of defaults for every series.

Belongs here: the detector as a pure function of times and values, and its score against labelled windows. Not here:
where the readings come from or where the findings go (marts/anomaly_rows.py).

The method compares a series with its own last fortnight at four scales: single values, and medians over an hour, six
hours and a day. What lies outside the range that the same statistic covered before by more than a share of its width
is unusual. (An hour's median is held against the range of single values, a single value against their extremes.)
Medians over a time span ignore bursts shorter than half of it, and a day's median has no daily cycle, so bursty and
seasonal series stay quiet. A series that stands still far longer than it ever did is unusual too. What happens at time
t is decided from the readings of the fortnight before t only: a finding never depends on the future, nor on where the
calculation began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR = 3600.0
DAY = 86_400.0


@dataclass(frozen=True)
class Scale:
    """One look at a series. Times in seconds; `margin` in widths of the usual range.

    A short median is compared with the range of single values: bursts of an hour are common where bursts are.
    """

    name: str
    window: float  # of the median; 0 for single values
    warm_up: float  # history needed before anything is judged
    margin: float
    against_values: bool = False


SCALES = (
    Scale("spike", 0, 3 * DAY, 0.35, against_values=True),
    Scale("hour", HOUR, 3 * DAY, 0.5, against_values=True),
    Scale("six_hours", 6 * HOUR, 7 * DAY, 2.0),
    Scale("level", DAY, 7 * DAY, 0.7),
)
HISTORY = 14 * DAY
MEMORY = HISTORY + DAY  # how far back a finding may look: the history of the widest median
TAIL = 0.01  # share at each end of the history that does not count as its range
FLOOR = 0.2  # of the width of single values' range: what any scale must leave it by, so that a steady median may wobble
LEAST_POINTS = 50  # of history, whatever time it spans
LEAST_IN_WINDOW = 3  # readings that a median is taken of; fewer say no more than single values
STILL = 6 * HOUR  # the shortest standstill that is ever unusual
STILL_FACTOR = 4.0  # times the longest standstill of the history
EPISODE_GAP = 12 * HOUR


@dataclass(frozen=True)
class Finding:
    """One unusual reading: position in the input, kind (a scale's name or `flat`), the usual range at that moment.

    `score` is how far outside it lies, in widths of the range (for `flat`: standstill over the longest one before).
    """

    index: int
    kind: str
    score: float
    low: float
    high: float


def detect(times: Floats, values: Floats, *, since: float | None = None) -> list[Finding]:
    """The unusual readings among those at or after `since`, in order of time; at most one finding for each.

    `times` in seconds, strictly increasing; readings before `since` are history, of which MEMORY seconds matter.
    """
    if len(times) < LEAST_POINTS:
        return []
    first = 0 if since is None else int(np.searchsorted(times, since))
    if first >= len(times):
        return []
    raw_range = _ranges(times, values, SCALES[0], first)
    best: dict[int, Finding] = {}
    for scale in SCALES:
        smooth = values if scale.window == 0 else _rolling_median(times, values, scale.window)
        for finding in _outside(times, smooth, scale, first, raw_range):
            known = best.get(finding.index)
            if known is None or finding.score > known.score:
                best[finding.index] = finding
    for finding in _still(times, values, first):
        best[finding.index] = finding  # says more than that the same reading is also high or low
    return [best[index] for index in sorted(best)]


def _rolling_median(times: Floats, values: Floats, window: float) -> Floats:
    """The median of the readings of the last `window` seconds at each reading; NaN where those are too few for one."""
    import pandas as pd

    index = pd.to_datetime((times * 1e6).astype("int64"), unit="us")
    rolled = pd.Series(values, index=index).rolling(pd.Timedelta(seconds=window), min_periods=LEAST_IN_WINDOW).median()
    return np.asarray(rolled, dtype=np.float64)


def _ranges(
    times: Floats, smooth: Floats, scale: Scale, first: int, tail: float = TAIL
) -> dict[int, tuple[float, float]]:
    """The usual range in each hour that is judged: the bulk of the history up to one window before that hour.

    Hours count from 1970, and only readings of the last MEMORY seconds are looked at, so that the range does not
    depend on where the input begins.
    """
    found: dict[int, tuple[float, float]] = {}
    for hour in np.unique(times[first:] // HOUR).astype(int):
        begin, end = hour * HOUR - HISTORY, hour * HOUR - scale.window
        known = times[np.searchsorted(times, begin - scale.window)]
        a, b = np.searchsorted(times, (max(begin, known + scale.window), end))  # medians whose window had filled
        if b - a < LEAST_POINTS or end - times[a] < scale.warm_up - 2 * scale.window - HOUR:
            continue
        history = smooth[a:b]
        history = history[np.isfinite(history)]
        if len(history) < LEAST_POINTS:
            continue
        low, high = np.quantile(history, (tail, 1 - tail))
        found[int(hour)] = (float(low), float(high))
    return found


def _outside(
    times: Floats, smooth: Floats, scale: Scale, first: int, raw_range: Mapping[int, tuple[float, float]]
) -> list[Finding]:
    found = []
    if scale.window == 0:  # a single value has to beat every single value: rare spikes that recur are usual, too
        ranges: Mapping[int, tuple[float, float]] = _ranges(times, smooth, scale, first, tail=0)
    else:
        ranges = raw_range if scale.against_values else _ranges(times, smooth, scale, first)
    for hour, (low, high) in ranges.items():
        if hour not in raw_range:
            continue
        bulk = raw_range[hour][1] - raw_range[hour][0]
        width = bulk if scale.against_values else max(high - low, FLOOR * bulk / scale.margin)
        if width <= 0:
            width = max(abs(high), 1e-9) * 0.01  # a series that never moved: a hundredth of itself
        a, b = np.searchsorted(times, (hour * HOUR, (hour + 1) * HOUR))
        a = max(int(a), first)
        beyond = np.maximum(low - smooth[a:b], smooth[a:b] - high) / width
        for offset in np.flatnonzero(beyond > scale.margin):
            found.append(Finding(a + int(offset), scale.name, float(beyond[offset]), low, high))
    return found


def _still(times: Floats, values: Floats, first: int) -> list[Finding]:
    """The moments at which a standstill gets far longer than any of the week before it.

    A series that mostly stands is left alone: its standstills are long already.
    """
    change = np.flatnonzero(np.diff(values) != 0) + 1
    starts = times[np.concatenate(([0], change))]
    ends = np.concatenate((change, [len(values)])) - 1
    lengths = times[ends] - starts
    found = []
    for number in np.flatnonzero((lengths >= STILL) & (ends >= first)):
        begin = starts[number]
        earlier = (starts >= begin - 7 * DAY) & (starts < begin)
        if earlier.sum() < LEAST_POINTS or begin - starts[earlier][0] < 2 * DAY:
            continue
        usual = float(lengths[earlier].max())
        due = begin + max(STILL, STILL_FACTOR * usual)
        index = int(np.searchsorted(times, due))
        if due - begin <= 7 * DAY and first <= index <= ends[number]:
            value = float(values[index])
            found.append(Finding(index, "flat", float((times[index] - begin) / max(usual, 1.0)), value, value))
    return found


# Scoring against labelled windows


@dataclass(frozen=True)
class Score:
    """How findings meet labelled windows, as counts, so that several series can be added up.

    Findings less than EPISODE_GAP apart make one episode: what a person would get one message for.
    """

    windows: int = 0
    windows_hit: int = 0  # windows with at least one finding inside
    episodes: int = 0
    episodes_right: int = 0  # episodes that meet at least one window
    points: int = 0  # findings
    points_right: int = 0  # findings inside a window
    points_labelled: int = 0  # readings inside a window
    readings: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def window_recall(self) -> float:
        """Share of the labelled windows with at least one finding."""
        return self.windows_hit / self.windows if self.windows else 1.0

    @property
    def window_precision(self) -> float:
        """Share of the episodes that meet a labelled window."""
        return self.episodes_right / self.episodes if self.episodes else 1.0

    @property
    def point_recall(self) -> float:
        """Share of the readings inside windows that were found."""
        return self.points_right / self.points_labelled if self.points_labelled else 1.0

    @property
    def point_precision(self) -> float:
        """Share of the findings that lie inside a window."""
        return self.points_right / self.points if self.points else 1.0


def score(times: Floats, findings: Sequence[Finding], windows: Sequence[tuple[float, float]]) -> Score:
    """Compare the findings of one series with its labelled windows (both ends inclusive, in seconds)."""
    at = np.asarray([times[finding.index] for finding in findings], dtype=np.float64)

    def inside(moments: Floats) -> NDArray[np.bool_]:
        hit = np.zeros(len(moments), dtype=bool)
        for begin, end in windows:
            hit |= (moments >= begin) & (moments <= end)
        return hit

    episodes = np.split(at, np.flatnonzero(np.diff(at) >= EPISODE_GAP) + 1) if len(at) else []
    return Score(
        windows=len(windows),
        windows_hit=sum(bool(((at >= begin) & (at <= end)).any()) for begin, end in windows),
        episodes=len(episodes),
        episodes_right=sum(bool(inside(episode).any()) for episode in episodes),
        points=len(at),
        points_right=int(inside(at).sum()),
        points_labelled=int(inside(times).sum()),
        readings=len(times),
    )

"""The anomaly detector: quiet on what is usual, awake to what is not, and independent of where it starts."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.paths import project_path
from homelab_platform.readings.marts import anomalies as an

LABELLED = project_path("..", "shared", "data", "nab")
STEP = 300.0
WEEKS = np.arange(0, 21 * an.DAY, STEP)


def _usual(seed: int = 1) -> an.Floats:
    noise = np.random.default_rng(seed).normal(0, 0.5, len(WEEKS))
    return np.asarray(20 + 4 * np.sin(WEEKS / an.DAY * 2 * np.pi) + noise, dtype=np.float64)


def _kinds(values: an.Floats, since: float = 16 * an.DAY) -> set[str]:
    return {finding.kind for finding in an.detect(WEEKS, values, since=since)}


@pytest.mark.parametrize("seed", range(3))
def test_a_daily_cycle_with_noise_is_quiet(seed: int) -> None:
    assert an.detect(WEEKS, _usual(seed)) == []


def test_regular_bursts_are_quiet() -> None:
    values = np.where(np.arange(len(WEEKS)) % 36 < 5, 95.0, 30.0) + np.random.default_rng(2).normal(0, 1, len(WEEKS))
    assert an.detect(WEEKS, values) == []


def test_steady_growth_is_quiet() -> None:
    assert an.detect(WEEKS, WEEKS / an.DAY) == []


def test_a_spike_a_long_shift_and_a_standstill_are_found() -> None:
    spike = _usual()
    spike[5000] = 90
    assert "spike" in _kinds(spike)
    shifted = _usual()
    shifted[5000:] += 8
    assert "level" in _kinds(shifted)
    still = _usual()
    still[5000:] = still[5000]
    found = [finding for finding in an.detect(WEEKS, still, since=16 * an.DAY) if finding.kind == "flat"]
    assert len(found) == 1
    assert WEEKS[found[0].index] - WEEKS[5000] >= an.STILL


def test_a_series_that_never_moved_says_so_when_it_moves() -> None:
    values = np.full(len(WEEKS), 5.0)
    assert an.detect(WEEKS, values) == []
    values[5000] = 6
    assert _kinds(values) == {"spike"}


def test_a_short_history_judges_nothing() -> None:
    values = _usual()
    values[500] = 1000
    assert an.detect(WEEKS[:600], values[:600]) == []
    assert an.detect(WEEKS[:10], values[:10]) == []


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4 * 288), st.floats(-30, 30), st.floats(0.01, 0.3))
@pytest.mark.slow
def test_a_finding_depends_on_the_last_fortnight_only(seed: int, offset: int, jump: float, lost: float) -> None:
    rng = np.random.default_rng(seed)
    times, values = WEEKS.copy(), _usual(seed)
    values[5000 : 5000 + int(rng.integers(1, 400))] += jump
    kept = rng.random(len(times)) > lost
    times, values = times[kept], values[kept]
    since = 16 * an.DAY + offset * STEP
    whole = [(times[f.index], f.kind, f.score) for f in an.detect(times, values) if times[f.index] >= since]
    late = times >= since - an.MEMORY - an.HOUR
    part_times, part_values = times[late], values[late]
    part = [(part_times[f.index], f.kind, f.score) for f in an.detect(part_times, part_values, since=since)]
    assert part == whole


def test_the_score_counts_windows_episodes_and_points() -> None:
    times = np.arange(0, 10 * an.DAY, an.HOUR)
    findings = [an.Finding(i, "spike", 1, 0, 0) for i in (24, 25, 100, 200)]
    score = an.score(times, findings, [(24 * an.HOUR, 30 * an.HOUR), (150 * an.HOUR, 160 * an.HOUR)])
    assert (score.windows, score.windows_hit, score.episodes, score.episodes_right) == (2, 1, 3, 1)
    assert (score.points, score.points_right, score.points_labelled) == (4, 2, 7 + 11)
    assert (score + score).windows == 4
    assert an.Score().window_precision == 1


def _labelled(name: str) -> tuple[an.Floats, an.Floats, list[tuple[float, float]]]:
    def seconds(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    with (LABELLED / name).open() as file:
        rows = {seconds(row["timestamp"]): float(row["value"]) for row in csv.DictReader(file)}
    windows = json.loads((LABELLED / "anomaly_windows.json").read_text())[name]
    times = np.array(sorted(rows))
    return times, np.array([rows[t] for t in times]), [(seconds(a), seconds(b)) for a, b in windows]


@pytest.mark.skipif(not Path(LABELLED).is_dir(), reason="the labelled series are not beside the project")
def test_the_labelled_windows_of_real_series_are_found_without_many_false_alarms() -> None:
    total = an.Score()
    for name in sorted(path.name for path in LABELLED.glob("*.csv")):
        times, values, windows = _labelled(name)
        total += an.score(times, an.detect(times, values), windows)
    assert total.window_recall >= 0.8
    assert total.window_precision >= 0.7
    assert total.point_precision >= 0.8
    assert total.point_recall >= 0.25

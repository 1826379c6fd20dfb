"""How well the anomaly detector meets labelled windows of real series, and what it costs.

Precision and recall by window: a window is found if at least one finding lies inside; findings less than twelve hours
apart are one episode (one message to a person), which is right if any of it lies inside a window. By point: readings
and findings one by one. Peers, scored the same way, both over the last fortnight: a robust z-score (distance from the
median in MADs, with the usual limit of 3.5) and Tukey's outer fences (three widths of the quartiles beyond them). One
set of defaults, no label is read before scoring.

`python bench/anomalies.py [FOLDER]`: the folder holds CSV files `timestamp,value` and `anomaly_windows.json`, or it is
a checkout of the Numenta Anomaly Benchmark: of each of its folders every second series by name is held back, and only
those are scored. The limits were chosen on the others.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from common import PROJECT, close, table

from homelab_platform.readings.marts import anomalies as an

FOLDER = PROJECT.parent / "shared" / "data" / "nab"
TUNED = {"machine_temperature_system_failure.csv", "cpu_utilization_asg_misconfiguration.csv"}
GOAL_RECALL, GOAL_PRECISION = 0.8, 0.7


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _series(path: Path) -> tuple[an.Floats, an.Floats]:
    with path.open() as file:
        rows = {_seconds(row["timestamp"]): float(row["value"]) for row in csv.DictReader(file)}
    times = np.array(sorted(rows))
    return times, np.array([rows[moment] for moment in times])


def _peer(times: an.Floats, values: an.Floats) -> list[an.Finding]:
    """Robust z-score over the fortnight before each hour."""
    found: list[an.Finding] = []
    for hour in np.unique(times // an.HOUR):
        a, b, c = np.searchsorted(times, (hour * an.HOUR - an.HISTORY, hour * an.HOUR, (hour + 1) * an.HOUR))
        if b - a < an.LEAST_POINTS or times[b - 1] - times[a] < 3 * an.DAY:
            continue
        middle = float(np.median(values[a:b]))
        spread = 1.4826 * float(np.median(np.abs(values[a:b] - middle))) or 1e-9
        scores = np.abs(values[b:c] - middle) / spread
        found += [an.Finding(int(b + i), "z", float(scores[i]), 0, 0) for i in np.flatnonzero(scores > 3.5)]
    return found


def _fences(times: an.Floats, values: an.Floats) -> list[an.Finding]:
    """Tukey's outer fences over the fortnight before each hour."""
    found: list[an.Finding] = []
    for hour in np.unique(times // an.HOUR):
        a, b, c = np.searchsorted(times, (hour * an.HOUR - an.HISTORY, hour * an.HOUR, (hour + 1) * an.HOUR))
        if b - a < an.LEAST_POINTS or times[b - 1] - times[a] < 3 * an.DAY:
            continue
        low, high = np.quantile(values[a:b], (0.25, 0.75))
        width = 3 * max(float(high - low), 1e-9)
        beyond = (values[b:c] < low - width) | (values[b:c] > high + width)
        found += [an.Finding(int(b + i), "fence", 1, float(low), float(high)) for i in np.flatnonzero(beyond)]
    return found


METHODS = {"ours": an.detect, "robust z-score": _peer, "Tukey's fences": _fences}


def _labelled(folder: Path) -> tuple[Path, dict[str, list[tuple[str, str]]]]:
    """Where the series lie, and the windows of those that are scored; none when the folder holds no labels."""
    whole = folder / "labels" / "combined_windows.json"
    if not whole.is_file():
        own = folder / "anomaly_windows.json"
        return folder, json.loads(own.read_text()) if own.is_file() else {}
    labels, count, held = json.loads(whole.read_text()), Counter[str](), {}
    for name in sorted(labels):
        if name.rsplit("/", 1)[-1] in TUNED:
            continue
        group = name.split("/", 1)[0]
        count[group] += 1
        if count[group] % 2 == 0:
            held[name] = labels[name]
    return folder / "data", held


def main(folder: Path) -> None:
    """Score every labelled series of the folder, print the table and the closing line."""
    folder, labels = _labelled(folder)
    if not labels:
        print(f"no labelled series in {folder}")
        close("anomalies", 0, "window F1", goal="labelled series present", met=False)
        return
    rows = []
    totals = {name: an.Score() for name in METHODS}
    spent = dict.fromkeys(totals, 0.0)
    for name in sorted(labels):
        times, values = _series(folder / name)
        windows = [(_seconds(begin), _seconds(end)) for begin, end in labels[name]]
        for method, find in METHODS.items():
            begin = time.process_time()
            findings = find(times, values)
            spent[method] += time.process_time() - begin
            score = an.score(times, findings, windows)
            totals[method] += score
            rows.append((name.removesuffix(".csv"), method, *_cells(score)))
    rows += [("all", method, *_cells(score)) for method, score in totals.items()]
    header = ("series", "method", "windows found", "episodes right", "point precision", "point recall")
    table(header, rows)
    print("CPU-seconds: " + ", ".join(f"{method} {seconds:.2f}" for method, seconds in spent.items()))
    print("window F1: " + ", ".join(f"{method} {_f1(score):.3f}" for method, score in totals.items()))
    ours = _f1(totals["ours"])
    best, peer = max(((name, _f1(totals[name])) for name in totals if name != "ours"), key=lambda one: one[1])
    recall, precision = totals["ours"].window_recall, totals["ours"].window_precision
    close(
        "anomalies",
        ours,
        "window F1",
        peer=best,
        ratio=ours / peer if peer else None,
        goal=f"window recall >= {GOAL_RECALL}, precision >= {GOAL_PRECISION}",
        met=recall >= GOAL_RECALL and precision >= GOAL_PRECISION,
    )


def _cells(score: an.Score) -> tuple[str, str, str, str]:
    return (
        f"{score.windows_hit} of {score.windows}",
        f"{score.episodes_right} of {score.episodes}",
        f"{score.point_precision:.3f}",
        f"{score.point_recall:.3f}",
    )


def _f1(score: an.Score) -> float:
    both = score.window_recall + score.window_precision
    return 2 * score.window_recall * score.window_precision / both if both else 0.0


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

"""How well the anomaly detector meets labelled windows of real series, and what it costs.

Precision and recall by window: a window is found if at least one finding lies inside; findings less than twelve hours
apart are one episode (one message to a person), which is right if any of it lies inside a window. By point: readings
and findings one by one. The peer is a robust z-score (distance from the median of the last fortnight in MADs, with the
usual limit of 3.5), scored the same way. One set of defaults, no label is read before scoring.

`python bench/anomalies.py [FOLDER]`: the folder holds CSV files `timestamp,value` and `anomaly_windows.json`.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from common import PROJECT, close, table

from homelab_platform.readings.marts import anomalies as an

FOLDER = PROJECT.parent / "shared" / "data" / "nab"
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


def main(folder: Path) -> None:
    """Score every labelled series of the folder, print the table and the closing line."""
    if not (folder / "anomaly_windows.json").is_file():
        print(f"no labelled series in {folder}")
        close("anomalies", 0, "window F1", goal="labelled series present", met=False)
        return
    labels = json.loads((folder / "anomaly_windows.json").read_text())
    rows = []
    totals = {"ours": an.Score(), "robust z-score": an.Score()}
    spent = dict.fromkeys(totals, 0.0)
    for name in sorted(labels):
        times, values = _series(folder / name)
        windows = [(_seconds(begin), _seconds(end)) for begin, end in labels[name]]
        for method, find in (("ours", an.detect), ("robust z-score", _peer)):
            begin = time.process_time()
            findings = find(times, values)
            spent[method] += time.process_time() - begin
            score = an.score(times, findings, windows)
            totals[method] += score
            rows.append((name.removesuffix(".csv"), method, *_cells(score)))
    rows += [("all", method, *_cells(score)) for method, score in totals.items()]
    header = ("series", "method", "windows found", "episodes right", "point precision", "point recall")
    table(header, rows)
    print(f"CPU-seconds: ours {spent['ours']:.2f}, peer {spent['robust z-score']:.2f}")
    ours, peer = (_f1(totals[method]) for method in totals)
    recall, precision = totals["ours"].window_recall, totals["ours"].window_precision
    close(
        "anomalies",
        ours,
        "window F1",
        peer="robust z-score",
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

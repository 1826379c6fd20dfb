"""What every benchmark shares: running a child and counting its CPU-seconds, medians, the closing JSON line.

Belongs here: measuring and printing. Not here: what is measured. Figures are user + system CPU-seconds of the whole
child process and its own children, as the kernel accounts them, so that two cores and a busy neighbour matter little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parent.parent
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""As on any machine: both sides may keep their compiled modules."""


@dataclass(frozen=True)
class Usage:
    """What one child cost: CPU-seconds (user + system), wall seconds, peak resident bytes, exit code."""

    cpu: float
    wall: float
    peak_rss: int
    code: int
    stdout: str


def run_child(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> Usage:
    """Run a command to its end and account for it; its standard error passes through."""
    started = time.monotonic()
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **(env or {})}, cwd=cwd, text=True)
    assert child.stdout is not None
    text = child.stdout.read()
    _pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Usage(
        cpu=usage.ru_utime + usage.ru_stime,
        wall=time.monotonic() - started,
        peak_rss=usage.ru_maxrss * 1024,
        code=child.returncode,
        stdout=text,
    )


def interleaved(
    ours: Sequence[str],
    peer: Sequence[str],
    *,
    runs: int,
    env: Mapping[str, str] | None = None,
) -> tuple[list[Usage], list[Usage]]:
    """Run both commands in turn, `runs` times each, so that a drift of the machine hits both alike."""
    pairs = [(run_child(ours, env=env), run_child(peer, env=env)) for _ in range(runs)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def say(text: str) -> None:
    """One line of progress beside the result."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))


def least(values: Sequence[float]) -> float:
    """The minimum: on a shared machine what a neighbour takes is only ever added."""
    return float(min(values))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a plain aligned table."""
    text = [[str(c) for c in row] for row in rows]
    widths = [max(len(h), *(len(r[i]) for r in text)) if text else len(h) for i, h in enumerate(headers)]
    for row in (list(headers), ["-" * w for w in widths], *text):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def close(
    name: str, value: float, unit: str, *, goal: str, met: bool, peer: str | None = None, ratio: float | None = None
) -> None:
    """Print the closing JSON line of a benchmark."""
    line = {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "peer": peer,
        "ratio": None if ratio is None else round(ratio, 4),
        "goal": goal,
        "met": met,
    }
    print(json.dumps(line), flush=True)
    sys.stdout.flush()

"""Synthetic readings for the ingest benchmarks: gzip NDJSON as a home's sensors would send it, eight fields a line.

Belongs here: making the files, deterministically. Values are random walks with two decimals; 100 devices of four
sensors report in turn, each once a minute.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

DEVICES, SENSORS = 100, ("temperature", "humidity", "pressure", "illuminance")
UNITS = {"temperature": "°C", "humidity": "%", "pressure": "hPa", "illuminance": "lx"}
START = datetime(2026, 10, 1, tzinfo=UTC)


def write_files(folder: Path, rows: int, files: int) -> list[Path]:
    """`files` gzip NDJSON files with `rows` readings in all, in order of time."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    walk: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.full(DEVICES * len(SENSORS), 20.0)
    paths = []
    per_file = rows // files
    for number in range(files):
        path = folder / f"{number:04}.ndjson.gz"
        paths.append(path)
        if path.exists():
            continue
        with gzip.open(path.with_suffix(".part"), "wb", compresslevel=6) as out:
            _write(out, random, walk, number * per_file, per_file)
        path.with_suffix(".part").rename(path)
    return paths


def _write(out: gzip.GzipFile, random: np.random.Generator, walk: np.ndarray, first: int, count: int) -> None:
    series = len(walk)
    steps = random.normal(0, 0.2, count)
    for offset in range(0, count, 50_000):
        lines = []
        for i in range(first + offset, first + min(count, offset + 50_000)):
            which, minute = i % series, i // series
            walk[which] += steps[i - first]
            sensor = SENSORS[which % len(SENSORS)]
            ts = (START + timedelta(minutes=minute, milliseconds=which * 37)).isoformat(timespec="milliseconds")
            lines.append(
                f'{{"ts":"{ts[:-6]}Z","site":"home","device":"esp32-{which // len(SENSORS):03}","sensor":"{sensor}",'
                f'"value":{walk[which]:.2f},"unit":"{UNITS[sensor]}","quality":"ok","sequence":{i}}}\n'
            )
        out.write("".join(lines).encode())

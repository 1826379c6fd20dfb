"""A week's window over 100 million readings: Trino, `homelab query`'s own path on DuckDB, and the floor.

The floor is DuckDB reading the very Parquet files of that week by their names, with no table, catalog or metadata,
over a connection that is open already. Like the others it fetches them from the S3 server each time: the cache of
remote files, which serves a connection's second look from memory, is off. With that cache it is shown beside them.
The data are 100 days of 116 series with a reading every ten seconds, written once by the encoder that ingest uses (one
sorted file a day, as compaction leaves it) into a cache outside the checkout, then uploaded to a scratch S3 server and
committed in one commit as the ingest commits. All three run in one warm process, in turn; the first round is not
counted. Seconds are wall time; CPU-seconds are those of the engine's own process, S3 not included.

    bench/trino_window.py [--days 100] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import common
import psutil

from homelab_platform import paths
from homelab_platform.readings import contract, parquet
from homelab_platform.readings.commit.session import open_session
from homelab_platform.readings.query.run import run_query
from homelab_platform.readings.query.trino import run_on_trino
from homelab_platform.servers.scratch.engines import beside, scratch_trino, trino_lakehouse
from homelab_platform.servers.scratch.servers import make_lakehouse, scratch_servers
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse, TrinoEndpoint
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.wire.contract import CONTRACT_COLUMNS

LAST = date(2026, 11, 20)
WINDOW = 7
DEVICES, SENSORS, EVERY = 29, ("humidity", "light", "pressure", "temperature"), 10
GOALS = {"trino": 4.0, "ours": 1.5}
AGGREGATE = "SELECT device, sensor, count(*) AS n, avg(value) AS mean, min(value) AS low, max(value) AS high FROM {} "
QUERIES = {
    "a week, all series": AGGREGATE + "WHERE date > DATE '{}' GROUP BY device, sensor",
    "a week, one series by hour": (
        "SELECT date_trunc('hour', ts) AS hour, avg(value) AS mean FROM {} WHERE date > DATE '{}' "
        "AND device = 'device-07' AND sensor = 'temperature' GROUP BY 1"
    ),
}


@dataclass(frozen=True)
class Cost:
    """Wall seconds and the engine's CPU-seconds of one query."""

    wall: float
    cpu: float


def make_day(day: date) -> bytes:
    """One day of readings as a sorted Parquet file, values drawn with the day as the seed."""
    import numpy as np
    import pyarrow as pa

    steps = 86_400 // EVERY
    random = np.random.default_rng(day.toordinal())
    series = DEVICES * len(SENSORS)
    begin = (day - date(1970, 1, 1)).days * 86_400_000_000
    jitter = np.sort(random.integers(0, EVERY * 1_000_000, (series, steps)) + np.arange(steps) * EVERY * 1_000_000, 1)
    walk = np.round(20 + np.cumsum(random.normal(0, 0.02, (series, steps)), axis=1), 2).ravel()
    sensor = np.repeat(np.arange(len(SENSORS), dtype=np.int32), DEVICES * steps)
    device = np.tile(np.repeat(np.arange(DEVICES, dtype=np.int32), steps), len(SENSORS))
    rows = series * steps
    batch = (np.arange(rows) // 10_000).astype(np.int32)  # what one object brought

    def coded(codes: Any, words: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words)).dictionary_decode()

    def same(word: str) -> Any:
        return coded(np.zeros(rows, dtype=np.int32), [word])

    schema = parquet.arrow_schema(contract.readings_schema(), CONTRACT_COLUMNS)
    ts = pa.array(begin + jitter.ravel()).cast(pa.timestamp("us", "UTC"))
    columns = {
        "ts": ts,
        "date": pa.array(np.full(rows, (day - date(1970, 1, 1)).days, dtype=np.int32)).cast(pa.date32()),
        "site": same("home"),
        "device": coded(device, [f"device-{n:02}" for n in range(DEVICES)]),
        "sensor": coded(sensor, list(SENSORS)),
        "value": pa.array(walk),
        "unit": same("°C"),
        "quality": same("ok"),
        "source": coded(batch, [f"env/{day}/{n}.ndjson.gz" for n in range(int(batch[-1]) + 1)]),
        "ingested_at": pa.array(begin + (batch.astype(np.int64) + 1) * 1_000_000).cast(pa.timestamp("us", "UTC")),
    }  # fmt: skip
    return parquet.encode(pa.table([columns[f.name] for f in schema], schema=schema))[0]


def dataset(days: int) -> list[tuple[date, Path]]:
    """The days' files, made where they are missing."""
    folder = paths.cache_home() / "bench" / "window-2"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for n in range(days):
        day = LAST - timedelta(days=n)
        file = folder / f"{day}.parquet"
        if not file.exists():
            temporary = file.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(make_day(day))
            temporary.replace(file)
        found.append((day, file))
    return found


def load(lake: Lakehouse, files: list[tuple[date, Path]]) -> list[str]:
    """Upload the files and commit them in one commit; returns the locations of the window's files."""
    import pyarrow.parquet as pq

    contract.ensure_tables(lake)
    with open_session(lake) as session:
        state = session.state(contract.READINGS)
        described, window = [], []
        for day, file in files:
            path = f"{state.metadata.location}/data/date={day}/{uuid.uuid4().hex}.parquet"
            session.store.put(*split_location(path), file.read_bytes())
            described.append(
                parquet.describe(
                    path, pq.read_metadata(file), state.schema(), size=file.stat().st_size, partition=day, spec_id=0
                )
            )
            if day > LAST - timedelta(days=WINDOW):
                window.append(path)
        staged = iceberg.stage(state, Change(added=described), session.io)
        with session.connection.transaction():
            iceberg.swap(session.connection, staged)
    return window


def measure(run: Callable[[], list[Any]], process: psutil.Process) -> tuple[Cost, list[Any]]:
    """Run once; CPU of `process` alone."""
    before, began = process.cpu_times(), time.monotonic()
    rows = run()
    wall, after = time.monotonic() - began, process.cpu_times()
    return Cost(wall, after.user + after.system - before.user - before.system), rows


def java_of(endpoint: TrinoEndpoint) -> psutil.Process:
    """The server's process."""
    folder = str(Path(str(endpoint.ca)).parent)
    return next(p for p in psutil.process_iter() if p.name() == "java" and folder in " ".join(p.cmdline()))


def compare(lake: Lakehouse, endpoint: TrinoEndpoint, window: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """All queries by all engines, in turn; prints a table and returns the median wall seconds."""
    medians: dict[str, dict[str, float]] = {}
    me, java = psutil.Process(), java_of(endpoint)
    with closing(duckdb.open_offline()) as plain, closing(duckdb.open_offline()) as cached:
        plain.execute("SET enable_external_file_cache = false")
        for connection in (plain, cached):
            duckdb.add_secret(connection, lake.objects)
        files = "read_parquet([" + ", ".join(f"'{path}'" for path in window) + "])"
        since = LAST - timedelta(days=WINDOW)
        for name, text in QUERIES.items():
            ours = text.format("hive.default.sensor_data", since)
            floor = text.format(files, since)
            runs: dict[str, tuple[Callable[[], list[Any]], psutil.Process]] = {
                "floor": (lambda sql=floor: plain.execute(sql).fetchall(), me),  # type: ignore[misc]
                "floor, cached": (lambda sql=floor: cached.execute(sql).fetchall(), me),  # type: ignore[misc]
                "ours": (lambda sql=ours: list(run_query(lake, sql)), me),  # type: ignore[misc]
                "trino": (lambda sql=ours: list(run_on_trino(endpoint, sql)), java),  # type: ignore[misc]
            }
            costs: dict[str, list[Cost]] = {engine: [] for engine in runs}
            for n in range(rounds + 1):
                sizes = set()
                for engine, (run, process) in runs.items():
                    cost, rows = measure(run, process)
                    sizes.add(len(rows))
                    costs[engine] += [cost] if n else []
                if len(sizes) != 1:
                    raise AssertionError(f"the engines disagree: {sizes}")
            medians[name] = _show(name, costs)
    return medians


def _show(name: str, costs: dict[str, list[Cost]]) -> dict[str, float]:
    wall = {engine: common.middle([c.wall for c in found]) for engine, found in costs.items()}
    cpu = {engine: common.middle([c.cpu for c in found]) for engine, found in costs.items()}
    print(f"\n{name}")
    rows = [
        [engine, f"{wall[engine]:.3f}", f"{min(c.wall for c in costs[engine]):.3f}", f"{cpu[engine]:.3f}",
         f"{wall[engine] / wall['floor']:.2f}", f"{cpu[engine] / max(cpu['floor'], 0.01):.2f}"]
        for engine in costs
    ]  # fmt: skip
    common.table(("engine", "s, median", "s, best", "CPU-s", "x floor", "x floor CPU"), rows)
    return wall


def main() -> None:
    """Make, load, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    began = time.monotonic()
    files = dataset(options.days)
    size = sum(file.stat().st_size for _, file in files)
    rows = len(files) * DEVICES * len(SENSORS) * (86_400 // EVERY)
    print(f"{rows:,} rows in {len(files)} files, {size / 1e6:.0f} MB ({time.monotonic() - began:.0f} s)")
    folder = Path(tempfile.gettempdir()) / f"homelab-bench-{os.getpid()}"
    with scratch_servers(folder) as servers, scratch_trino(beside(folder, "trino"), servers) as endpoint:
        lake = trino_lakehouse(servers)
        make_lakehouse(lake)
        began = time.monotonic()
        window = load(lake, files)
        print(f"uploaded and committed in {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        medians = compare(lake, endpoint, window, options.rounds)
    print(f"load {os.getloadavg()[0]:.1f}")
    wall = medians["a week, all series"]
    for engine, goal in GOALS.items():
        ratio = wall[engine] / wall["floor"]
        common.close(
            f"trino_window {engine}", round(wall[engine], 3), "s", goal=f"<= {goal} x floor", met=ratio <= goal,
            peer="DuckDB on the same Parquet files", ratio=round(ratio, 2),
        )  # fmt: skip


if __name__ == "__main__":
    main()

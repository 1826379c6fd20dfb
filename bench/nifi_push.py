"""HTTP push through NiFi, from a POST to the last mart: how fast, what it costs, and that all of it counts once.

Senders post batches of 1,000 readings (JSON arrays) and wait for each answer, which NiFi gives once the object is in
the bucket; every twentieth batch is sent a second time, as a sender does whose answer got lost. Then everything is
ingested, compacted and computed into the marts. CPU-seconds are user and system time of each process, from the kernel;
those of S3 server and PostgreSQL are told apart by stage. `python bench/nifi_push.py [READINGS] [SENDERS]`. Goal: at
least 20,000 readings/s into the bucket with 0 lost and 0 doubled.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import common
import psutil
from ingest import lake_text
from ingest_data import write_files

from homelab_platform.lab.resolved import ResolvedBucket, ResolvedLab, ResolvedNetwork, ResolvedStream
from homelab_platform.layers.flows.nifi import NifiFlowAdapter
from homelab_platform.plan.gather import desired_states
from homelab_platform.readings import contract
from homelab_platform.servers.scratch.engines import scratch_nifi
from homelab_platform.servers.scratch.servers import fresh_lakehouse, scratch_servers
from homelab_platform.servers.supervise.spec import load_state
from homelab_platform.tools.endpoints import Engines, Lakehouse
from homelab_platform.tools.objects.client import ObjectStore

BATCH = 1000
WARM_UP = 150
GOAL = 20_000
STREAM = "environment"

SEND = """
import http.client, json, os, sys, threading, time
from pathlib import Path
from urllib.parse import urlsplit
url, folder, senders = urlsplit(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
bodies = [file.read_bytes() for file in sorted(folder.glob("*.json"))]
waits, refused = [], []
def send(number):
    link = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    for place in range(number, len(bodies), senders):
        for _ in range(2 if place % 20 == 0 else 1):
            began = time.monotonic()
            link.request("POST", f"{url.path}?producer=sender-{number}", bodies[place])
            answer = link.getresponse()
            answer.read()
            waits.append(time.monotonic() - began)
            if answer.status not in (200, 201):
                refused.append(answer.status)
before, began = os.times(), time.monotonic()
threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
for thread in threads: thread.start()
for thread in threads: thread.join()
wall, after = time.monotonic() - began, os.times()
waits.sort()
print(json.dumps({"wall": wall, "cpu": after.user + after.system - before.user - before.system, "requests": len(waits),
    "refused": refused[:5], "p50": waits[len(waits) // 2], "p99": waits[int(len(waits) * 0.99)]}))
"""

LAKE = """
import json, os
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
p, o, raw, lake = json.loads(os.environ["BENCH_LAKE"])
lakehouse = Lakehouse(PostgresEndpoint(**p), ObjectsEndpoint(**o), raw, lake)
"""
INGEST = (
    LAKE
    + """
from homelab_platform.readings.ingest import ingest_pending
report = ingest_pending(lakehouse)
print(json.dumps([report.objects, report.rows, report.duplicates, report.rejected]))
"""
)
COMPACT = (
    LAKE
    + """
from homelab_platform.readings.upkeep.maintenance import compact
compact(lakehouse)
"""
)
MARTS = (
    LAKE
    + """
from homelab_platform.readings.marts import MARTS, ensure_mart_tables, refresh_mart
ensure_mart_tables(lakehouse, list(MARTS))
for name in MARTS:
    refresh_mart(lakehouse, name)
"""
)
COUNT = (
    LAKE
    + """
from homelab_platform.readings.query.run import run_query
sql = "SELECT count(*), count(DISTINCT (device, sensor, ts)) FROM sensor_data"
print(json.dumps([int(value) for value in next(run_query(lakehouse, sql).rows)]))
"""
)


class Meter:
    """CPU-seconds of the servers, by what they are."""

    def __init__(self, scratch: Path, nifi: Path) -> None:
        self._roots = {**_pids(scratch), **_pids(nifi)}

    def read(self) -> dict[str, float]:
        """Seconds since each process began; children that have ended count with their parents."""
        found: dict[str, float] = {}
        for name, pid in self._roots.items():
            root = psutil.Process(pid)
            children = root.children(recursive=True)
            if name == "nifi":
                found["NiFi (Java)"] = _seconds(root)
                found["our processor (Python)"] = sum(map(_seconds, children))
            else:
                title = "S3 server" if name == "objects" else "PostgreSQL"
                found[title] = _seconds(root, ended=True) + sum(map(_seconds, children))
        return found


def _pids(folder: Path) -> dict[str, int]:
    state = load_state(folder / "run")
    return {name: child.pid for name, child in state.children.items()} if state else {}


def _seconds(process: psutil.Process, *, ended: bool = False) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + (times.children_user + times.children_system if ended else 0))


def _lab() -> ResolvedLab:
    stream = ResolvedStream(
        name=STREAM, source="http", source_settings={"path": "/readings"}, bucket="readings-raw", prefix=f"{STREAM}/"
    )
    return ResolvedLab(
        version=1,
        name="bench",
        timezone="UTC",
        source="lab.yaml",
        network=ResolvedNetwork(domain="lab.example.org"),
        streams={STREAM: stream},
        buckets={"readings-raw": ResolvedBucket(name="readings-raw", owner="platform")},
    )


def _bodies(folder: Path, readings: int) -> None:
    """Requests of 1,000 readings each, as files."""
    folder.mkdir()
    (source,) = write_files(folder / "made", readings, 1)
    with gzip.open(source) as lines:
        for number in range(readings // BATCH):
            batch = [json.loads(next(lines)) for _ in range(BATCH)]
            (folder / f"{number:06}.json").write_text(json.dumps(batch))


def _sent(url: str, folder: Path, senders: int) -> dict[str, Any]:
    done = common.run_child([sys.executable, "-c", SEND, url, str(folder), str(senders)])
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["refused"], found
    return found


def _stage(script: str, lakehouse: Lakehouse, meter: Meter) -> tuple[dict[str, float], str]:
    """CPU-seconds of one stage after the bucket: its own process and what it asks of the servers."""
    before = meter.read()
    done = common.run_child([sys.executable, "-c", script], env={"BENCH_LAKE": lake_text(lakehouse)})
    assert done.code == 0, done.stdout
    after = meter.read()
    servers = {name: after[name] - before[name] for name in ("S3 server", "PostgreSQL")}
    # DuckDB draws a bar of its progress on the same output when a query takes long
    return {"its process": done.cpu, **servers}, (done.stdout.strip().splitlines() or [""])[-1]


def main(readings: int, senders: int) -> None:
    """Run everything and print tables and the closing line."""
    base = Path(tempfile.gettempdir()) / f"homelab-bench-{uuid.uuid4().hex[:8]}"
    engine = base.with_name(f"{base.name}-nifi")
    with (
        scratch_servers(base) as servers,
        scratch_nifi(engine, quick=False) as nifi,
        fresh_lakehouse(servers) as lakehouse,
        tempfile.TemporaryDirectory() as scratch,
    ):
        root = Path(scratch)
        lab = _lab()
        adapter = NifiFlowAdapter(lab, lakehouse, Engines(nifi=nifi), root)
        desired = desired_states(lab)[f"flow/{STREAM}"]
        adapter.change(desired, adapter.probe(desired), print)
        url = str(json.loads((root / "entrances.json").read_text())[STREAM]["url"])
        _run(url, root, lakehouse, Meter(base, engine), readings, senders)
        adapter.remove(desired.key, desired.document, print)


def _run(url: str, root: Path, lakehouse: Lakehouse, meter: Meter, readings: int, senders: int) -> None:
    contract.ensure_tables(lakehouse)
    _bodies(root / "warm", WARM_UP * BATCH)
    _sent(url, root / "warm", senders)
    with ObjectStore(lakehouse.objects) as store:  # the same readings come again below: these would be doubles
        store.delete(lakehouse.raw_bucket, [found.key for found in store.list(lakehouse.raw_bucket)])
    _bodies(root / "bodies", readings)
    before = meter.read()
    sent = _sent(url, root / "bodies", senders)
    after = meter.read()
    push = {"sender": sent["cpu"], **{name: after[name] - before[name] for name in after if name != "PostgreSQL"}}
    rate = readings / sent["wall"]
    print(
        f"{readings:,} readings from {senders} senders, {sent['requests']:,} requests in {sent['wall']:.1f} s:"
        f" {rate:,.0f} readings/s; answer after p50 {sent['p50'] * 1e3:.0f} ms, p99 {sent['p99'] * 1e3:.0f} ms"
    )
    stages = {"POST to bucket": push}
    stages["ingest"], said = _stage(INGEST, lakehouse, meter)
    objects, rows, duplicates, rejected = json.loads(said)
    stages["compaction"], _ = _stage(COMPACT, lakehouse, meter)
    stages["marts"], _ = _stage(MARTS, lakehouse, meter)
    _, said = _stage(COUNT, lakehouse, meter)
    total, distinct = json.loads(said)
    print(
        f"{objects:,} objects ingested: {rows:,} rows, {duplicates} duplicates, {rejected} rejected; the table holds"
        f" {total:,} rows, {readings - distinct} lost, {total - distinct} doubled\n"
    )
    _print_costs(stages, readings)
    lost, doubled = readings - distinct, total - distinct
    met = rate >= GOAL and not lost and not doubled
    common.close("nifi_push", rate, "readings/s", goal=f">= {GOAL} readings/s, 0 lost, 0 doubled", met=met)


def _print_costs(stages: dict[str, dict[str, float]], readings: int) -> None:
    scale = 1e6 / readings
    parts = [(stage, who, seconds * scale) for stage, costs in stages.items() for who, seconds in costs.items()]
    common.table(("stage", "who", "CPU-s per million"), [(a, b, f"{c:.2f}") for a, b, c in parts if c >= 0.005])
    whole = sum(cost for _, _, cost in parts)
    stage, who, most = max(parts, key=lambda part: part[2])
    print(
        f"POST to mart: {whole:.1f} CPU-s per million readings; most expensive: {who} in {stage}, {most:.1f}"
        f" ({most / whole:.0%}). Load while measuring: {os.getloadavg()[0]:.1f}\n"
    )


if __name__ == "__main__":
    started = time.monotonic()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
    print(f"{time.monotonic() - started:.0f} s in all", file=sys.stderr)

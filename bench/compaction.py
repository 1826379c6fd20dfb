"""10,000 tiny objects to at most two files a day: what ingest leaves, what compaction makes of it, what a scan gains.

HOMELAB_BENCH_OBJECTS sets how many objects (10,000), over three days, ten readings each.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import common
from ingest import servers

from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.contract import READINGS, ensure_tables
from homelab_platform.readings.ingest import ingest_objects
from homelab_platform.readings.quality.reconciliation import no_duplicates, rows_agree
from homelab_platform.readings.quality.reconciliation_files import compare
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.readings.upkeep.table_shape import scan_seconds, shape
from homelab_platform.servers.scratch.servers import fresh_lakehouse
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack

OBJECTS = int(os.environ.get("HOMELAB_BENCH_OBJECTS", "10000"))
DAYS = 3
IN_OBJECT = 10
AT_ONCE = 20  # objects of one ingest: what a tick of the sensor takes in when they come steadily
BEGIN = datetime(2026, 11, 10, tzinfo=UTC)


def upload(lakehouse: Lakehouse) -> list[str]:
    """Put the objects, each with ten readings of one of 50 devices, in the order in which their days go by."""
    keys = []
    step = timedelta(days=DAYS) / OBJECTS
    with ObjectStore(lakehouse.objects) as store:
        for number in range(OBJECTS):
            moment, device = BEGIN + number * step, f"device-{number % 50:02}"
            lines = b"".join(
                Reading(moment + timedelta(milliseconds=n), device, "temperature", 20.0 + n).line()
                for n in range(IN_OBJECT)
            )
            key = object_key("air", moment.date(), "bench", f"{number:06}")
            store.put(lakehouse.raw_bucket, key, pack(lines))
            keys.append(key)
    return keys


def files_of_days(lakehouse: Lakehouse) -> dict[str, int]:
    """Data files of each day."""
    io = iceberg.open_io(lakehouse)
    found: dict[str, int] = {}
    with ledger.connect(lakehouse) as connection:
        for entry in iceberg.live_entries(iceberg.load_table(connection, lakehouse, READINGS), io):
            day = str(spans.partition_day(entry.data_file.partition[0]))
            found[day] = found.get(day, 0) + 1
    io.store.close()
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of CPU of this process that a call takes."""
    wall, cpu = time.monotonic(), time.process_time()
    work()
    return round(time.monotonic() - wall, 2), round(time.process_time() - cpu, 2)


def measure(lakehouse: Lakehouse) -> dict[str, object]:
    """The whole way: upload, ingest, compact, recount."""
    ensure_tables(lakehouse)
    keys = upload(lakehouse)
    batches = [keys[begin : begin + AT_ONCE] for begin in range(0, len(keys), AT_ONCE)]
    ingest = timed(lambda: [ingest_objects(lakehouse, batch) for batch in batches])
    before, days = shape(lakehouse, READINGS), files_of_days(lakehouse)
    looked = [date.fromisoformat(day) for day in days]
    slow = scan_seconds(lakehouse, looked)
    compaction = timed(lambda: maintenance.compact(lakehouse))
    after, now = shape(lakehouse, READINGS), files_of_days(lakehouse)
    quick = scan_seconds(lakehouse, looked)
    recount = timed(lambda: (rows_agree(lakehouse, everything=True), no_duplicates(lakehouse, everything=True)))
    listing = timed(lambda: compare(lakehouse))
    assert rows_agree(lakehouse, everything=True).passed and no_duplicates(lakehouse, everything=True).passed
    assert after.rows == OBJECTS * IN_OBJECT and max(now.values()) <= 2
    return {
        "objects": OBJECTS, "rows": after.rows, "ingest_wall_cpu_s": ingest, "files_before": before.files,
        "files_after": after.files, "files_a_day_after": max(now.values()), "bytes_before": before.bytes,
        "bytes_after": after.bytes, "manifests": [before.manifests, after.manifests],
        "compact_wall_cpu_s": compaction, "scan_before_s": round(slow or 0, 3), "scan_after_s": round(quick or 0, 3),
        "recount_wall_cpu_s": recount, "files_exist_wall_cpu_s": listing, "files_named": compare(lakehouse).named,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    with servers() as running, fresh_lakehouse(running) as lakehouse:
        found = measure(lakehouse)
    print(json.dumps(found))
    most = int(str(found["files_a_day_after"]))
    common.close("compaction", most, "files a day", goal="<= 2", met=most <= 2)


if __name__ == "__main__":
    main()

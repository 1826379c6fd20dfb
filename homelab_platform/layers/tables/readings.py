"""The table of readings at work: ingest, what a person sees of it, and the inbox of new objects.

Belongs here: calling readings/ for the graph. Not here: how readings become rows, or when this is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.layers.tables.adapter import TableAdapter, exhibits, load
from homelab_platform.names import Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.readings.contract import READINGS
from homelab_platform.tools.endpoints import Lakehouse

if TYPE_CHECKING:
    from homelab_platform.readings.ingest import IngestReport
    from homelab_platform.tools.objects.client import ObjectInfo

MOST_PICTURES = 8
MOST_AT_ONCE = 50_000
"""Objects taken in one run; whatever is left is asked for at the sensor's next tick."""


class ReadingsAdapter(TableAdapter):
    """The tables of the contract; running `sensor_data` takes in what is pending."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse) -> None:
        super().__init__(lakehouse)
        self._lab = lab

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Ingest pending objects, then show the table."""
        name = str(desired.document["name"])
        if name == READINGS:
            from homelab_platform.readings.ingest import ingest_pending

            def told(report: IngestReport) -> None:
                say(f"{report.objects:,} objects, {report.rows:,} rows so far")

            report = ingest_pending(self.lakehouse, self._lab.streams, limit=MOST_AT_ONCE, progress=told)
            say(f"{report.objects:,} objects, {report.rows:,} new rows, {report.rejected:,} lines rejected")
            yield from _report_exhibits(report)
        metadata = load(self.lakehouse, name)
        if metadata is not None:
            yield from exhibits(metadata)
        if name == READINGS and "dates" in request:
            yield from pictures(self._lab, self.lakehouse)


def arrivals_since(lakehouse: Lakehouse, since: int) -> tuple[int, list[Exhibit]]:
    """The number of the newest commit of an ingest, and what came in after the commit `since`, as numbers that the
    table's page draws over time.
    """
    from homelab_platform.readings.arrivals import arrivals

    found = arrivals(lakehouse, since)
    if not found.seq:
        return since, []
    numbers = {
        "objects": found.objects,
        "new readings": found.rows,
        "delivered before": found.duplicates,
        "rejected lines": found.rejected,
        "bytes taken in": found.bytes,
        "objects put aside": found.quarantined,
    }
    shown = [Exhibit(name, "number", value) for name, value in numbers.items()]
    if found.newest is not None:
        shown.append(Exhibit("newest reading", "time", found.newest.timestamp()))
    metadata = load(lakehouse, READINGS)
    if metadata is not None:
        shown += [exhibit for exhibit in exhibits(metadata) if exhibit.kind == "number"]
    return found.seq, shown


def pictures(lab: ResolvedLab, lakehouse: Lakehouse) -> Iterable[Exhibit]:
    """The last day of each sensor of the lab as a PNG, at most MOST_PICTURES of them.

    Drawing costs a second of CPU and a picture weighs some 20 KB in the event log, so this is for runs that people ask
    for and for the checks by the clock, not for every ingest.
    """
    from homelab_platform.readings.plots import plot_last_day

    units = {n: sensor.unit for stream in lab.streams.values() for n, sensor in sorted(stream.sensors.items())}
    for name, unit in sorted(units.items())[:MOST_PICTURES]:
        yield Exhibit(f"{name}, last day", "png", plot_last_day(lakehouse, name, unit=unit))


def _report_exhibits(report: IngestReport) -> Iterable[Exhibit]:
    rows = {
        "objects": report.objects,
        "new readings": report.rows,
        "delivered before": report.duplicates,
        "rejected lines": report.rejected,
        "objects put aside": report.quarantined,
        "bytes": report.bytes,
        "commits": report.commits,
    }
    yield Exhibit("ingest", "table", [{"of this run": what, "count": count} for what, count in rows.items()])
    yield Exhibit("new readings", "number", report.rows)
    if report.dates:
        yield Exhibit("dates", "text", ", ".join(day.isoformat() for day in report.dates))
    if report.failed:
        failed = [{"object": key, "what is wrong": p.what, "what to do": p.remedy} for key, p in report.failed[:40]]
        yield Exhibit("put aside or not fetched", "table", failed)


class Inbox:
    """The raw bucket as the sensor on new objects sees it: one connection for all looks of a tick."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._stack = ExitStack()
        self._sizes: dict[str, int] = {}

    def __enter__(self) -> Inbox:
        from homelab_platform.readings import ledger
        from homelab_platform.tools.objects.client import ObjectStore

        self._connection = self._stack.enter_context(ledger.connect(self._lakehouse))
        self._store = self._stack.enter_context(ObjectStore(self._lakehouse.objects, retries=1, timeout=10))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def recent(self, start: Callable[[str], str]) -> list[str]:
        """Pending objects of each folder after the key that `start` gives for it."""
        bucket = self._lakehouse.raw_bucket
        found: list[ObjectInfo] = []
        for folder in self._store.folders(bucket):
            found += self._store.list(bucket, folder, start(folder))
        return self._pending(found)

    def everything(self) -> tuple[list[str], float]:
        """Pending objects of the whole bucket, and the seconds that it took to list it."""
        from homelab_platform.readings.ingest import pending_objects

        began = time.monotonic()
        found = pending_objects(self._lakehouse, limit=MOST_AT_ONCE)
        self._sizes.update((info.key, info.size) for info in found)
        return [info.key for info in found], time.monotonic() - began

    def bytes_of(self, keys: Iterable[str]) -> int:
        """How large these objects are together, as stored."""
        return sum(self._sizes.get(key, 0) for key in keys)

    def _pending(self, found: list[ObjectInfo]) -> list[str]:
        from homelab_platform.readings import ledger

        known = ledger.known(self._connection, self._lakehouse.raw_bucket, {o.key: o.etag for o in found})
        self._sizes.update((info.key, info.size) for info in found if info.key not in known)
        return [info.key for info in found if info.key not in known]

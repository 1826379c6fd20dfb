"""Upkeep of the tables: which engine does what, and what each task shows of what it saved.

Belongs here: calling readings/maintenance, or Trino, for the graph. Not here: when that happens (graph/).

Our own engine is the default for compaction, expiry and orphans wherever the site stands: it compares every cell before
it commits, waits for readers that are still at work before a file goes, and knows which workers live. Trino's
`expire_snapshots` and `remove_orphan_files` delete at once and by age alone. Statistics are the other way round: only
Trino's ANALYZE writes them (Puffin files with numbers of distinct values); without Trino the bounds that each manifest
holds of each file's columns are what there is. docs/marts.md has the figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from homelab_platform.apply.adapter import Exhibit
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.names import CATALOG, Say
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.tools.endpoints import Engines, Lakehouse, TrinoEndpoint

if TYPE_CHECKING:
    from datetime import date

    from homelab_platform.readings.upkeep.table_shape import Shape

TIME_TRAVEL = timedelta(days=1)
"""How long a snapshot stays at least, of the newest dozen that ingest itself keeps."""
DAYS_TIMED = 3
TRINO_PATIENCE = 1800.0


def retention_day(lab: ResolvedLab, now: datetime) -> date | None:
    """Readings of days before this one are no longer wanted by any stream; None if they are kept for ever."""
    table = lab.tables.get(READINGS)
    if table is None or table.keep is None:
        return None
    return (now.astimezone(UTC) - timedelta(seconds=table.keep)).date()


def upkeep(lab: ResolvedLab, lakehouse: Lakehouse, engines: Engines, task: str, say: Say) -> Iterator[Exhibit]:
    """Do one task of upkeep on the tables of readings and say what it saved; UPKEEP of apply/adapter.py lists them."""
    began = time.monotonic()
    if task == "compact":
        yield from _compact(lakehouse, say)
    elif task == "expire":
        yield from _expire(lab, lakehouse, say)
    elif task == "clean":
        yield from _clean(lakehouse, say)
    else:
        yield from _analyze(lakehouse, engines.trino, say)
    yield Exhibit("seconds", "number", round(time.monotonic() - began, 2))


def _shapes(lakehouse: Lakehouse) -> dict[str, Shape]:
    from homelab_platform.readings.upkeep.table_shape import shape

    return {name: shape(lakehouse, name) for name in (READINGS, REJECTED)}


def _before_and_after(before: dict[str, Shape], after: dict[str, Shape]) -> Iterator[Exhibit]:
    """Each number of the table of readings by itself, so that the UI draws its history, then both tables."""
    one, two = before[READINGS], after[READINGS]
    yield Exhibit("files before", "number", one.files)
    yield Exhibit("files after", "number", two.files)
    yield Exhibit("bytes after", "number", two.bytes)
    yield Exhibit("bytes saved", "number", one.bytes - two.bytes)
    yield Exhibit("manifests after", "number", two.manifests)
    yield Exhibit("snapshots after", "number", two.snapshots)
    words = ("rows", "files", "bytes", "delete_files", "manifests", "manifest_bytes", "snapshots")
    rows = [
        {
            "table": name,
            "of": word.replace("_", " "),
            "before": getattr(before[name], word),
            "after": getattr(shape, word),
        }
        for name, shape in after.items()
        for word in words
    ]
    yield Exhibit("tables", "table", rows)


def _compact(lakehouse: Lakehouse, say: Say) -> Iterator[Exhibit]:
    from homelab_platform.readings.upkeep import maintenance
    from homelab_platform.readings.upkeep.table_shape import scan_seconds

    before = _shapes(lakehouse)
    crowded = maintenance.crowded(lakehouse)[:DAYS_TIMED]
    slow = scan_seconds(lakehouse, crowded)
    done = maintenance.compact(lakehouse)
    say(f"{done.files_before:,} files of {len(done.dates):,} days became {done.files_after:,}")
    yield Exhibit("days rewritten", "number", len(done.dates))
    yield Exhibit("rows compared", "number", done.rows)
    yield Exhibit("rejected files merged", "number", done.rejected_files)
    quick = scan_seconds(lakehouse, crowded)
    if slow is not None and quick is not None:
        yield Exhibit("scan before (s)", "number", round(slow, 4))
        yield Exhibit("scan after (s)", "number", round(quick, 4))
    yield from _before_and_after(before, _shapes(lakehouse))


def _expire(lab: ResolvedLab, lakehouse: Lakehouse, say: Say) -> Iterator[Exhibit]:
    from homelab_platform.readings.upkeep import maintenance

    before = _shapes(lakehouse)
    day = retention_day(lab, datetime.now(UTC))
    if day is not None:
        dropped = maintenance.drop_before(lakehouse, day)
        say(f"{len(dropped.dates):,} days before {day} dropped")
        yield Exhibit("days dropped", "number", len(dropped.dates))
    expired = maintenance.expire_snapshots(lakehouse, window=TIME_TRAVEL)
    say(f"{expired.snapshots:,} snapshots given up, {expired.files:,} files deleted")
    yield Exhibit("snapshots given up", "number", expired.snapshots)
    yield Exhibit("files deleted", "number", expired.files)
    yield from _before_and_after(before, _shapes(lakehouse))


def _clean(lakehouse: Lakehouse, say: Say) -> Iterator[Exhibit]:
    from homelab_platform.readings.upkeep import maintenance

    cleaned = maintenance.clean_orphans(lakehouse)
    say(f"{cleaned.files:,} files that nobody knew deleted")
    yield Exhibit("orphans deleted", "number", cleaned.files)
    yield Exhibit("bytes saved", "number", cleaned.bytes)
    yield Exhibit("claims of dead workers freed", "number", cleaned.claims)
    if cleaned.paths:
        yield Exhibit("files", "table", [{"file": path} for path in cleaned.paths[:40]])


def _analyze(lakehouse: Lakehouse, trino: TrinoEndpoint | None, say: Say) -> Iterable[Exhibit]:
    if trino is None:
        say("without Trino there is nobody to write statistics; the bounds of each file's columns serve")
        yield Exhibit("engine", "text", "none: the site has no Trino; each manifest holds the bounds of each column")
        yield from _bounds(lakehouse)
        return
    from homelab_platform.tools.trino.client import execute

    execute(trino, f"ANALYZE {CATALOG}.{READINGS}", timeout=TRINO_PATIENCE)
    rows = execute(trino, f"SHOW STATS FOR {CATALOG}.{READINGS}", timeout=TRINO_PATIENCE)
    say("Trino has analyzed the readings")
    yield Exhibit("engine", "text", "Trino: ANALYZE, kept as a Puffin file beside the table")
    named = [row for row in rows if row[0] is not None]
    yield Exhibit("columns with distinct values", "number", sum(1 for row in named if row[2] is not None))
    shown = [
        {"column": row[0], "distinct": row[2], "share of nulls": row[3], "lowest": row[5], "highest": row[6]}
        for row in named
    ]
    yield Exhibit("statistics", "table", shown)


def _bounds(lakehouse: Lakehouse) -> Iterator[Exhibit]:
    """How many of the files say between which values their columns lie, which is what lets a query skip them."""
    from homelab_platform.readings.upkeep.maintenance import files_with_bounds

    bounded, files = files_with_bounds(lakehouse)
    yield Exhibit("files", "number", files)
    yield Exhibit("files with bounds", "number", bounded)

"""The first answer: what `homelab up` shows when the site runs, real readings of this machine out of a SQL query.

Belongs here: waiting for the collector's first object and asking for it. Not here: the query command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homelab_platform.cli import output

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import Site

FIRST_QUERY = (
    "SELECT device, sensor, count(*) AS readings, max(ts) AS newest, round(avg(value), 2) AS mean, any_value(unit) AS "
    "unit FROM hive.default.sensor_data WHERE date > CURRENT_DATE - INTERVAL '7' DAY "
    "GROUP BY device, sensor ORDER BY device, sensor"
)
PATIENCE_SECONDS = 60.0
SHOWN_ROWS = 8


@dataclass(frozen=True)
class Answer:
    """A query and its rows; `seconds` is how long the first readings took to become visible."""

    sql: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"sql": self.sql, "columns": self.columns, "rows": self.rows, "seconds": round(self.seconds, 2)}

    def text(self) -> str:
        """The query as one would type it, and its answer."""
        if not self.rows:
            return (
                "No reading of this machine has arrived yet; the collector writes its first object within a minute.\n"
                'Ask again: homelab query "SELECT count(*) FROM hive.default.sensor_data"'
            )
        shown = [tuple(_cell(c) for c in row) for row in self.rows[:SHOWN_ROWS]]
        more = len(self.rows) - len(shown)
        rest = f"\n… and {output.count(more, 'more sensor')}" if more > 0 else ""
        return f'homelab query "{self.sql}"\n\n{output.table(self.columns, shown)}{rest}'


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else str(value)


def first_answer(site: Site, streams: Mapping[str, Any], progress: Callable[[str], None]) -> Answer:
    """Ingest what the collector has written so far and query it; waits up to a minute for the first object."""
    from homelab_platform.readings.ingest import ingest_pending
    from homelab_platform.readings.query.run import run_query

    started = time.monotonic()
    progress("waiting for this machine's first readings")
    while True:
        ingest_pending(site.lakehouse, streams)
        result = run_query(site.lakehouse, FIRST_QUERY)
        rows = tuple(tuple(row) for row in result.rows)
        elapsed = time.monotonic() - started
        if rows or elapsed > PATIENCE_SECONDS:
            return Answer(FIRST_QUERY, tuple(result.columns), rows, elapsed)
        time.sleep(0.5)

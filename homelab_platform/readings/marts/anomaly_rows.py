"""The rows of the mart `anomalies`: readings in steps of five minutes through the detector, series by series.

Belongs here: what stands between DuckDB and readings/marts/anomalies.py. Not here: the method itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from homelab_platform.readings.marts.tables import Mart


def anomaly_rows(connection: DuckDBPyConnection, mart: Mart, dates: Sequence[date]) -> pa.Table:
    """The findings of these days; the mart's SQL gives the series in order, with the days that they depend on."""
    import pyarrow as pa

    table = connection.execute(mart.sql).to_arrow_table()
    wanted = {(day - date(1970, 1, 1)).days for day in dates}
    rows = [row for begin, end in _series(table) for row in _findings(table.slice(begin, end - begin), wanted)]
    kinds = {"date": pa.date32(), "time": pa.timestamp("us", "UTC"), "text": pa.string(), "number": pa.float64()}
    return pa.table({c.name: pa.array([row[c.name] for row in rows], kinds[c.kind]) for c in mart.columns})


def _series(table: pa.Table) -> Iterator[tuple[int, int]]:
    """Begin and end of each series in the sorted rows."""
    keys = list(zip(*(table[name].to_pylist() for name in ("device", "sensor", "site")), strict=True))
    begin = 0
    for position in range(1, len(keys) + 1):
        if position == len(keys) or keys[position] != keys[begin]:
            yield begin, position
            begin = position


def _findings(series: pa.Table, wanted: set[int]) -> Iterator[dict[str, object]]:
    import numpy as np
    import pyarrow as pa

    from homelab_platform.readings.marts import anomalies

    micros = series["ts"].cast(pa.int64()).to_numpy()
    times = micros.astype(np.float64) / 1e6
    values = series["value"].to_numpy()
    days = micros // (86_400 * 1_000_000)
    for finding in anomalies.detect(times, values, since=min(wanted) * anomalies.DAY):
        if int(days[finding.index]) in wanted:
            row = {name: series[name][finding.index].as_py() for name in ("device", "sensor", "site", "unit", "ts")}
            yield row | {
                "date": row["ts"].date(),
                "value": float(values[finding.index]),
                "kind": finding.kind,
                "score": round(finding.score, 6),
                "low": finding.low,
                "high": finding.high,
            }

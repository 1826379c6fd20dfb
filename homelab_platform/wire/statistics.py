"""Home Assistant's long-term statistics to readings: one line of JSON for each figure of each period.

Belongs here: the rows' shape, which of them are final, how a figure is named. Not here: asking for them, or what a
reading is (readings/decode/record.py). Standard library only, Python 3.9 or later: NiFi runs this very file beside its
processors (servers/nifi.py copies it, under a name that hides nothing of Python's).

Source: Home Assistant's recorder. Its websocket command `recorder/statistics_during_period` answers with rows by
statistic_id, `start` and `end` in ms since 1970; its action `recorder.get_statistics`, which REST reaches as
`POST /api/services/recorder/get_statistics?return_response`, with the same rows and times in RFC 3339, wrapped in
`service_response.statistics`. A row has whichever of state, sum, mean, min, max, change its entity has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

FIGURES = ("mean", "min", "max", "state", "sum", "change")
HOUR_MS = 3_600_000
_PERIODS = (
    (HOUR_MS, HOUR_MS, ""),
    (300_000, 300_000, "_5minute"),
    (23 * HOUR_MS, 25 * HOUR_MS, "_day"),
    (167 * HOUR_MS, 169 * HOUR_MS, "_week"),
    (671 * HOUR_MS, 745 * HOUR_MS, "_month"),
)
"""Shortest and longest that a period may be (clocks change), and what a figure's name then ends with."""


class NotStatistics(ValueError):
    """The answer as a whole holds no statistics; the text says why."""


def rows(answer: Any) -> Iterator[tuple[str, Any]]:
    """Each row with its statistic_id, whichever way the answer holds them. Raises NotStatistics.

    It may be the answer of either of Home Assistant's interfaces, rows by statistic_id, or a list of rows of which
    each names its own.
    """
    data = answer
    if isinstance(data, dict) and data.get("success") is False:
        raise NotStatistics(f"Home Assistant refuses: {_said(data.get('error'))}")
    for envelope in ("service_response", "result", "statistics"):
        if isinstance(data, dict) and isinstance(data.get(envelope), (dict, list)):
            data = data[envelope]
    if isinstance(data, dict):
        if any(not isinstance(found, list) for found in data.values()):
            raise NotStatistics(f"it holds no rows by statistic_id, but {_keys(data)}")
        for name, found in data.items():
            for row in found:
                yield str(name), row
    elif isinstance(data, list):
        for row in data:
            yield str(row.get("statistic_id") or "") if isinstance(row, dict) else "", row
    else:
        raise NotStatistics("it holds neither an object nor a list")


def _said(error: object) -> str:
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _keys(data: Mapping[str, object]) -> str:
    return ", ".join(sorted(map(str, data))[:8]) or "nothing"


def lines(
    answer: object, *, now_ms: int, settle_ms: int = HOUR_MS, site: str = "", units: Mapping[str, str] = {}
) -> Iterator[bytes]:
    """A line for each figure of each row: the device is the statistic_id, the sensor the figure, `ts` the start.

    Rows whose period ended less than `settle_ms` ago are left for a later poll: until then Home Assistant may still
    correct them, and of two readings of one identity the first counts. `units` by statistic_id. What of a row is wrong
    the table says when it refuses the line. Raises NotStatistics for an answer that holds none.
    """
    for name, row in rows(answer):
        if not isinstance(row, dict):
            yield _line(row)
            continue
        begin, end = _ms(row.get("start")), _ms(row.get("end"))
        if begin is not None and (begin + HOUR_MS if end is None else end) > now_ms - settle_ms:
            continue
        base: dict[str, object] = {"ts": row.get("start"), "device": name}
        unit = row.get("unit_of_measurement") or row.get("unit") or units.get(name)
        base |= {key: value for key, value in (("unit", unit), ("site", site)) if value}
        figures = [figure for figure in FIGURES if row.get(figure) is not None]
        if not figures:
            yield _line(base)
        for figure in figures:
            extra = {"last_reset": row["last_reset"]} if figure in ("state", "sum") and row.get("last_reset") else {}
            yield _line({**base, "sensor": figure + _period(begin, end), "value": row[figure], **extra})


def _period(begin: float | None, end: float | None) -> str:
    if begin is None or end is None:
        return ""
    for shortest, longest, name in _PERIODS:
        if shortest <= end - begin <= longest:
            return name
    return f"_{round((end - begin) / 1000)}s"


def _ms(moment: object) -> float | None:
    """Milliseconds since 1970 of either spelling; None for what is no time."""
    if isinstance(moment, (int, float)) and not isinstance(moment, bool):
        return float(moment) if moment >= 10**11 else moment * 1000.0
    if not isinstance(moment, str):
        return None
    try:
        parsed = datetime.fromisoformat(moment.strip().replace("Z", "+00:00"))
        return parsed.timestamp() * 1000 if parsed.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _line(record: object) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"

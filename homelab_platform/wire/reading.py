"""One reading as a source makes it, its line in a raw object, and the object's key.

Belongs here: the producing side of the contract of raw objects. Not here: checking what arrives
(readings/decode/record.py).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

import orjson

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


class Reading(NamedTuple):
    """One measured value; `ts` is aware; `unit` is what a person would write behind the value."""

    ts: datetime
    device: str
    sensor: str
    value: float
    unit: str = ""
    site: str = ""
    quality: str = "ok"

    def line(self) -> bytes:
        """The reading as one NDJSON line, newline included; empty texts are left out."""
        record = {
            "ts": timestamp(self.ts),
            "device": self.device,
            "sensor": self.sensor,
            "value": self.value,
            "unit": self.unit or None,
            "site": self.site or None,
            "quality": self.quality,
        }
        return orjson.dumps({k: v for k, v in record.items() if v is not None}, option=orjson.OPT_APPEND_NEWLINE)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def safe_name(text: str, *, most: int = 100) -> str:
    """`text` with everything but letters, digits, `_`, `.` and `-` turned into `-`; never empty."""
    return _UNFIT.sub("-", text).strip("-.")[:most] or "unnamed"


def object_key(stream: str, day: date, producer: str, name: str) -> str:
    """The key of an NDJSON object: `<stream>/<yyyy-mm-dd>/<producer>/<name>.ndjson.gz`."""
    return f"{stream}/{day.isoformat()}/{safe_name(producer)}/{safe_name(name)}.ndjson.gz"


def pack(lines: bytes | Iterable[bytes]) -> bytes:
    """Gzip without a time stamp: equal lines make equal bytes."""
    data = lines if isinstance(lines, bytes) else b"".join(lines)
    return gzip.compress(data, compresslevel=6, mtime=0)

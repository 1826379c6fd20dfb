"""Simulated readings of a lab's sensors, for a lab whose devices do not exist yet. Always marked as simulated.

Belongs here: plausible series from a seed and their upload. Not here: anything that could be taken for a measurement:
`quality` is `simulated`, and the object's producer is `simulator`.

A value is the middle of the sensor's range, a daily cycle with its maximum in the afternoon, a slow drift of hours and
noise, all of them shares of the range, so that every value lies inside it. The noise is a hash of seed, device, sensor
and time: any part of a series can be made alone and is the same, in whatever order it is asked for.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedSensor, ResolvedStream
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import AlreadyExists, ObjectStore
from homelab_platform.wire.contract import QUALITY_SIMULATED
from homelab_platform.wire.reading import Reading, object_key, pack

PRODUCER = "simulator"
DEFAULT_EVERY = 60.0
DEFAULT_RANGE = (0.0, 100.0)
GAP_SHARE = 0.01  # of the quarters of an hour, in which a device is silent
GAP_LENGTH = 900.0
DRIFT_PERIOD = 6 * 3600.0
DAY = 86_400.0


@dataclass(frozen=True)
class _Series:
    """One sensor of one device; all amplitudes in the sensor's own unit. Their sum stays below half the range."""

    device: str
    sensor: ResolvedSensor
    site: str
    seed: int
    low: float
    high: float
    every: float

    def at(self, second: float) -> float:
        """The value at a time in seconds since 1970."""
        span = self.high - self.low
        phase = 2 * math.pi * (second % DAY / DAY - 0.625 + 0.04 * self._noise("phase", 0))  # maximum about 15:00
        middle = self.low + span * (0.5 + 0.1 * self._noise("middle", 0))
        value = middle + span * (0.15 * math.cos(phase) + 0.06 * self._drift(second) + 0.01 * self._noise("n", second))
        digits = max(0, 3 - math.floor(math.log10(span))) if span > 0 else 3
        return min(self.high, max(self.low, round(value, digits)))

    def is_silent(self, second: float) -> bool:
        """Whether the device says nothing in this quarter of an hour."""
        quarter = second // GAP_LENGTH
        return (_noise(self.seed, self.device, "", "gap", quarter) + 1) / 2 < GAP_SHARE

    def _drift(self, second: float) -> float:
        before, part = divmod(second, DRIFT_PERIOD)
        a, b = self._noise("drift", before), self._noise("drift", before + 1)
        smooth = (1 - math.cos(math.pi * part / DRIFT_PERIOD)) / 2
        return a + (b - a) * smooth

    def _noise(self, kind: str, number: float) -> float:
        return _noise(self.seed, self.device, self.sensor.name, kind, number)


def _noise(seed: int, device: str, sensor: str, kind: str, number: float) -> float:
    """A number from -1 to 1 that depends on nothing but its arguments."""
    text = f"{seed}|{device}|{sensor}|{kind}|{number:.3f}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()) / 2**55 - 1


def simulate(
    stream: ResolvedStream,
    devices: Sequence[str] = (),
    *,
    start: datetime,
    end: datetime,
    seed: int = 1,
    every: float | None = None,
) -> Iterator[bytes]:
    """NDJSON lines of every sensor of the stream from `start` (inclusive) to `end` (exclusive), ordered by time.

    `devices` defaults to those of the stream; `every` in seconds overrides the sensors' own pace. Equal arguments give
    equal bytes. Raises HomelabError if the stream has no sensors or the times are not a span.
    """
    return (reading.line() for reading in _readings(stream, devices, (start, end), seed, every))


def _readings(
    stream: ResolvedStream,
    devices: Sequence[str],
    span: tuple[datetime, datetime],
    seed: int,
    every: float | None,
) -> Iterator[Reading]:
    start, end = span
    if not stream.sensors:
        raise HomelabError.of(f"stream {stream.name}", "has no sensors to simulate", "List them under sensors.")
    if start >= end:
        raise HomelabError.of(f"stream {stream.name}", "nothing lies between start and end", "End after the start.")
    place = str(stream.source_settings.get("site") or "home")
    named = tuple(devices) or stream.devices or (f"{stream.name}-1",)
    series = [
        _Series(device, sensor, place, seed, *_range(sensor), every or sensor.every or DEFAULT_EVERY)
        for device in named
        for sensor in stream.sensors.values()
    ]
    return _merged(series, start.timestamp(), end.timestamp())


def _range(sensor: ResolvedSensor) -> tuple[float, float]:
    low = DEFAULT_RANGE[0] if sensor.low is None else sensor.low
    high = max(DEFAULT_RANGE[1], low + 1) if sensor.high is None else sensor.high
    return low, high


def _merged(series: Sequence[_Series], start: float, end: float) -> Iterator[Reading]:
    """All series in the order of time; each on its own beat, counted from 1970, so that spans join without a seam."""
    beats = [(math.ceil(start / one.every) * one.every, number) for number, one in enumerate(series)]
    heapq.heapify(beats)
    while beats and beats[0][0] < end:
        second, number = heapq.heappop(beats)
        one = series[number]
        if not one.is_silent(second):
            ts = datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)
            yield Reading(ts, one.device, one.sensor.name, one.at(second), one.sensor.unit, one.site, QUALITY_SIMULATED)
        heapq.heappush(beats, (round((second // one.every + 1) * one.every, 6), number))


def _day(reading: Reading) -> date:
    return reading.ts.date()


def put_simulated(
    lakehouse: Lakehouse,
    stream: ResolvedStream,
    *,
    start: datetime,
    end: datetime,
    devices: Sequence[str] = (),
    seed: int = 1,
    every: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """Upload simulated readings, one object for each day; returns the keys. The same call again makes no new object.

    Raises HomelabError as `simulate` does, or if the bucket cannot be reached.
    """
    keys: list[str] = []
    with ObjectStore(lakehouse.objects) as store:
        for day, readings in groupby(_readings(stream, devices, (start, end), seed, every), key=_day):
            data = b"".join(reading.line() for reading in readings)
            name = f"simulated-{seed}-{hashlib.sha256(data).hexdigest()[:16]}"
            key = object_key(stream.name, day, PRODUCER, name)
            if progress:
                progress(f"simulating {stream.name}, {day}")
            with suppress(AlreadyExists):  # the name holds the content's hash
                store.put(lakehouse.raw_bucket, key, pack(data), if_none_match=True)
            keys.append(key)
    return keys

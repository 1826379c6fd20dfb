"""New readings to sorted Parquet files without duplicates, one per day, that no table refers to yet.

Belongs here: sorting, dropping what is already there, judging values against a sensor's range, writing the files.
Not here: when to do so (batch) or making the files part of the table (commit).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homelab_platform.readings import parquet
from homelab_platform.readings.commit import spans
from homelab_platform.readings.commit.spans import Basis, Span
from homelab_platform.readings.decode.columns import Chunk, Codes, Ints, RowBuffer, spelled
from homelab_platform.readings.decode.record import Rejected
from homelab_platform.wire.contract import QUALITY_OK, QUALITY_OUT_OF_RANGE, TEXT_COLUMNS
from homelab_platform.wire.timestamps import DAY_US

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

    from homelab_platform.lab.resolved import ResolvedSensor
    from homelab_platform.readings.commit.session import Session
    from homelab_platform.tools.iceberg.tables import TableState

_EPOCH_DAY = 719_163
_DENSE = 4_000_000  # buckets that are counted in an array rather than sorted


@dataclass
class Part:
    """A written file: its day, the series in it, how many readings of each object, what it was compared with."""

    day: date
    file: DataFile
    spans: list[Span]
    kept: dict[int, int]
    basis: Basis
    tag: int | None = None  # the object that it holds a piece of, while that object is still being read
    schema_id: int = 0
    replaces: bool = False  # some of its readings have another value than the table, and replace it


@dataclass
class Sorted:
    """Rows in table order: `order` into the chunk, `starts` of each (day, series) bucket, and what the buckets are."""

    order: Ints
    starts: Ints
    spans: list[Span]
    dropped: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Rows of the chunk that repeat another's identity."""
    first: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """For each of `dropped` the row that stays."""


@dataclass
class Disagreements:
    """Readings that were left out because another value stands for their identity, until the batch takes them."""

    within: list[tuple[int, Rejected]] = field(default_factory=list)
    """In one delivery: the object's number, and the reading as a refused line."""
    between: dict[int, int] = field(default_factory=dict)
    """Between deliveries, by object: how many differ from what an earlier one brought."""

    def take(self) -> Disagreements:
        """All of it; afterwards there is none."""
        taken = Disagreements(self.within, self.between)
        self.within, self.between = [], {}
        return taken

    def count(self, source: int) -> None:
        """One more reading of an object that differs from an earlier delivery's."""
        self.between[source] = self.between.get(source, 0) + 1


def sort_rows(chunk: Chunk, buffer: RowBuffer, use_kernel: bool) -> Sorted:
    """Order by day, device, sensor, ts, and drop the later of two rows of one series and instant."""
    dropped = first = np.empty(0, dtype=np.int64)
    bucket, keys, devices, sensors = _buckets(chunk, buffer)
    if use_kernel:
        from homelab_platform.readings.decode.kernel import group

        order, starts, rising = group(bucket, chunk.ts, len(keys))
        for b in np.flatnonzero(~rising):
            part = order[starts[b] : starts[b + 1]]
            order[starts[b] : starts[b + 1]] = part[np.argsort(chunk.ts[part], kind="stable")]
        repeated = not bool(rising.all())
    else:
        order = np.lexsort((chunk.ts, bucket)).astype(np.int64)
        starts = _starts(bucket, len(keys))
        repeated = True
    if repeated and len(order):
        ts, grouped = chunk.ts[order], bucket[order]
        keep = np.concatenate(([True], (ts[1:] != ts[:-1]) | (grouped[1:] != grouped[:-1])))
        stays = order[np.maximum.accumulate(np.where(keep, np.arange(len(order)), 0))]
        dropped, first, order = order[~keep], stays[~keep], order[keep]
        starts = _starts(grouped[keep], len(keys))
    low, high = chunk.ts[order[starts[:-1]]], chunk.ts[order[starts[1:] - 1]]
    pairs = len(devices) * len(sensors)
    found = []
    for key, a, b in zip(keys.tolist(), low.tolist(), high.tolist(), strict=True):
        day, series = divmod(key, pairs)
        device, sensor = divmod(series, len(sensors))
        found.append(Span(date.fromordinal(_EPOCH_DAY + day), devices[device], sensors[sensor], a, b))
    return Sorted(order, starts, found, dropped, first)


def _starts(bucket: Codes, buckets: int) -> Ints:
    """Where each bucket starts when the rows are in order, and the end of the last."""
    starts: Ints = np.concatenate(([0], np.cumsum(np.bincount(bucket, minlength=buckets)))).astype(np.int64)
    return starts


def _buckets(chunk: Chunk, buffer: RowBuffer) -> tuple[Codes, Ints, list[str], list[str]]:
    """Each row's bucket, numbered in table order; each bucket's key (day, device rank, sensor rank in one number)."""
    ranks, names = {}, {}
    for column in ("device", "sensor"):
        values = buffer.interner(column).values
        by_name = sorted(range(len(values)), key=values.__getitem__)
        ranks[column] = np.empty(len(values), dtype=np.int64)
        ranks[column][by_name] = np.arange(len(values))
        names[column] = [values[i] for i in by_name]
    day = chunk.ts // DAY_US
    first = int(day.min()) if len(day) else 0
    pairs = max(1, len(names["device"]) * len(names["sensor"]))
    key = (day - first) * pairs
    key += ranks["device"][chunk.codes["device"]] * len(names["sensor"])
    key += ranks["sensor"][chunk.codes["sensor"]]
    highest = int(key.max()) + 1 if len(key) else 0
    if highest <= _DENSE:
        present = np.zeros(highest, dtype=np.bool_)
        present[key] = True
        keys = np.flatnonzero(present)
        bucket: Codes = (np.cumsum(present, dtype=np.int32) - np.int32(1)).astype(np.int32)[key]
    else:
        keys, inverse = np.unique(key, return_inverse=True)
        bucket = inverse.astype(np.int32)
    return bucket, keys + first * pairs, names["device"], names["sensor"]


class PartWriter:
    """Writes the parts of one batch, comparing each with the table and with the parts before it."""

    def __init__(self, session: Session, sensors: Sequence[Mapping[str, ResolvedSensor]], keys: Sequence[str]) -> None:
        """`sensors` and `keys` by object number: what is known of the sensors of its stream, and its key."""
        self._session = session
        self._sensors = sensors
        self._keys = keys
        self._ingested_at = time.time_ns() // 1000
        self.disagreements = Disagreements()
        self.replacing: set[int] = set()
        """Objects whose values replace those of the table."""

    def write(
        self,
        state: TableState,
        rows: tuple[Chunk, Codes],
        buffer: RowBuffer,
        *,
        earlier: Sequence[Part],
        tag: int | None,
    ) -> list[Part]:
        """Sort, compare and upload; the written parts, none if everything is already there."""
        chunk, sources = rows
        if not len(chunk):
            return []
        found = sort_rows(chunk, buffer, self._session.fast)
        self._compare_repeats(chunk, sources, buffer, found)
        basis = self._session.basis()
        self._replaced = False
        found = self._without_known(rows, buffer, found, basis, earlier)
        if not len(found.order):
            return []
        table = self._table(state, chunk, sources, buffer, found)
        day = np.array([s.date.toordinal() for s in found.spans])
        edges = np.flatnonzero(np.concatenate(([True], day[1:] != day[:-1], [True])))
        parts = []
        for first, last in pairwise(edges):
            start, stop = int(found.starts[first]), int(found.starts[last])
            counts = np.bincount(sources[found.order[start:stop]], minlength=len(self._keys))
            kept = {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
            here = found.spans[first:last]
            file = self._session.upload_part(state, table.slice(start, stop - start), here[0].date)
            parts.append(
                Part(here[0].date, file, here, kept, basis, tag, state.metadata.current_schema_id, self._replaced)
            )
        return parts

    def _compare_repeats(self, chunk: Chunk, sources: Codes, buffer: RowBuffer, found: Sorted) -> None:
        """Note the rows that repeat another's identity with another value."""
        differ = chunk.value[found.dropped] != chunk.value[found.first]
        for row, first in zip(found.dropped[differ].tolist(), found.first[differ].tolist(), strict=True):
            source = int(sources[row])
            if source == sources[first]:
                stays = f"line {int(chunk.line[first])} says {float(chunk.value[first])!r}"
                self.disagreements.within.append((source, _contradiction(chunk, buffer, row, stays)))
            else:
                self.disagreements.count(source)

    def _compare_known(self, rows: tuple[Chunk, Codes], buffer: RowBuffer, at: int, other: str) -> None:
        """Note a row whose identity the table, or an earlier piece of this batch, holds with another value."""
        source = int(rows[1][at])
        if other == self._keys[source]:
            stays = "an earlier line of this object says another"
            self.disagreements.within.append((source, _contradiction(rows[0], buffer, at, stays)))
        else:
            self.disagreements.count(source)

    def _without_known(
        self, rows: tuple[Chunk, Codes], buffer: RowBuffer, found: Sorted, basis: Basis, earlier: Sequence[Part]
    ) -> Sorted:
        """The rows that neither the table nor an earlier part of this batch holds."""
        chunk = rows[0]
        met = self._session.meeting(found.spans)
        seen: dict[tuple[date, str, str], list[Span]] = {}
        for span in (s for p in earlier for s in p.spans):
            seen.setdefault((span.date, span.device, span.sensor), []).append(span)
        twice = [
            i
            for i, s in enumerate(found.spans)
            if any(o.low <= s.high and o.high >= s.low for o in seen.get((s.date, s.device, s.sensor), ()))
        ]
        drop: set[int] = set()
        for buckets, location, files in (
            (met, basis.location, ()),
            (twice, None, tuple(p.file.file_path for p in earlier)),
        ):
            if buckets:
                ours = self._identities(chunk, found, buckets)
                dates = [found.spans[b].date for b in buckets]
                for known in spans.already_there(self._session.lakehouse, ours, dates, location=location, files=files):
                    source = int(rows[1][found.order[known.row]])
                    if location and known.other is not None and source in self.replacing:
                        self._replaced = True
                        continue
                    if known.row not in drop and known.other is not None:
                        self._compare_known(rows, buffer, int(found.order[known.row]), known.other)
                    drop.add(known.row)
        if not drop:
            return found
        keep = np.ones(len(found.order), dtype=np.bool_)
        keep[list(drop)] = False
        counts = np.add.reduceat(keep, found.starts[:-1])
        starts = np.concatenate(([0], np.cumsum(counts)))
        order = found.order[keep]
        left = np.flatnonzero(counts)
        narrowed = []
        for b in left:
            s = found.spans[b]
            low, high = int(chunk.ts[order[starts[b]]]), int(chunk.ts[order[starts[b + 1] - 1]])
            narrowed.append(Span(s.date, s.device, s.sensor, low, high))
        return Sorted(order, np.concatenate(([0], np.cumsum(counts[left]))).astype(np.int64), narrowed)

    def _identities(self, chunk: Chunk, found: Sorted, buckets: Sequence[int]) -> pa.Table:
        import pyarrow as pa

        from homelab_platform.readings import arrow

        rows = np.concatenate([np.arange(found.starts[b], found.starts[b + 1]) for b in buckets])
        sizes = [int(found.starts[b + 1] - found.starts[b]) for b in buckets]

        def repeated(values: list[str]) -> pa.Array:
            return arrow.coded(np.repeat(np.arange(len(values), dtype=np.int32), sizes), values).dictionary_decode()

        return pa.table(
            {
                "row": arrow.fixed(rows.astype(np.int64), pa.int64()),
                "device": repeated([found.spans[b].device for b in buckets]),
                "sensor": repeated([found.spans[b].sensor for b in buckets]),
                "ts": arrow.fixed(chunk.ts[found.order[rows]], pa.int64()),
                "value": arrow.fixed(chunk.value[found.order[rows]], pa.float64()),
            }
        )

    def _table(self, state: TableState, chunk: Chunk, sources: Codes, buffer: RowBuffer, found: Sorted) -> pa.Table:
        import pyarrow as pa

        from homelab_platform.readings import arrow

        order = found.order
        schema = parquet.arrow_schema(
            state.schema(), ("ts", "date", *TEXT_COLUMNS, "value", "source", "ingested_at", *chunk.extras)
        )
        quality, unit = self._judged(chunk, sources, buffer)
        days = np.array([s.date.toordinal() - _EPOCH_DAY for s in found.spans], dtype=np.int32)
        columns: dict[str, pa.Array] = {
            "ts": arrow.fixed(chunk.ts[order], schema.field("ts").type),
            "value": arrow.fixed(chunk.value[order], pa.float64()),
            "source": arrow.coded(sources[order], self._keys),
            "ingested_at": arrow.fixed(
                np.full(len(order), self._ingested_at, dtype=np.int64), schema.field("ingested_at").type
            ),
            "date": arrow.fixed(np.repeat(days, np.diff(found.starts)), pa.date32()),
        }
        for name in TEXT_COLUMNS:
            codes = {"quality": quality, "unit": unit}.get(name, chunk.codes[name])
            columns[name] = arrow.coded(codes[order], buffer.interner(name).values)
        for name, column in chunk.extras.items():
            columns[name] = _extra(column[order], buffer, name, schema.field(name).type)
        fields = [pa.field(f.name, columns[f.name].type, nullable=f.nullable, metadata=f.metadata) for f in schema]
        return pa.Table.from_arrays([columns[f.name] for f in fields], schema=pa.schema(fields))

    def _judged(self, chunk: Chunk, sources: Codes, buffer: RowBuffer) -> tuple[Codes, Codes]:
        """Quality and unit of each row, with what its stream says of the sensor: range, unit where none was sent."""
        quality, unit = chunk.codes["quality"], chunk.codes["unit"]
        names = buffer.interner("sensor").values
        for sensors in {id(s): s for s in self._sensors if s}.values():
            objects = np.array([s is sensors for s in self._sensors])
            ok, bad = (buffer.interner("quality").code(q) for q in (QUALITY_OK, QUALITY_OUT_OF_RANGE))
            known = [sensors.get(name) for name in names]
            low = np.array([-np.inf if s is None or s.low is None else s.low for s in known])
            high = np.array([np.inf if s is None or s.high is None else s.high for s in known])
            units = np.array([buffer.interner("unit").code(s.unit if s and s.unit else None) for s in known])
            sensor = chunk.codes["sensor"]
            mine: NDArray[np.bool_] = objects[sources]
            outside = mine & (quality == ok) & ((chunk.value < low[sensor]) | (chunk.value > high[sensor]))
            quality = np.where(outside, np.int32(bad), quality)
            unit = np.where(mine & (unit < 0), units[sensor].astype(np.int32), unit)
        return quality, unit


def _contradiction(chunk: Chunk, buffer: RowBuffer, row: int, stays: str) -> Rejected:
    reason = f"contradiction: another value for the same device, sensor and ts; {stays}, which stays"
    return Rejected(int(chunk.line[row]), reason, spelled(chunk, buffer, row))


def _extra(column: Any, buffer: RowBuffer, name: str, wanted: pa.DataType) -> pa.Array:
    from homelab_platform.readings import arrow

    if column.dtype == np.int32:
        return arrow.coded(column, buffer.interner(name).values)
    if column.dtype == np.float64:
        return arrow.fixed(column, pa_float(), np.isnan(column)).cast(wanted)
    return arrow.booleans(column > 0, column < 0)


def pa_float() -> pa.DataType:
    """Arrow's double."""
    import pyarrow as pa

    return pa.float64()

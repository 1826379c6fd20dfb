"""The first records of a file that somebody dropped: which format it is, its columns, some of its cells.

Belongs here: looking into a file by its content, never by its name alone. Not here: what the columns mean (guess.py)
or reading records (readings/decode/content.py and files.py, which the ingest uses too).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from homelab_platform.readings.decode import foreign, series
from homelab_platform.readings.decode.content import Content, open_content
from homelab_platform.readings.decode.files import records
from homelab_platform.readings.decode.foreign import Found, Kind
from homelab_platform.readings.decode.lines import BrokenObject
from homelab_platform.wire.contract import PLATFORM_COLUMNS
from homelab_platform.wire.payload import flatten
from homelab_platform.wire.tabular import Options

SAMPLE_ROWS = 200
_FOREIGN: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive (or a spreadsheet); unpack it or save it as CSV",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it, or use gzip",
    b"BZh": "compressed by bzip2; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it, or use gzip",
    b"SQLite format 3\x00": "an SQLite database; export its table as CSV",
    b"%PDF": "a PDF",
    b"<": "HTML or XML; export it as CSV or JSON",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls); save it as CSV",
}
_SUFFIXES = (".gz", ".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", ".parquet", ".lp", ".prom", ".log")


class CannotRead(ValueError):
    """The file is not one that can be ingested; the text says why and what to do."""


@dataclass(frozen=True)
class Sample:
    """The start of a file: `name` without folder and suffixes; records by column name, at most 200 of them; lines that
    are none. `series`: the records are points of a time series database, shown with our columns.
    """

    name: str
    format: Kind
    compressed: bool
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    encoding: str = "utf-8"
    notes: tuple[str, ...] = ()
    series: bool = False
    faults: tuple[Found, ...] = ()
    raw: Sequence[Found] = field(default=(), repr=False)
    content: Content | None = field(default=None, repr=False)

    def cells(self, column: str) -> list[object]:
        """The sample's cells of a column that are not empty."""
        return [row[column] for row in self.rows if row.get(column) not in (None, "")]

    @property
    def decimal(self) -> str:
        """The decimal mark of numbers that are written as text."""
        form = self.content.form if self.content else None
        return form.decimal if form else "."


def take_sample(path: Path, options: Options = Options()) -> Sample:  # noqa: B008 - immutable
    """Look into a file. Raises CannotRead, or OSError when it cannot be opened."""
    with path.open("rb") as file:
        head = file.read(16)
        if not head:
            raise CannotRead("is empty")
        for magic, what in _FOREIGN.items():
            if head.startswith(magic):
                raise CannotRead(f"is {what}")
        file.seek(0)
        try:
            return _sample(plain_name(path), file, options)
        except BrokenObject as error:
            text = str(error)
            said = text.startswith(("is ", "has ", "holds ", "names ", "writes ", "its "))
            raise CannotRead(text if said else f"cannot be read: {text}") from None


def _sample(name: str, file: BinaryIO, options: Options) -> Sample:
    content = open_content(file, "", options)
    if content.compressed and content.stream.read(4) == b"PAR1":
        raise CannotRead("is a gzipped Parquet file; unpack it: Parquet is compressed inside")
    content.stream.seek(0)
    found = list(islice(records(content), SAMPLE_ROWS))
    taken = [one for one in found if one.record is not None]
    faults = tuple(one for one in found if one.record is None)
    if not taken:
        raise CannotRead(_nothing(content, faults))
    is_series = foreign.is_series(content.kind) or (
        content.kind in ("ndjson", "json") and all(series.is_point(one.record or {}) for one in taken)
    )
    rows = list(_shown(taken, content.kind, is_series))
    if not rows:
        raise CannotRead("holds points of a time series without a number among their fields")
    columns = tuple(dict.fromkeys(str(name) for row in rows for name in row))
    if content.form is not None:
        columns = tuple(name for name in content.form.names if name)
    return Sample(name, content.kind, content.compressed, columns, rows, content.encoding, content.notes, is_series,
                  faults, taken, content)  # fmt: skip


def _nothing(content: Content, faults: tuple[Found, ...]) -> str:
    if faults:
        return f"holds no line that can be read; line {faults[0].line}: {faults[0].reason}"
    if content.kind == "csv":
        return "holds a header and no rows"
    if content.kind == "zigbee2mqtt-log":
        return "is a log of Zigbee2MQTT without a message that holds quantities (its level must be info or debug)"
    return "is a Parquet file without rows" if content.kind == "parquet" else "holds no records"


def _shown(found: Sequence[Found], kind: Kind, is_series: bool) -> Iterator[dict[str, object]]:
    """The records by the names that a mapping uses; those of our own contract in NDJSON as they stand."""
    own = {"ts", "device", "sensor", "value"}
    for one in found:
        record = one.record or {}
        if is_series:
            try:
                yield from series.expanded(record)
            except ValueError:
                continue
        elif kind in ("ndjson", "json", "parquet") and not own <= record.keys():
            yield flatten(record, lists=True)
        else:
            yield record


def plain_name(path: Path) -> str:
    """A file's name without its suffixes."""
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name or path.name


def is_platform_column(column: str) -> bool:
    """Whether a column is one that only the platform fills: it comes with our own exports."""
    return column in PLATFORM_COLUMNS


def finite(cell: object) -> bool:
    """Whether a cell is a finite number of its own type."""
    return isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell)

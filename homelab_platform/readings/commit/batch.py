"""One batch: some raw objects decoded, written and committed together.

Belongs here: the order of these steps, and what a broken object means for the batch. Not here: which objects (ingest).
"""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.readings import ledger
from homelab_platform.readings.commit.budget import Budget, budget_of
from homelab_platform.readings.commit.parts import Part, PartWriter
from homelab_platform.readings.commit.rejects import RejectBuffer
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.commit.transaction import Committed, ObjectResult, add_columns, commit, extra_kinds
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.decode.columns import Chunk, Codes, Decoded, RowBuffer, empty_extra
from homelab_platform.readings.decode.content import open_content
from homelab_platform.readings.decode.lines import BrokenObject
from homelab_platform.readings.decode.mapping import METADATA_KEY, Mapping
from homelab_platform.readings.decode.ndjson import Decoder
from homelab_platform.readings.decode.record import ExtraColumns, Rejected
from homelab_platform.wire.tabular import Options

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile

    from homelab_platform.tools.iceberg.tables import TableState
    from homelab_platform.tools.objects.client import ObjectInfo, ObjectReader

FLUSH_ROWS = 2_000_000
FLUSH_TEXT = 64 * 1024 * 1024  # characters of distinct texts
IN_MEMORY = 32 * 1024 * 1024  # bytes; a larger object is spooled to a file
DISK_RESERVE = 256 * 1024 * 1024


@dataclass
class Batch:
    """Decodes `objects` (numbered in order) and commits them."""

    session: Session
    objects: Sequence[ObjectInfo]
    results: dict[int, ObjectResult] = field(default_factory=dict)
    failed: list[tuple[str, Problem]] = field(default_factory=list)

    def __post_init__(self) -> None:
        state = self.session.state(READINGS)
        self._extra = ExtraColumns(extra_kinds(state), owners=ledger.column_owners(self.session.connection))
        self._buffer = RowBuffer(self._extra.kinds)
        scanner = None
        if self.session.fast:
            from homelab_platform.readings.decode.scanner import Scanner

            scanner = Scanner(self._buffer, self._extra, self.session.latest)
        self._decoder = Decoder(self._buffer, self.session.latest, self._extra, scanner)
        self._rejects = RejectBuffer()
        self._streams = [self.session.streams.get(o.key.split("/", 1)[0]) for o in self.objects]
        self._budgets: dict[int, Budget] = {}
        sensors = [stream.sensors if stream else {} for stream in self._streams]
        self._writer = PartWriter(self.session, sensors, [o.key for o in self.objects])
        self.session.numbers = {o.key: i for i, o in enumerate(self.objects)}
        self._again = ledger.waiting_again(
            self.session.connection, self.session.lakehouse.raw_bucket, [o.key for o in self.objects]
        )
        self._parts: list[Part] = []
        self._rejected: list[tuple[DataFile, int | None]] = []

    def run(self) -> Committed | None:
        """Decode and commit; None if no object could be fetched. Raises AlreadyIngested or HomelabError."""
        from homelab_platform.tools.objects.client import NotFound, ObjectsUnreachable, Truncated

        for index, info in enumerate(self.objects):
            try:
                self._object(index, info)
            except ObjectsUnreachable:
                raise
            except (NotFound, Truncated) as error:
                self._forget(index)
                self.results.pop(index, None)
                self.failed.append((info.key, error.problems[0]))
        if not self.results:
            return None
        self._flush(None)
        for index, result in self.results.items():
            result.unkept = self._budgets[index].unkept
        numbers = sorted(self.results)
        renumbered = {old: new for new, old in enumerate(numbers)}
        for part in self._parts:
            part.kept = {renumbered[i]: n for i, n in part.kept.items()}
        self.session.numbers = {self.objects[old].key: new for old, new in renumbered.items()}
        rejected = [file for file, _ in self._rejected]
        return commit(self.session, [self.results[i] for i in numbers], self._parts, rejected)

    def discard(self) -> None:
        """Delete the files of this batch, which is known not to have been committed."""
        self.session.remove([p.file.file_path for p in self._parts] + [f.file_path for f, _ in self._rejected])

    def _object(self, index: int, info: ObjectInfo) -> None:
        stream = self._streams[index]
        self._decoder.zone = stream.tz if stream else None
        self._extra.begin(info.key.split("/", 1)[0])
        self._budgets[index] = budget_of(info.key, stream)
        with self._fetched(info) as (file, result, metadata):
            self.results[index] = result
            try:
                for decoded in self._decoded(file, index, info.key, metadata.get(METADATA_KEY)):
                    self._take(index, result, decoded)
            except BrokenObject as error:
                self._quarantine(index, result, str(error))
        result.left_out = self._extra.left_out
        self._end(index)

    def _decoded(self, stream: BinaryIO, index: int, key: str, mapping_text: str | None) -> Iterator[Decoded]:
        mapping = _mapping(mapping_text)
        if mapping is not None and mapping.replaces:
            self._writer.replacing.add(index)
        suffix = PurePosixPath(key.lower().removesuffix(".gz")).suffix or ".ndjson"
        content = open_content(stream, suffix, mapping.text if mapping else Options())
        if content.kind == "ndjson":
            yield from self._decoder.ndjson(content.stream, mapping)
        else:
            from homelab_platform.readings.decode.files import read_file

            yield from read_file(self._decoder, content, mapping)
        if content.trailing:
            reason = f"{content.trailing:,} bytes behind the end of its gzip data are not gzip, and were left out"
            yield Decoded(rejected=[Rejected(0, reason, "")])

    def _take(self, index: int, result: ObjectResult, decoded: Decoded) -> None:
        decoded = self._budgets[index].admit(decoded, self._buffer)
        if decoded.chunk is not None:
            self._buffer.add(decoded.chunk, index)
            result.read += len(decoded.chunk)
        self._refuse(index, result, decoded.rejected)
        if self._buffer.rows >= FLUSH_ROWS or self._buffer.text_size >= FLUSH_TEXT or self._rejects.full:
            self._flush(index)

    def _disagree(self) -> None:
        """Take what the writer found to contradict: within a delivery it is refused, between deliveries counted."""
        found = self._writer.disagreements.take()
        for index, line in found.within:
            result = self.results[index]
            result.conflicts += 1
            result.read -= 1
            self._refuse(index, result, self._budgets[index].kept([line]))
        for index, count in found.between.items():
            self.results[index].differing += count

    def _refuse(self, index: int, result: ObjectResult, lines: Sequence[Rejected]) -> None:
        """Keep refused lines; of an object that is read again they are in the table already."""
        result.rejected += len(lines)
        if self.objects[index].key not in self._again:
            self._rejects.add(index, lines)

    def _quarantine(self, index: int, result: ObjectResult, problem: str) -> None:
        """Nothing of a broken object is ingested; the table of rejected lines says so in one row."""
        self._forget(index)
        result.read, result.rejected, result.problem = 0, 0, problem
        result.conflicts = result.differing = 0
        self._budgets[index].unkept = 0
        self._rejects.add(index, [Rejected(0, f"whole object: {problem}", "")])
        self.failed.append((result.key, Problem(result.key, problem, "Send it again, whole; nothing of it was taken.")))

    def _forget(self, index: int) -> None:
        self._buffer.drop(index)
        self._rejects.drop(index)
        gone = [p.file.file_path for p in self._parts if p.tag == index]
        gone += [file.file_path for file, tag in self._rejected if tag == index]
        self._parts = [p for p in self._parts if p.tag != index]
        self._rejected = [(file, tag) for file, tag in self._rejected if tag != index]
        self.session.remove(gone)

    def _end(self, index: int) -> None:
        """The object is whole: what was written of it stays."""
        for part in self._parts:
            part.tag = None
        self._rejected = [(file, None) for file, _ in self._rejected]

    def _flush(self, current: int | None) -> None:
        """Write what is in memory; rows of the object still being read go to files of their own."""
        for tag in (None, current) if current is not None else (None,):
            chunk, sources = self._buffer.take(lambda s, t=tag: (s != current) if t is None else True)  # type: ignore[misc]
            if len(chunk):
                chunk, state = self._with_columns(chunk)
                self._parts += self._writer.write(state, (chunk, sources), self._buffer, earlier=self._parts, tag=tag)
                self._disagree()
            self._write_rejects(self._rejects.take(current, others=tag is None), tag)
        if self._buffer.text_size >= FLUSH_TEXT:
            self._buffer.texts.clear()
            if self._decoder.scanner is not None:
                self._decoder.scanner.reset()

    def _write_rejects(self, rejected: list[tuple[int, Rejected]], tag: int | None) -> None:
        from homelab_platform.readings.commit.rejects import rejected_table

        if rejected:
            from homelab_platform.readings.contract import REJECTED

            state = self.session.state(REJECTED)
            table = rejected_table(state.schema(), rejected, [o.key for o in self.objects])
            self._rejected.append((self.session.upload_part(state, table, None), tag))

    def _with_columns(self, chunk: Chunk) -> tuple[Chunk, TableState]:
        """The table with every column that the chunk needs. A column that another worker made meanwhile with another
        type keeps it; our values then go to `<name>_text`.
        """
        before = dict(self._extra.kinds)
        state = add_columns(self.session, self._extra, sorted(chunk.extras))
        for name in [n for n in chunk.extras if self._extra.kinds[n] != before[n]]:
            other = f"{name[:58]}_text"
            self._extra.kinds.setdefault(other, "string")
            texts = self._as_text(chunk.extras.pop(name), name, other)
            old = chunk.extras.get(other)
            chunk.extras[other] = texts if old is None else _first_of(old, texts)
            state = add_columns(self.session, self._extra, sorted(chunk.extras))
        return chunk, state

    def _as_text(self, column: Any, name: str, other: str) -> Codes:
        code = self._buffer.interner(other).code
        codes: Codes = empty_extra("string", len(column))
        for i, value in enumerate(column.tolist()):
            if column.dtype.kind == "f":
                codes[i] = -1 if math.isnan(value) else code(repr(value))
            elif column.dtype.itemsize == 1:
                codes[i] = -1 if value < 0 else code("true" if value else "false")
            else:
                codes[i] = -1 if value < 0 else code(self._buffer.interner(name).values[value])
        return codes

    @contextmanager
    def _fetched(self, info: ObjectInfo) -> Iterator[tuple[BinaryIO, ObjectResult, dict[str, str]]]:
        """The object's bytes as a seekable file, checked against length and etag."""
        reader = self.session.store.open(self.session.lakehouse.raw_bucket, info.key)
        with reader, tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            _check_room(reader, info.key)
            digest = hashlib.sha256()
            size = 0
            while data := reader.read(1 << 20):
                digest.update(data)
                size += len(data)
                _write(spool, data, info.key)
            spool.seek(0)
            result = ObjectResult(info.key, reader.etag or info.etag, size, digest.hexdigest())
            yield spool, result, dict(reader.metadata)  # type: ignore[misc]


def _mapping(text: str | None) -> Mapping | None:
    try:
        return Mapping.parse(text) if text else None
    except HomelabError as error:
        raise BrokenObject("; ".join(f"its mapping: {p.what}" for p in error.problems)) from None


def _check_room(reader: ObjectReader, key: str) -> None:
    if reader.size <= IN_MEMORY:
        return
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < reader.size + DISK_RESERVE:
        raise HomelabError.of(
            folder,
            f"{free >> 20} MiB free, {key} needs {(reader.size + DISK_RESERVE) >> 20} MiB to be read",
            "Make room there or set TMPDIR to a larger disk; nothing was ingested of it yet and nothing is lost.",
        )


def _write(spool: Any, data: bytes, key: str) -> None:
    try:
        spool.write(data)
    except OSError as error:
        raise HomelabError.of(
            tempfile.gettempdir(),
            f"cannot hold {key} while it is read: {error.strerror}",
            "Make room there or set TMPDIR to a larger disk; nothing is lost.",
        ) from None


def _first_of(a: Codes, b: Codes) -> Codes:
    import numpy as np

    return np.where(a >= 0, a, b)

"""One ingesting process at work: its connections, its worker, what it knows of the tables.

Belongs here: what every batch of a run shares. Not here: what a batch does (batch) or how it becomes true (commit).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from homelab_platform.readings import contract, ledger, parquet
from homelab_platform.readings.commit import spans
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.wire.contract import FUTURE_TOLERANCE_SECONDS

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

    from homelab_platform.lab.resolved import ResolvedStream
    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.iceberg.tables import TableState
    from homelab_platform.tools.objects.client import ObjectStore


@dataclass
class Session:
    """`fast` says whether the compiled kernel is in use."""

    lakehouse: Lakehouse
    connection: psycopg.Connection
    io: StoreFileIO
    worker: ledger.Worker
    streams: Mapping[str, ResolvedStream]
    fast: bool = False
    numbers: dict[str, int] = field(default_factory=dict)  # of the objects of the current batch, by key
    _states: dict[str, TableState] = field(default_factory=dict)
    _basis: spans.Basis | None = None

    @property
    def store(self) -> ObjectStore:
        """The S3 client."""
        return self.io.store

    @property
    def latest(self) -> int:
        """The last acceptable `ts` now."""
        return int((time.time() + FUTURE_TOLERANCE_SECONDS) * 1_000_000)

    def state(self, name: str) -> TableState:
        """The table as it is now, read again only if its pointer moved. Raises HomelabError on a broken contract."""
        location = iceberg.pointer(self.connection, name)
        known = self._states.get(name)
        if known is None or known.location != location:
            known = iceberg.read_state(name, location, self.io)
            contract.check_schema(name, known.schema())
            contract.check_partitioning(name, known)
            self._states[name] = known
        return known

    def remember(self, state: TableState) -> None:
        """Keep a state that this process has just made."""
        self._states[state.name] = state

    def basis(self) -> spans.Basis:
        """What new readings are to be compared with now."""
        self._basis = spans.basis(self.connection, self.lakehouse, self.io)
        return self._basis

    def meeting(self, found: Sequence[spans.Span]) -> list[int]:
        """The positions of spans that the table may already hold readings of."""
        return spans.meeting(self.connection, found)

    def upload_part(self, state: TableState, table: pa.Table, day: date | None) -> DataFile:
        """Write rows as a Parquet file of the table's data folder, under this worker's name."""
        data, footer = parquet.encode(table)
        folder = "" if day is None else f"date={day}/"
        path = f"{state.metadata.location}/data/{folder}{part_prefix(self.worker.id)}{uuid.uuid4().hex}.parquet"
        bucket, key = _split(path)
        self.store.put(bucket, key, data)
        return parquet.describe(
            path, footer, state.schema(), size=len(data), partition=day, spec_id=state.metadata.default_spec_id
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files of ours that were never part of a table."""
        for bucket in {_split(p)[0] for p in paths}:
            self.store.delete(bucket, [_split(p)[1] for p in paths if _split(p)[0] == bucket])


def part_prefix(worker: int) -> str:
    """How names of data files written by a worker begin."""
    return f"w{worker}-"


def _split(path: str) -> tuple[str, str]:
    from homelab_platform.tools.iceberg.metadata_io import split_location

    return split_location(path)


@contextmanager
def open_session(lakehouse: Lakehouse, streams: Mapping[str, ResolvedStream] | None = None) -> Iterator[Session]:
    """Connect to PostgreSQL and S3 as a worker; leaves no claim behind. Raises HomelabError naming a dead server."""
    import pyarrow as pa

    pa.set_cpu_count(1)  # one thread costs less CPU, and a Pi has other work
    pa.set_io_thread_count(1)
    with ledger.connect(lakehouse) as connection:
        ledger.ensure_ledger(connection)
        io = iceberg.open_io(lakehouse)
        try:
            session = Session(lakehouse, connection, io, ledger.Worker(lakehouse, connection), streams or {})
            for name in (READINGS, REJECTED):
                session.state(name)
            yield session
            session.worker.close()
        finally:
            io.store.close()

"""Making a batch true: new files, rejected lines, spans and ledger rows, all in one PostgreSQL transaction.

Belongs here: the transaction, and what must be looked at again because somebody committed in between. Not here:
decoding and writing files (batch, parts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.commit.correct import correct
from homelab_platform.readings.commit.parts import Part
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.contract import READINGS, REJECTED
from homelab_platform.readings.decode.record import ExtraColumns
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.metadata_io import split_location
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import Staged, TableMoved, TableState

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.update import TableUpdate
    from pyiceberg.types import IcebergType

ATTEMPTS = 5


@dataclass
class ObjectResult:
    """One object of a batch after decoding. `read` counts its readings, `rejected` its refused lines (`conflicts` of
    them contradict an earlier line), `differing` its readings that an earlier delivery brought with another value,
    `left_out` its further fields that got no column.
    """

    key: str
    etag: str
    size: int
    sha256: str
    read: int = 0
    rejected: int = 0
    problem: str | None = None  # why it was quarantined
    conflicts: int = 0
    differing: int = 0
    left_out: int = 0
    unkept: int = 0


@dataclass(frozen=True)
class Committed:
    """A batch that is true: commit number, snapshot, rows kept of each object (by its number), days touched."""

    seq: int
    snapshot_id: int | None
    kept: dict[int, int]
    parts: tuple[Part, ...]
    replaced: dict[int, int] = field(default_factory=dict)  # values of the table that each object replaced


class AlreadyIngested(Exception):
    """Another worker has committed some of these objects since they were claimed."""

    def __init__(self, keys: set[str]) -> None:
        super().__init__(", ".join(sorted(keys)))
        self.keys = keys


def commit(
    session: Session, objects: Sequence[ObjectResult], parts: Sequence[Part], rejected: Sequence[DataFile]
) -> Committed:
    """Commit a batch. Raises AlreadyIngested (then nothing happened), or HomelabError naming a dead server.

    When the answer to the commit itself is lost, nobody knows whether it happened: the ledger will say, and nothing
    is deleted here.
    """
    for _ in range(ATTEMPTS):
        staged: list[Staged] = []
        try:
            with ledger.commit_lock(session.connection):
                committed = _commit_locked(session, objects, list(parts), rejected, staged)
        except TableMoved:
            session.remove([path for s in staged for path in s.written])
            continue
        for s in staged:
            session.remember(s.after)
        final = {p.file.file_path for p in committed.parts}
        session.remove([p.file.file_path for p in parts if p.file.file_path not in final])
        return committed
    raise HomelabError.of(
        f"{CATALOG}.{READINGS}", f"other engines committed {ATTEMPTS} times in between", "Ingest again in a moment."
    )


def _commit_locked(
    session: Session,
    objects: Sequence[ObjectResult],
    parts: list[Part],
    rejected: Sequence[DataFile],
    staged: list[Staged],
) -> Committed:
    connection = session.connection
    bucket = session.lakehouse.raw_bucket
    other = ledger.known(connection, bucket, {o.key: o.etag for o in objects})
    if other:
        raise AlreadyIngested(other)
    basis = spans.settle(connection, session.lakehouse, session.io)
    parts = [again for p in parts if (again := _checked_again(session, p, basis)) is not None]
    changed = correct(session, parts)
    summary = {"homelab.worker": session.worker.name}
    operation = "overwrite" if changed.rewrite.removed else "append"
    old = frozenset(changed.rewrite.removed)
    files = [p.file for p in parts]
    changes = {
        READINGS: Change([*files, *changed.rewrite.added], old, operation=operation, summary=summary),
        REJECTED: Change([*rejected, *changed.rejected], summary=summary),
    }
    snapshots = {}
    for name, change in changes.items():
        state = session.state(name)
        if change.added or change.removed:
            step = iceberg.stage(state, change, session.io)
            staged.append(step)
            iceberg.swap(connection, step)
            ledger.add_garbage(connection, name, step.garbage)
            ledger.add_garbage(connection, name, sorted(change.removed), step.sequence)
            state = step.after
        snapshots[name] = state
    days = {p.day for p in parts}
    readings = snapshots[READINGS]
    seq = ledger.record_change(connection, "ingest", readings.snapshot_id, sorted(days))
    ledger.record_state(connection, READINGS, readings.location, readings.snapshot_id, seq)
    ledger.count_files(connection, sorted(days))
    spans.widen(connection, [s for p in parts for s in p.spans], seq)
    kept: dict[int, int] = {}
    for part in parts:
        for index, count in part.kept.items():
            kept[index] = kept.get(index, 0) + count
    for key, counts in changed.by_key.items():
        ledger.move_replaced(connection, bucket, counts, key)
    numbers = session.numbers
    replaced = {numbers[key]: sum(counts.values()) for key, counts in changed.by_key.items()}
    done = Committed(seq, readings.snapshot_id, kept, tuple(parts), replaced)
    _record_objects(session, objects, done, snapshots[REJECTED].snapshot_id)
    return done


def _record_objects(
    session: Session, objects: Sequence[ObjectResult], done: Committed, rejected_snapshot: int | None
) -> None:
    bucket = session.lakehouse.raw_bucket
    rows = [
        (
            bucket,
            o.key,
            o.etag,
            o.size,
            o.sha256,
            "quarantined" if o.problem else "ingested",
            o.problem,
            done.kept.get(i, 0),
            o.read - done.kept.get(i, 0),
            o.rejected,
            o.conflicts,
            o.differing,
            o.left_out,
            o.unkept,
            done.replaced.get(i, 0),
            sorted({p.day for p in done.parts if i in p.kept}),
            done.snapshot_id,
            rejected_snapshot if o.rejected or o.problem else None,
            done.seq,
            session.worker.name,
        )
        for i, o in enumerate(objects)
    ]
    with session.connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ingest_ledger (bucket, key, etag, size, sha256, status, problem, rows, duplicates, rejected,"
            " conflicts, differing, left_out, unkept, replaced, dates, snapshot_id, rejected_snapshot_id, seq, worker)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (bucket, key, etag) DO UPDATE SET status = excluded.status, problem = excluded.problem,"
            " rows = ingest_ledger.rows + excluded.rows, duplicates = excluded.duplicates - ingest_ledger.rows,"
            " dates = array(SELECT DISTINCT unnest(ingest_ledger.dates || excluded.dates) ORDER BY 1),"
            " replaced = ingest_ledger.replaced + excluded.replaced, differing = excluded.differing,"
            " snapshot_id = excluded.snapshot_id, seq = excluded.seq, worker = excluded.worker, committed_at = now()",
            rows,
        )
    session.connection.execute(
        "DELETE FROM ingest_claim WHERE bucket = %s AND key = ANY(%s) AND worker = %s",
        (bucket, [o.key for o in objects], session.worker.id),
    )


def _checked_again(session: Session, part: Part, basis: spans.Basis) -> Part | None:
    """The part without readings that were committed after it was compared with the table; None if none is left."""
    if part.basis == basis or part.replaces:
        return part
    met = spans.meeting(session.connection, part.spans, after_seq=part.basis.seq)
    if not met:
        return replace(part, basis=basis)
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from homelab_platform.readings import arrow, parquet

    data = session.store.get(*split_location(part.file.file_path))
    table = parquet.read(data)
    ours = pa.table(
        {
            "row": arrow.fixed(np.arange(len(table)), pa.int64()),
            "device": table["device"],
            "sensor": table["sensor"],
            "ts": table["ts"].cast(pa.int64()),
            "value": table["value"],
        }
    )
    gone = [k.row for k in spans.already_there(session.lakehouse, ours, [part.day], location=basis.location)]
    if not gone:
        return replace(part, basis=basis)
    keep = np.ones(len(table), dtype=np.bool_)
    keep[gone] = False
    lost = pc.value_counts(table["source"].take(arrow.fixed(np.array(gone), pa.int64()))).to_pylist()
    numbers = session.numbers
    kept = dict(part.kept)
    for item in lost:
        kept[numbers[item["values"]]] -= item["counts"]
    kept = {i: n for i, n in kept.items() if n}
    if not keep.any():
        return None
    file = session.upload_part(session.state(READINGS), table.filter(arrow.booleans(keep)), part.day)
    return replace(part, file=file, kept=kept, basis=basis)


def kind_of(found: IcebergType) -> str:
    """How values of an Iceberg column are held while they are decoded: `other` means as text in `<name>_text`."""
    from pyiceberg.types import BooleanType, DoubleType, FloatType, IntegerType, LongType, StringType

    kinds: dict[type, str] = {
        StringType: "string",
        DoubleType: "double",
        FloatType: "double",
        BooleanType: "boolean",
        LongType: "long",
        IntegerType: "int",
    }
    return kinds.get(type(found), "other")


def extra_kinds(state: TableState) -> dict[str, str]:
    """The columns beyond the contract and how their values are held."""
    from homelab_platform.wire.contract import CONTRACT_COLUMNS

    return {f.name: kind_of(f.field_type) for f in state.schema().fields if f.name not in CONTRACT_COLUMNS}


def add_columns(session: Session, extra: ExtraColumns, names: Sequence[str]) -> TableState:
    """The table with at least these extra columns; commits a new schema if one is missing.

    A column that somebody else added meanwhile keeps the type it has; `extra.kinds` is brought up to date with it.
    """
    for _ in range(ATTEMPTS):
        state = session.state(READINGS)
        if not [n for n in names if n not in extra_kinds(state)]:
            extra.kinds.update(extra_kinds(state))
            return state
        try:
            with ledger.commit_lock(session.connection):
                _add_columns_locked(session, extra, names)
        except TableMoved:
            continue
    raise HomelabError.of(f"{CATALOG}.{READINGS}", "its schema keeps changing", "Ingest again in a moment.")


def _add_columns_locked(session: Session, extra: ExtraColumns, names: Sequence[str]) -> None:
    from pyiceberg.schema import Schema
    from pyiceberg.table.update import AddSchemaUpdate, SetCurrentSchemaUpdate
    from pyiceberg.types import BooleanType, DoubleType, NestedField, StringType

    types: dict[str, IcebergType] = {"string": StringType(), "double": DoubleType(), "boolean": BooleanType()}
    spans.settle(session.connection, session.lakehouse, session.io)
    state = session.state(READINGS)
    missing = [n for n in names if n not in extra_kinds(state)]
    if not missing:
        return
    last = state.metadata.last_column_id
    fresh = [
        NestedField(
            last + 1 + i, n, types.get(extra.kinds[n], DoubleType()), required=False, doc="from a producer's field"
        )
        for i, n in enumerate(missing)
    ]
    current = state.schema()
    schema = Schema(
        *current.fields,
        *fresh,
        schema_id=max(s.schema_id for s in state.metadata.schemas) + 1,
        identifier_field_ids=list(current.identifier_field_ids),
    )
    updates: tuple[TableUpdate, ...] = (
        AddSchemaUpdate.model_validate({"schema": schema}),
        SetCurrentSchemaUpdate(schema_id=-1),
    )
    staged = iceberg.stage(state, Change(updates=updates), session.io)
    iceberg.swap(session.connection, staged)
    ledger.add_garbage(session.connection, READINGS, staged.garbage)
    ledger.record_columns(session.connection, {n: extra.owners[n] for n in missing if n in extra.owners})
    seq = ledger.record_change(session.connection, "schema", staged.after.snapshot_id, [])
    ledger.record_state(session.connection, READINGS, staged.after.location, staged.after.snapshot_id, seq)

"""Readings taken out of the table again: a delivery that was wrong, values that a correction replaces.

Belongs here: which files hold such readings, the same files without them, the commit of a withdrawal. Not here: who
asks for it (cli/undo_commands.py), the commit of new readings (transaction.py).

A withdrawal leaves the raw object in the bucket and its row in the ledger, as `withdrawn`: it is never ingested again
by itself. Other deliveries may have brought the same readings and counted them as there already: they are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.readings import ledger
from homelab_platform.readings.commit import spans
from homelab_platform.readings.commit.session import Session
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.decode.record import Rejected
from homelab_platform.readings.upkeep import compaction
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.tools.iceberg.tables import TableMoved, TableState

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

ATTEMPTS = 5


@dataclass(frozen=True)
class Withdrawn:
    """What a withdrawal did: objects, readings taken out, days touched, objects that are to be read again."""

    objects: int
    readings: int
    days: tuple[date, ...]
    read_again: tuple[str, ...]


@dataclass
class Rewrite:
    """Files of the table that go, and those that stand in for them; what was taken out by source."""

    removed: list[str] = field(default_factory=list)
    added: list[DataFile] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def withdraw(session: Session, keys: Sequence[str], why: str) -> Withdrawn:
    """Take every reading of these objects out of the table. Raises HomelabError; then nothing has changed."""
    for _ in range(ATTEMPTS):
        state = session.state(READINGS)
        days = ledger.days_of(session.connection, session.lakehouse.raw_bucket, keys)
        rewrite = without_sources(session, state, days, keys)
        staged: list[iceberg.Staged] = []
        try:
            with ledger.commit_lock(session.connection):
                again = _commit(session, rewrite, (days, keys, why), staged)
        except TableMoved:
            session.remove([path for s in staged for path in s.written] + [f.file_path for f in rewrite.added])
            continue
        for step in staged:
            session.remember(step.after)
        return Withdrawn(len(keys), sum(rewrite.counts.values()), tuple(days), tuple(again))
    raise HomelabError.of(f"{CATALOG}.{READINGS}", "others keep committing in between", "Try again in a moment.")


def _commit(
    session: Session,
    rewrite: Rewrite,
    what: tuple[Sequence[date], Sequence[str], str],
    staged: list[iceberg.Staged],
) -> list[str]:
    days, keys, why = what
    connection, bucket = session.connection, session.lakehouse.raw_bucket
    spans.settle(connection, session.lakehouse, session.io)
    state = session.state(READINGS)
    if rewrite.removed:
        change = Change(
            added=rewrite.added,
            removed=frozenset(rewrite.removed),
            operation="overwrite" if rewrite.added else "delete",
            summary={"homelab.worker": session.worker.name},
        )
        staged.append(iceberg.stage(state, change, session.io))
        iceberg.swap(connection, staged[0])
        state = staged[0].after
        ledger.add_garbage(connection, READINGS, staged[0].garbage)
        ledger.add_garbage(connection, READINGS, sorted(rewrite.removed), staged[0].sequence)
    seq = ledger.record_change(connection, "undo", state.snapshot_id, days)
    ledger.record_state(connection, READINGS, state.location, state.snapshot_id, seq)
    return ledger.mark_withdrawn(connection, bucket, keys, why)


def without_sources(session: Session, state: TableState, days: Sequence[date], keys: Sequence[str]) -> Rewrite:
    """The files of these days that hold readings of the objects, and the same without them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rewrite = Rewrite()
    wanted = pa.array(list(keys), pa.string())
    for file, day, table in _files(session, state, days):
        hit = pc.is_in(table["source"], value_set=wanted)
        _exchange(session, rewrite, (file, day, table), hit)
    return rewrite


def without_identities(session: Session, state: TableState, day: date, parts: Sequence[pa.Table]) -> Rewrite:
    """The files of a day that hold readings with an identity of the `parts`, and the same without them."""
    import pyarrow as pa

    from homelab_platform.tools import duckdb

    rewrite = Rewrite()
    ours = pa.concat_tables([part.select(["device", "sensor", "ts"]) for part in parts])
    for file, _, table in _files(session, state, [day]):
        with closing(duckdb.connect(session.lakehouse, pointers=[], threads=1)) as engine:
            duckdb.lend(engine, "ours", ours)
            duckdb.lend(engine, "theirs", table.append_column("row", pa.array(range(len(table)), pa.int64())))
            rows = engine.execute("SELECT t.row FROM theirs t SEMI JOIN ours o USING (device, sensor, ts)").fetchall()
        places = {int(row[0]) for row in rows}
        hit = pa.array([i in places for i in range(len(table))], pa.bool_())
        _exchange(session, rewrite, (file, day, table), hit)
    return rewrite


def _exchange(session: Session, rewrite: Rewrite, held: tuple[DataFile, date, pa.Table], hit: object) -> None:
    """Note a file with readings that go, and write the same without them."""
    import pyarrow.compute as pc

    file, day, table = held
    count = pc.sum(hit).as_py() or 0
    if not count:
        return
    gone = table.filter(hit)
    for item in pc.value_counts(gone["source"]).to_pylist():
        rewrite.counts[item["values"] or ""] = rewrite.counts.get(item["values"] or "", 0) + item["counts"]
    names = ["ts", "device", "sensor", "value", "source"]
    rewrite.taken += gone.select(names).to_pylist() if len(gone) <= MOST_TOLD else []
    rewrite.removed.append(file.file_path)
    if count < len(table):
        rewrite.added.append(compaction.written(session, session.state(READINGS), table.filter(pc.invert(hit)), day))


MOST_TOLD = 100_000
"""Readings of one file that a correction may replace: each is kept in the table of rejected lines."""


def _files(session: Session, state: TableState, days: Sequence[date]) -> Iterator[tuple[DataFile, date, pa.Table]]:
    if compaction.has_deletes(state, session):
        raise HomelabError.of(
            f"{CATALOG}.{READINGS}",
            "another engine has deleted rows through delete files",
            "Run `homelab run maintenance` first: it makes them part of the files.",
        )
    for day in days:
        for entry in compaction.day_entries(state, session, day):
            yield entry.data_file, day, compaction.read_files(session, state, [entry.data_file])


def replaced_lines(rewrite: Rewrite, key: str) -> list[tuple[str, Rejected]]:
    """What a correction replaced, for the table of rejected lines, with the object that had brought each."""
    import json

    lines = []
    for old in rewrite.taken:
        raw = json.dumps({**old, "ts": old["ts"].isoformat(), "source": old["source"]}, ensure_ascii=False)
        lines.append((old["source"] or "", Rejected(0, f"replaced: a correction says another value ({key})", raw)))
    return lines

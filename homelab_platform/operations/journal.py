"""The journal: what a procedure is about to do, and what came of it, step by step.

Belongs here: the tables of the operations database, the copy of a procedure's record at the target that it changes,
and the lock that keeps a second operator out. Not here: which steps there are (backup.py, drill.py, restore.py), or
carrying them out (procedure.py). The database is one of its own, because a restore replaces the lake's.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from pydantic import JsonValue

from homelab_platform.apply import locks
from homelab_platform.layers.backups.records import Writable
from homelab_platform.names import Say, silent
from homelab_platform.tools import advisory_locks, postgres, who
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

DATABASE = "operations"
FOLDER = "journal"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS procedure (
    run text PRIMARY KEY, kind text NOT NULL, subject text NOT NULL, steps text[] NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'given up')),
    person text NOT NULL, machine text NOT NULL, process integer NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz, problem text NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS procedure_subject ON procedure (kind, subject, began);
CREATE TABLE IF NOT EXISTS procedure_step (
    run text NOT NULL REFERENCES procedure ON DELETE CASCADE, number integer NOT NULL, name text NOT NULL,
    attempts integer NOT NULL, began timestamptz NOT NULL, ended timestamptz, outcome jsonb,
    PRIMARY KEY (run, name));
"""

Outcome = Mapping[str, JsonValue]


@dataclass(frozen=True)
class StepRecord:
    """One step: its intent was recorded at `began`; `outcome` is None until it is known."""

    name: str
    attempts: int
    began: datetime
    ended: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class ProcedureRecord:
    """One procedure over one subject. `steps` are the names of what it consists of; `records` those that were begun."""

    run: str
    kind: str
    subject: str
    steps: tuple[str, ...]
    state: str
    person: str
    machine: str
    process: int
    began: datetime
    ended: datetime | None = None
    problem: str = ""
    records: tuple[StepRecord, ...] = field(default=())

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """What came of the steps that are done, by name."""
        return {record.name: record.outcome for record in self.records if record.outcome is not None}


class Journal:
    """The journal of one site. `endpoint` is any database of its PostgreSQL server."""

    def __init__(self, endpoint: PostgresEndpoint) -> None:
        self._endpoint = endpoint.with_database(DATABASE)
        self._ready = False

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        if not self._ready:
            postgres.create_database(self._endpoint, DATABASE)
        with closing(postgres.connect(self._endpoint, application="homelab journal")) as connection:
            with connection.transaction():
                if not self._ready:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_locks.JOURNAL_TABLE,))
                    connection.execute(_SCHEMA)
                yield connection
            self._ready = True

    def held(self, subject: str, purpose: str, *, wait: float = 0, say: Say = silent) -> AbstractContextManager[None]:
        """Keep everybody else from a procedure over the same subject while a block runs; `wait` seconds for another.

        Raises HomelabError that says who works on it, where, and since when.
        """
        with self._transaction():
            pass
        return locks.held(self._endpoint, _key(subject), purpose, wait=wait, waiting=say)

    def holder(self, subject: str) -> locks.Holder | None:
        """Who works on a subject right now; None if nobody does."""
        with self._transaction():
            pass
        return locks.holder(self._endpoint, _key(subject))

    def begin(self, kind: str, subject: str, steps: Sequence[str]) -> ProcedureRecord:
        """A new procedure. The caller holds the subject's lock."""
        now = datetime.now(UTC)
        run = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO procedure (run, kind, subject, steps, state, person, machine, process)"
                " VALUES (%s, %s, %s, %s, 'running', %s, %s, %s)",
                (run, kind, subject, list(steps), who.person(), who.machine(), os.getpid()),
            )
        return self.load(run)

    def taken_over(self, run: str) -> None:
        """Note that this process goes on with a procedure whose process died."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE procedure SET person = %s, machine = %s, process = %s WHERE run = %s",
                (who.person(), who.machine(), os.getpid(), run),
            )

    def intend(self, run: str, name: str, number: int) -> None:
        """Record that a step is about to run."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO procedure_step AS s (run, number, name, attempts, began)"
                " VALUES (%s, %s, %s, 1, clock_timestamp()) ON CONFLICT (run, name) DO UPDATE SET"
                " attempts = s.attempts + 1, began = excluded.began",
                (run, number, name),
            )

    def record(self, run: str, name: str, outcome: Outcome) -> None:
        """Record what came of a step: from now on it is done."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE procedure_step SET ended = clock_timestamp(), outcome = %s WHERE run = %s AND name = %s",
                (orjson.dumps(outcome).decode(), run, name),
            )

    def end(self, run: str, state: str, problem: str = "") -> None:
        """Record how a procedure ended: `done`, `failed` or `given up`."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE procedure SET state = %s, ended = clock_timestamp(), problem = %s WHERE run = %s",
                (state, problem[:2000], run),
            )

    def load(self, run: str) -> ProcedureRecord:
        """A procedure with its steps. Raises KeyError if there is none of this name."""
        with self._transaction() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM procedure WHERE run = %s", (run,)).fetchone()  # noqa: S608 (a constant)
            if row is None:
                raise KeyError(run)
            steps = connection.execute(
                "SELECT name, attempts, began, ended, outcome FROM procedure_step WHERE run = %s ORDER BY number",
                (run,),
            ).fetchall()
        values = dict(zip(_COLUMNS.split(", "), row, strict=True))
        records = tuple(StepRecord(*step) for step in steps)
        return ProcedureRecord(**{**values, "steps": tuple(values["steps"]), "records": records})

    def has_ended(self, run: str) -> bool:
        """Whether this journal knows the procedure, and no process works on it or may go on with it."""
        return bool(self._select("run = %s AND state <> 'running'", run))

    def unfinished(self, kind: str, subject: str) -> list[ProcedureRecord]:
        """Procedures that say they run, oldest first. With the subject's lock in hand, their processes are dead."""
        return self._select("kind = %s AND subject = %s AND state = 'running' ORDER BY began", kind, subject)

    def alive(self, kinds: Sequence[str]) -> list[ProcedureRecord]:
        """Procedures of these kinds that a process works on right now."""
        running = self._select("state = 'running' AND kind = ANY(%s) ORDER BY began", list(kinds))
        return [record for record in running if self.holder(record.subject) is not None]

    def recent(self, limit: int = 50) -> list[ProcedureRecord]:
        """The newest procedures, newest first."""
        return self._select("true ORDER BY began DESC LIMIT %s", limit)

    def of_kind(self, kind: str, limit: int = 20) -> list[ProcedureRecord]:
        """The newest procedures of one kind, newest first."""
        return self._select("kind = %s ORDER BY began DESC LIMIT %s", kind, limit)

    def newest(self, kind: str, subject: str) -> ProcedureRecord | None:
        """The procedure of this kind that began last; None if there never was one."""
        found = self._select("kind = %s AND subject = %s ORDER BY began DESC LIMIT 1", kind, subject)
        return found[0] if found else None

    def _select(self, condition: str, *values: object) -> list[ProcedureRecord]:
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT run FROM procedure WHERE {condition}", values).fetchall()  # noqa: S608 (constants)
        return [self.load(str(row[0])) for row in rows]


_COLUMNS = "run, kind, subject, steps, state, person, machine, process, began, ended, problem"


def _key(subject: str) -> str:
    return f"operation:{subject}"


def write_copy(record: ProcedureRecord, target: Writable) -> None:
    """Write a procedure's record at a target, whole or not at all."""
    target.write(f"{FOLDER}/{record.run}.json", orjson.dumps(record, option=orjson.OPT_INDENT_2))

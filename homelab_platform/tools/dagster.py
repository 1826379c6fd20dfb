"""Dagster's own storage in PostgreSQL, read without Dagster: runs, verdicts of checks, heartbeats, failed ticks.

Belongs here: questions to its tables (1.13). Dagster's library would answer them too, but importing it costs more than
a whole `homelab status`, and this answers while Dagster's processes are down, which is when people ask.
homelab_platform_tests/tools/test_dagster.py has Dagster write each of these tables and reads it back. Not here: what a
run or a verdict means for the lab (operations/health.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")

_CLASS = re.compile(r"^dagster\.[\w.]+\.Failure: ")
_RUNS = """
SELECT run_id, pipeline_name, status, create_timestamp AT TIME ZONE 'UTC', update_timestamp AT TIME ZONE 'UTC',
    start_time, end_time FROM runs WHERE status = ANY(%s) OR create_timestamp > %s ORDER BY id DESC LIMIT 2000
"""
_CHECKS = """
SELECT DISTINCT ON (c.asset_key, c.check_name) c.asset_key, c.check_name, c.run_id, c.execution_status,
    c.create_timestamp AT TIME ZONE 'UTC', c.evaluation_event, r.status
FROM asset_check_executions c LEFT JOIN runs r ON r.run_id = c.run_id
WHERE NOT (c.execution_status = 'PLANNED' AND coalesce(r.status, '') = ANY(%s))  -- about to come to another verdict
ORDER BY c.asset_key, c.check_name, c.id DESC
"""
_HEARTBEATS = "SELECT daemon_type, timestamp AT TIME ZONE 'UTC' FROM daemon_heartbeats"
_TICKS = """
SELECT tick_body FROM (SELECT DISTINCT ON (selector_id) status, tick_body FROM job_ticks
    ORDER BY selector_id, id DESC) AS latest WHERE status = 'FAILURE'
"""
_FAILURES = """
SELECT event FROM event_logs WHERE run_id = %s AND dagster_event_type IN ('STEP_FAILURE', 'PIPELINE_FAILURE')
ORDER BY id LIMIT 20
"""
_EVENTS = """
SELECT timestamp AT TIME ZONE 'UTC', dagster_event_type, step_key, event FROM event_logs WHERE run_id = %s ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its job, its status in Dagster's words, and when it was created, last changed, started and ended."""

    run_id: str
    job: str
    status: str
    created: datetime
    updated: datetime
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check last came to; the verdict before, while it runs. `passed` is None when it came to no verdict;
    `run_failed` says that its run ended so. `severity` is `warn` or `error`; `run_id` is empty for a verdict that
    belongs to no run.
    """

    asset: str
    check: str
    passed: bool | None
    severity: str
    description: str
    at: datetime
    run_id: str = ""
    run_failed: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """The last tick of a sensor or schedule that failed, and why."""

    name: str
    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event of a run. `failed` says that it reports a failure."""

    at: datetime
    step: str
    text: str
    failed: bool


class DagsterStorage:
    """The storage of one Dagster instance; each call is one short connection.

    Raises HomelabError from every call if the database does not answer. A database that no Dagster wrote yet holds
    nothing.
    """

    def __init__(self, endpoint: PostgresEndpoint) -> None:
        self.endpoint = endpoint

    def runs(self, since: datetime) -> list[Run]:
        """The runs created since a time and all that are under way, newest first; 2,000 at most."""
        rows = self._rows(_RUNS, (list(UNDER_WAY), since.astimezone(UTC).replace(tzinfo=None)))
        return [Run(row[0], row[1], row[2], row[3], row[4], _moment(row[5]), _moment(row[6])) for row in rows]

    def verdicts(self) -> list[Verdict]:
        """The last verdict of each check that was ever begun."""
        return [_verdict(row) for row in self._rows(_CHECKS, (list(UNDER_WAY),))]

    def heartbeats(self) -> dict[str, datetime]:
        """When each of the daemon's loops was last alive, by its type."""
        return dict(self._rows(_HEARTBEATS, ()))

    def failed_ticks(self) -> list[Tick]:
        """The sensors and schedules whose last tick failed."""
        return [_tick(orjson.loads(row[0])) for row in self._rows(_TICKS, ())]

    def reason(self, run_id: str) -> str:
        """Why a run failed, in one or more lines: the first step's failure, else the run's own; empty if unknown."""
        reasons = [_failure(orjson.loads(row[0])) for row in self._rows(_FAILURES, (run_id,))]
        return next((reason for reason in reasons if reason), "")

    def log(self, run_id: str) -> list[LogLine]:
        """The events of a run, in order."""
        return [_line(*row) for row in self._rows(_EVENTS, (run_id,))]

    def run_ids(self, prefix: str) -> list[str]:
        """The runs whose id begins so, newest first."""
        rows = self._rows("SELECT run_id FROM runs WHERE starts_with(run_id, %s) ORDER BY id DESC LIMIT 5", (prefix,))
        return [row[0] for row in rows]

    def _rows(self, query: str, values: tuple[object, ...]) -> list[Any]:
        from psycopg import errors

        with self._connection() as connection:
            try:
                return connection.execute(query.encode(), values).fetchall()
            except errors.UndefinedTable:
                return []

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        with closing(postgres.connect(self.endpoint, autocommit=True, application="homelab status")) as connection:
            yield connection


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _verdict(row: tuple[str, str, str | None, str, datetime, str | None, str | None]) -> Verdict:
    asset, check, run_id, status, at, event, run = row
    data = _specific(orjson.loads(event)) if event and status != "PLANNED" else {}
    severity = str((data.get("severity") or {}).get("__enum__", "")).rpartition(".")[2].lower()
    return Verdict(
        asset="/".join(orjson.loads(asset)),
        check=check,
        passed=None if status == "PLANNED" else status == "SUCCEEDED",
        severity=severity or "error",
        description=str(data.get("description") or ""),
        at=at,
        run_id=run_id or "",
        run_failed=run in ("FAILURE", "CANCELED"),
    )


def _specific(entry: dict[str, Any]) -> dict[str, Any]:
    """What is particular to an event, of the log entry as Dagster writes it."""
    event = entry.get("dagster_event") or {}
    return dict(event.get("event_specific_data") or entry)


def _failure(entry: dict[str, Any]) -> str:
    """The words of a failure: what our own code said, else the innermost error's."""
    data = _specific(entry)
    said = (data.get("user_failure_data") or {}).get("description")
    if said:
        return str(said).strip()
    error: dict[str, Any] = data.get("error") or {}
    while error.get("cause"):
        error = error["cause"]
    text = _CLASS.sub("", str(error.get("message") or "").strip())
    if text:
        return text
    return str((entry.get("dagster_event") or {}).get("message") or "").strip()


def _tick(body: dict[str, Any]) -> Tick:
    error = str((body.get("error") or {}).get("message") or "no reason is recorded").strip()
    return Tick(
        str(body.get("job_name") or body.get("instigator_name") or "a sensor"),
        datetime.fromtimestamp(body.get("timestamp", 0), UTC),
        error,
    )


def _line(at: datetime, kind: str | None, step: str | None, event: str) -> LogLine:
    entry = orjson.loads(event)
    failed = kind in ("STEP_FAILURE", "PIPELINE_FAILURE")
    message = (entry.get("dagster_event") or {}).get("message") or entry.get("user_message") or ""
    return LogLine(at, step or "", (_failure(entry) if failed else "") or str(message), failed)

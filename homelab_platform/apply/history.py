"""Who applied, confirmed, removed or restored what: rows that are added and never changed.

Belongs here: the table `history` and its rows. A row is written in the transaction that it tells of, so there is none
for what did not happen. Not here: applied states themselves (state_store.py), or Dagster's runs, which a row names.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from homelab_platform.tools import advisory_locks, postgres, who
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

Action = Literal["applied", "failed", "confirmed", "removed", "restored"]
"""`confirmed`: a person agreed to a loss of data. `removed`: taken out, and observed to be gone."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    person   text NOT NULL,
    machine  text NOT NULL,
    action   text NOT NULL,
    key      text NOT NULL,
    before   text NOT NULL DEFAULT '',
    after    text NOT NULL DEFAULT '',
    run_id   text NOT NULL DEFAULT '',
    note     text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS history_key ON history (key, id);
CREATE OR REPLACE FUNCTION history_is_added_to() RETURNS trigger LANGUAGE plpgsql AS $f$
    BEGIN RAISE EXCEPTION 'rows of history are never changed'; END $f$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'history_rows' AND tgrelid = 'history'::regclass) THEN
        CREATE TRIGGER history_rows BEFORE UPDATE OR DELETE ON history
            FOR EACH ROW EXECUTE FUNCTION history_is_added_to();
        CREATE TRIGGER history_whole BEFORE TRUNCATE ON history
            FOR EACH STATEMENT EXECUTE FUNCTION history_is_added_to();
    END IF;
END $$;
"""
_MOST_NOTE = 500


@dataclass(frozen=True)
class Row:
    """One thing that was done. `before` and `after` are fingerprints; `run_id` names the run in Dagster's event log."""

    at: datetime
    person: str
    machine: str
    action: str
    key: str
    before: str = ""
    after: str = ""
    run_id: str = ""
    note: str = ""


def record(
    connection: psycopg.Connection,
    action: Action,
    key: str,
    *,
    before: str = "",
    after: str = "",
    run_id: str = "",
    note: str = "",
) -> None:
    """Add a row, by whoever runs this process, in the caller's transaction. The table must exist (SCHEMA)."""
    values: Mapping[str, str] = {
        "person": who.person(), "machine": who.machine(), "action": action, "key": key, "before": before,
        "after": after, "run_id": run_id, "note": note[:_MOST_NOTE],
    }  # fmt: skip
    columns = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    connection.execute(f"INSERT INTO history ({columns}) VALUES ({places})", values)  # noqa: S608 (constants)


def append(endpoint: PostgresEndpoint, action: Action, key: str, **told: str) -> None:
    """Add a row in a transaction of its own; `told` as in record(). Raises HomelabError if the database refuses."""
    with closing(postgres.connect(endpoint, application="homelab history")) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_locks.STATE_TABLE,))
        connection.execute(SCHEMA)
        record(connection, action, key, **told)


def read_history(
    endpoint: PostgresEndpoint, *, key: str | None = None, since: datetime | None = None, limit: int = 100
) -> list[Row]:
    """The newest rows first; of one asset with `key`. Raises HomelabError if the database does not answer."""
    from psycopg import errors

    query = (
        "SELECT at, person, machine, action, key, before, after, run_id, note FROM history "
        "WHERE (%(key)s::text IS NULL OR key = %(key)s) AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) "
        "ORDER BY id DESC LIMIT %(limit)s"
    )
    with closing(postgres.connect(endpoint, application="homelab history")) as connection:
        try:
            rows = connection.execute(query, {"key": key, "since": since, "limit": limit}).fetchall()
        except errors.UndefinedTable:
            return []
    return [Row(*row) for row in rows]

"""The state store: what was applied to each asset, in a table of the site's lake database.

Belongs here: reading and writing `applied_state`. It lives apart from Dagster's own storage so that `homelab plan` need
not start Dagster, and it may be lost: the fingerprint also lies at each target, from where the graph learns it back.
Not here: what follows from a state (plan/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

import orjson

from homelab_platform.apply import history, locks
from homelab_platform.plan.reconcile import back_off
from homelab_platform.plan.state import AppliedState
from homelab_platform.tools import advisory_locks, postgres, who
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

    from homelab_platform.wire.json_types import Document

CONSENT_HOURS = 24
"""How long a person's consent to a loss of data counts, if the change does not succeed before."""

_SCHEMA = """
CREATE SEQUENCE IF NOT EXISTS applied_state_turns;
CREATE TABLE IF NOT EXISTS applied_state (
    key            text PRIMARY KEY,
    fingerprint    text NOT NULL DEFAULT '',
    document       jsonb NOT NULL DEFAULT '{}',
    applied_at     timestamptz,
    observed_at    timestamptz,
    status         text NOT NULL CHECK (status IN ('ok', 'failed', 'drifted', 'missing', 'unreachable')),
    failures       integer NOT NULL DEFAULT 0,
    next_retry_at  timestamptz,
    attempted      text NOT NULL DEFAULT '',
    reason         text NOT NULL DEFAULT '',
    run_id         text NOT NULL DEFAULT '',
    began          bigint NOT NULL DEFAULT 0,  -- turn at which the last successful attempt began
    ended          bigint NOT NULL DEFAULT 0,  -- turn at which it was recorded
    outdated       bigint NOT NULL DEFAULT 0   -- turn at which something that it follows was applied again
);
CREATE TABLE IF NOT EXISTS consent (  -- a person agreed that going from one state to the other loses data
    key            text NOT NULL,
    before         text NOT NULL,
    after          text NOT NULL,
    given_by       text NOT NULL,
    given_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, before, after)
);
DO $$ BEGIN  -- a table made before hosts could be unreachable
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'applied_state'::regclass AND contype = 'c'
                   AND pg_get_constraintdef(oid) LIKE '%unreachable%') THEN
        ALTER TABLE applied_state DROP CONSTRAINT applied_state_status_check;
        ALTER TABLE applied_state ADD CONSTRAINT applied_state_status_check
            CHECK (status IN ('ok', 'failed', 'drifted', 'missing', 'unreachable'));
    END IF;
END $$;
"""

_COLUMNS = (
    "key, fingerprint, document, applied_at, observed_at, status, failures, next_retry_at, attempted, reason, run_id"
)

_APPLIED = """
INSERT INTO applied_state AS s
    (key, fingerprint, document, applied_at, observed_at, status, attempted, run_id, began, ended)
VALUES (%(key)s, %(fingerprint)s, %(document)s, clock_timestamp(), clock_timestamp(), 'ok', %(fingerprint)s, %(run_id)s,
    %(turn)s, nextval('applied_state_turns'))
ON CONFLICT (key) DO UPDATE SET
    fingerprint = excluded.fingerprint, document = excluded.document, applied_at = excluded.applied_at,
    observed_at = excluded.observed_at, failures = 0, next_retry_at = NULL, attempted = excluded.attempted,
    run_id = excluded.run_id, began = excluded.began, ended = excluded.ended,
    status = CASE WHEN s.outdated > excluded.began THEN 'drifted' ELSE 'ok' END,
    reason = CASE WHEN s.outdated > excluded.began THEN s.reason ELSE '' END
"""

_OUTDATE = """
UPDATE applied_state SET outdated = nextval('applied_state_turns'),
    status = CASE WHEN status = 'ok' THEN 'drifted' ELSE status END, reason = %(reason)s
WHERE key = ANY(%(keys)s) AND key <> %(key)s
"""

_FAILED = """
INSERT INTO applied_state AS s (key, status, failures, next_retry_at, attempted, reason, run_id)
VALUES (%(key)s, 'failed', %(failures)s, clock_timestamp() + %(wait)s, %(attempted)s, %(reason)s, %(run_id)s)
ON CONFLICT (key) DO UPDATE SET
    status = 'failed', failures = excluded.failures, next_retry_at = excluded.next_retry_at,
    attempted = excluded.attempted, reason = excluded.reason, run_id = excluded.run_id
"""

_OBSERVED = """
INSERT INTO applied_state AS s (key, fingerprint, document, observed_at, status, attempted, reason)
VALUES (%(key)s, %(fingerprint)s, %(document)s, clock_timestamp(), %(status)s, %(fingerprint)s, %(reason)s)
ON CONFLICT (key) DO UPDATE SET
    observed_at = excluded.observed_at,
    status = CASE WHEN s.status = 'failed' THEN s.status
                  WHEN excluded.status = 'ok' AND s.outdated > s.began THEN 'drifted'
                  ELSE excluded.status END,
    reason = CASE WHEN s.status = 'failed' OR (excluded.status = 'ok' AND s.outdated > s.began) THEN s.reason
                  ELSE excluded.reason END
WHERE s.ended < %(turn)s
"""


class StateStore:
    """The applied states of one site. Every call is one short transaction; safe to use from several processes."""

    def __init__(self, endpoint: PostgresEndpoint) -> None:
        self.endpoint = endpoint
        self._ready = False

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        with closing(postgres.connect(self.endpoint, application="homelab state")) as connection:
            with connection.transaction():
                if not self._ready:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_locks.STATE_TABLE,))
                    connection.execute(_SCHEMA)
                    connection.execute(history.SCHEMA)
                yield connection
            self._ready = True

    def load(self) -> dict[str, AppliedState]:
        """Every state that is known, by key. Raises HomelabError if the database does not answer."""
        from psycopg import errors

        query = f"SELECT {_COLUMNS} FROM applied_state"  # noqa: S608 (a constant)
        with closing(postgres.connect(self.endpoint, application="homelab state")) as connection:
            try:
                rows = connection.execute(query).fetchall()
            except errors.UndefinedTable:
                return {}
        return {row[0]: AppliedState(*row) for row in rows}

    def held(self, key: str, purpose: str, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Keep everybody else from changing the asset while a block runs; see state_locks.held."""
        return locks.held(self.endpoint, key, purpose, waiting=say)

    def turn(self) -> int:
        """A number for the start of an attempt or an observation, greater than any before."""
        with self._transaction() as connection:
            (turn,) = next(iter(connection.execute("SELECT nextval('applied_state_turns')")))
            return int(turn)

    def applied(
        self,
        key: str,
        fingerprint: str,
        document: Document,
        *,
        turn: int,
        followers: Iterable[str] = (),
        run_id: str = "",
    ) -> None:
        """Record a state that was observed after it was applied, in an attempt that began at `turn`.

        In the same transaction its `followers` become outdated: they are asked for again whatever happens to this
        process. If the asset itself became outdated since `turn`, it stays so.
        """
        values = {
            "key": key,
            "fingerprint": fingerprint,
            "document": orjson.dumps(document).decode(),
            "turn": turn,
            "run_id": run_id,
        }
        with self._transaction() as connection:
            history.record(
                connection, "applied", key, before=_fingerprint(connection, key), after=fingerprint, run_id=run_id
            )
            connection.execute(_APPLIED, values)
            connection.execute("DELETE FROM consent WHERE key = %s", (key,))
            keys = list(followers)
            if keys:
                connection.execute(_OUTDATE, {"key": key, "keys": keys, "reason": f"follows {key}"})

    def failed(self, key: str, attempted: str, reason: str, *, run_id: str = "") -> None:
        """Record a failed attempt at the fingerprint `attempted`, and when the next may start."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT failures, attempted FROM applied_state WHERE key = %s FOR UPDATE", (key,)
            ).fetchone()
            failures = (row[0] if row and row[1] == attempted else 0) + 1
            values = {
                "key": key,
                "failures": failures,
                "wait": back_off(key, failures),
                "attempted": attempted,
                "reason": reason[:2000],
                "run_id": run_id,
            }
            history.record(
                connection,
                "failed",
                key,
                before=_fingerprint(connection, key),
                after=attempted,
                run_id=run_id,
                note=reason,
            )
            connection.execute(_FAILED, values)

    def observed(
        self,
        key: str,
        status: str,
        *,
        turn: int,
        reason: str = "",
        fingerprint: str = "",
        document: Document | None = None,
    ) -> None:
        """Record what an observation that began at `turn` found: ok, drifted or missing.

        It is dropped if the asset was applied meanwhile. A failed attempt stays failed until one succeeds. For an asset
        without a row, `fingerprint` and `document` are what was learnt from the target.
        """
        values = {
            "key": key,
            "status": status,
            "turn": turn,
            "reason": reason[:2000],
            "fingerprint": fingerprint,
            "document": orjson.dumps(document or {}).decode(),
        }
        with self._transaction() as connection:
            connection.execute(_OBSERVED, values)

    def forget(self, key: str) -> None:
        """Drop the state of an asset that was deleted."""
        with self._transaction() as connection:
            history.record(connection, "removed", key, before=_fingerprint(connection, key))
            connection.execute("DELETE FROM applied_state WHERE key = %s", (key,))
            connection.execute("DELETE FROM consent WHERE key = %s", (key,))

    def consent(self, key: str, before: str, after: str) -> None:
        """Record that a person agreed to the loss of data of one change: from the fingerprint `before` to `after`.

        It lies in the site's database, so that whoever can start a run cannot give it. It ends when the asset was
        applied, and after CONSENT_HOURS.
        """
        with self._transaction() as connection:
            history.record(connection, "confirmed", key, before=before, after=after, note="loss of data")
            connection.execute(
                "INSERT INTO consent (key, before, after, given_by) VALUES (%s, %s, %s, %s) ON CONFLICT (key, before,"
                " after) DO UPDATE SET given_by = excluded.given_by, given_at = now()",
                (key, before, after, f"{who.person()} on {who.machine()}"),
            )

    def consented(self, key: str, before: str, after: str) -> bool:
        """Whether a person agreed to exactly this change, not long ago."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT 1 FROM consent WHERE key = %s AND before = %s AND after = %s"
                " AND given_at > now() - make_interval(hours => %s)",
                (key, before, after, CONSENT_HOURS),
            ).fetchone()
        return found is not None


def _fingerprint(connection: psycopg.Connection, key: str) -> str:
    """What was applied to an asset so far; empty if nothing was."""
    row = connection.execute("SELECT fingerprint FROM applied_state WHERE key = %s", (key,)).fetchone()
    return str(row[0]) if row else ""

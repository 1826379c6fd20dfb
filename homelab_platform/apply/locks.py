"""Who changes what right now: locks of the state database, so that two never change the same thing.

Belongs here: taking and asking for the locks. They are PostgreSQL's session-level advisory locks: each ends with the
connection that holds it, so a killed process leaves none behind, and a machine that dropped off the network loses its
own after some 25 seconds. The holder's name is its session's application name. Not here: what is done under a lock
(operations/).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.tools import advisory_locks, postgres, who
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

LAB = ""
"""The key under which a person's whole apply is locked."""
WAIT = 600.0
"""Seconds that a change waits for another one of the same asset."""
_PREFIX = "homelab: "
_LONGEST = 63  # bytes of an application name that PostgreSQL keeps
_ALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
_HOLDER = """
SELECT application_name, backend_start, host(client_addr) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = hashtext(%s)::bigint & 4294967295
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as they named themselves (person, machine, process), since when, and from which address."""

    name: str
    since: datetime
    address: str

    def __str__(self) -> str:
        known = self.name.removeprefix(_PREFIX) or f"somebody at {self.address}"
        return f"{known}, since {self.since.astimezone():%H:%M:%S}"


def myself(purpose: str) -> str:
    """This process as others shall see it: person, machine, process and what it does."""
    return f"{purpose} of {who.person()} on {who.machine()}, process {os.getpid()}"


@contextmanager
def held(
    endpoint: PostgresEndpoint,
    key: str,
    purpose: str,
    *,
    wait: float = WAIT,
    waiting: Callable[[str], None] = silent,
) -> Iterator[None]:
    """Hold the lock of an asset's key, or of LAB, while the block runs.

    Another holder is waited for, `wait` seconds at most; `waiting` is told once who it is. Raises HomelabError that
    says who holds it, where and since when, and whatever `postgres.connect` raises.
    """
    name = (_PREFIX + myself(purpose)).encode()[:_LONGEST].decode(errors="ignore")
    with closing(postgres.connect(endpoint, autocommit=True, application=name)) as connection:
        connection.execute(_ALIVE)
        _take(connection, key, wait, waiting)
        try:
            yield
        finally:
            with suppress(Exception):  # a database that went away took the lock with it
                connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (advisory_locks.ASSET, key))


def holder(endpoint: PostgresEndpoint, key: str = LAB) -> Holder | None:
    """Who holds the lock of a key right now; None if nobody does."""
    with closing(postgres.connect(endpoint, application="homelab state")) as connection:
        return _holder(connection, key)


def _take(connection: psycopg.Connection, key: str, wait: float, waiting: Callable[[str], None]) -> None:
    deadline, told, pause = time.monotonic() + wait, False, 0.05
    while True:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (advisory_locks.ASSET, key)
        ).fetchone()
        if row is not None and row[0]:
            return
        other = _holder(connection, key)
        if time.monotonic() > deadline:
            raise HomelabError.of(
                key or "apply",
                f"{other or 'somebody else'} is changing {'it' if key else 'this lab'}",
                "Nothing was changed. Wait until that is done, or end that process; its lock ends with it.",
            )
        if other is not None and not told:
            waiting(f"waits for {other}")
            told = True
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _holder(connection: psycopg.Connection, key: str) -> Holder | None:
    row = connection.execute(_HOLDER, (advisory_locks.ASSET, key)).fetchone()
    return None if row is None else Holder(str(row[0]), row[1], str(row[2] or "this machine"))

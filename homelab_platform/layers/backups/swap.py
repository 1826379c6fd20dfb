"""Putting a copied database in the place of a live one: loaded beside it, verified, then renamed in one transaction.

Belongs here: the staging database, the swap, and dropping what was replaced a day later. Not here: what makes a staged
database right (the caller verifies it).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import PostgresEndpoint

KEPT = timedelta(days=1)
"""How long the replaced database stays."""
_STAGED, _REPLACED = "_staged_", "_before_"
_RUN = re.compile(r"(\d{8}t\d{6})_[0-9a-f]+\Z")


def swap_in(
    live: PostgresEndpoint,
    run: str,
    fill: Callable[[PostgresEndpoint], None],
    verify: Callable[[PostgresEndpoint], None],
) -> str:
    """Replace the database `live` by one that `fill` loads and `verify` accepts; returns the replaced one's new name.

    `verify` raises if the staged database is not right: the live one is then as it was. Repeating it with the same run
    goes on where it stopped, and does nothing once the swap happened.
    """
    token = run.lower().replace("-", "_")
    staged = live.with_database(f"{live.database}{_STAGED}{token}")
    replaced = f"{live.database}{_REPLACED}{token}"
    if postgres.database_exists(live, replaced):
        return replaced
    postgres.drop_database(live, staged.database)  # of an attempt that was killed
    postgres.create_database(live, staged.database)
    try:
        fill(staged)
        verify(staged)
    except BaseException:
        postgres.drop_database(live, staged.database)
        raise
    _rename(live, {live.database: replaced, staged.database: live.database})
    return replaced


def _rename(server: PostgresEndpoint, names: dict[str, str]) -> None:
    """Rename databases together or not at all. Connections to them end; whoever was in a transaction tries again."""
    from psycopg import errors, sql

    maintenance = server.with_database(postgres.MAINTENANCE_DATABASE)
    with closing(postgres.connect(maintenance, application="restore")) as connection:
        for attempt in range(20):
            try:
                with connection.transaction():
                    for old, new in names.items():
                        connection.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (old,)
                        )
                        statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                        connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))
                return
            except errors.ObjectInUse:  # somebody connected between the two statements
                if attempt == 19:
                    raise


def drop_replaced(live: PostgresEndpoint, now: datetime | None = None) -> list[str]:
    """Drop databases that a restore replaced more than a day ago, and staged ones as old; returns their names."""
    gone: list[str] = []
    with closing(postgres.connect(live.with_database(postgres.MAINTENANCE_DATABASE))) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    for (name,) in rows:
        prefixes = tuple(f"{live.database}{word}" for word in (_STAGED, _REPLACED))
        match = _RUN.search(name) if name.startswith(prefixes) else None
        if match is None:
            continue
        began = datetime.strptime(match.group(1), "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
        if (now or datetime.now(UTC)) - began > KEPT:
            postgres.drop_database(live, name)
            gone.append(name)
    return gone

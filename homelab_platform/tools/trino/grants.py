"""Trino's own accounts in PostgreSQL: what each may do there, and nothing beyond it.

Belongs here: the two roles and their rights. Not here: where their passwords are kept (servers/trino.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from homelab_platform.plan.trino.config import CATALOG_ROLE, READER_ROLE, STATE_TABLES
from homelab_platform.tools import advisory_locks

if TYPE_CHECKING:
    import psycopg

MOST_CONNECTIONS = 20
"""Of each role, so that both together leave the platform room."""
CATALOG_TABLES = ("iceberg_tables", "iceberg_namespace_properties")


def grant(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Make the roles with these passwords, and give them their rights in this database; in the caller's transaction."""
    from psycopg import sql

    connection.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_locks.TRINO_ROLES,))
    for role, password in passwords.items():
        row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        verb = sql.SQL("ALTER" if row else "CREATE")
        statement = sql.SQL(
            "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT {} PASSWORD {}"
        )
        values = (sql.Identifier(role), sql.Literal(MOST_CONNECTIONS), sql.Literal(password))
        connection.execute(statement.format(verb, *values))
    _allow(connection, CATALOG_ROLE, CATALOG_TABLES, "SELECT, INSERT, UPDATE, DELETE")
    _allow(connection, READER_ROLE, STATE_TABLES, "SELECT")


def _allow(connection: psycopg.Connection, role: str, tables: tuple[str, ...], rights: str) -> None:
    """Exactly these rights on those of the tables that exist, and none on any other."""
    from psycopg import sql

    who = sql.Identifier(role)
    connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(who))
    for table in tables:
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,):
            target = sql.Identifier(table)
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(rights), target, who))

"""PostgreSQL: connect, wait, make and drop databases.

Belongs here: probes and changes of a PostgreSQL server as a whole, through psycopg 3. Not here: what a table means
(readings/), or starting a server (servers/).
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

MAINTENANCE_DATABASE = "postgres"


class PostgresUnreachable(HomelabError):
    """Nothing answers at the endpoint, or it is not ready yet."""


class PostgresRefused(HomelabError):
    """The server answered and refused: wrong credentials, or no such database."""


def connect(
    endpoint: PostgresEndpoint, *, autocommit: bool = False, timeout: float = 10, application: str = "homelab"
) -> psycopg.Connection:
    """Open a connection; the caller closes it (`with` commits and closes).

    Raises PostgresUnreachable or PostgresRefused; neither ever holds the password. `timeout` in seconds.
    """
    import psycopg

    try:
        return psycopg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            password=endpoint.password,
            dbname=endpoint.database,
            connect_timeout=max(2, round(timeout)),
            application_name=application,
            autocommit=autocommit,
        )
    except psycopg.OperationalError as error:
        raise _connection_problem(endpoint, error) from None


def _place(endpoint: PostgresEndpoint) -> str:
    return f"PostgreSQL {endpoint.host}:{endpoint.port}/{endpoint.database}"


def _connection_problem(endpoint: PostgresEndpoint, error: Exception) -> HomelabError:
    text = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    text = text.replace(endpoint.password, "***") if endpoint.password else text
    detail = text.rsplit("FATAL:", 1)[-1].strip()
    if "password authentication failed" in text or "no password supplied" in text:
        return PostgresRefused.of(
            _place(endpoint),
            f"the password of user {endpoint.user} was refused",
            "Check the credentials of this endpoint; a site keeps its own in secrets.json of its data folder.",
        )
    if "remaining connection slots are reserved" in text or "too many" in text:
        return PostgresRefused.of(
            _place(endpoint),
            f"all connections are taken: {detail}",
            "Who has them: SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2. End those.",
        )
    if "FATAL:" in text and "starting up" not in text and "shutting down" not in text:
        return PostgresRefused.of(_place(endpoint), detail, f"Connected as {endpoint.user}.")
    return PostgresUnreachable.of(
        _place(endpoint), f"cannot connect: {detail}", "Start the site with `homelab up`, or check host and port."
    )


def wait_until_ready(endpoint: PostgresEndpoint, timeout: float = 60) -> None:
    """Return once the server takes connections; raises PostgresUnreachable after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with closing(connect(endpoint, timeout=5)):
                return
        except PostgresUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def server_version(endpoint: PostgresEndpoint) -> int:
    """The server's version as PostgreSQL counts it, e.g. 180004 for 18.4."""
    with closing(connect(endpoint)) as connection:
        return connection.info.server_version


def database_exists(endpoint: PostgresEndpoint, name: str) -> bool:
    """Whether the server has a database of this name."""
    with closing(connect(endpoint.with_database(MAINTENANCE_DATABASE))) as connection:
        return _has_database(connection, name)


def _has_database(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return row is not None


def create_database(endpoint: PostgresEndpoint, name: str) -> bool:
    """Create database `name` (UTF-8) unless it exists; returns whether it was created."""
    from psycopg import errors, sql

    with closing(connect(endpoint.with_database(MAINTENANCE_DATABASE), autocommit=True)) as connection:
        if _has_database(connection, name):
            return False
        statement = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
        try:
            connection.execute(statement)
        except (errors.DuplicateDatabase, errors.UniqueViolation):
            return False  # another process made it between the look and the statement
        return True


def drop_database(endpoint: PostgresEndpoint, name: str) -> bool:
    """Drop database `name`, ending its connections; returns whether it existed."""
    from psycopg import sql

    with closing(connect(endpoint.with_database(MAINTENANCE_DATABASE), autocommit=True)) as connection:
        existed = _has_database(connection, name)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        return existed

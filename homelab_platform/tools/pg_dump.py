"""Logical copies of a PostgreSQL database: dump and load by PostgreSQL's own programs, counts and checksums of rows.

Belongs here: calling pg_dump and pg_restore, and describing a database's rows. Not here: where the programs lie
(servers/postgres.py), which database is saved (layers/backups).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import PostgresEndpoint

if TYPE_CHECKING:
    import psycopg

_STABLE_TEXT = "SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1"
"""Settings under which a row's text is the same on every server."""


def dump(endpoint: PostgresEndpoint, file: Path, programs: Path, *, snapshot: str = "") -> None:
    """Write the database to `file` in PostgreSQL's custom format, uncompressed so that a repository can deduplicate.

    `snapshot` is one that another transaction exported: the dump is of that very moment. The file is read back once: a
    disk may lose its end although pg_dump ended with 0. Raises HomelabError with the program's words, and leaves no
    file then.
    """
    options = ["--format=custom", "--compress=none", "--no-owner", f"--file={file}"]
    if snapshot:
        options.append(f"--snapshot={snapshot}")
    try:
        _run("pg_dump", options, endpoint, programs)
        _run("pg_restore", [f"--file={os.devnull}", str(file)], endpoint, programs)
    except HomelabError:
        file.unlink(missing_ok=True)
        raise


def load(endpoint: PostgresEndpoint, file: Path, programs: Path) -> None:
    """Load a dump into an empty database. Raises HomelabError with pg_restore's words at the first error."""
    _run(
        "pg_restore", ["--exit-on-error", "--no-owner", f"--dbname={endpoint.database}", str(file)], endpoint, programs
    )


def tables_of(connection: psycopg.Connection) -> list[str]:
    """The tables of the schema public, sorted."""
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return [str(row[0]) for row in rows]


def count_rows(
    connection: psycopg.Connection, tables: Sequence[str], leave_out: Collection[str] = ()
) -> dict[str, tuple[int, str]]:
    """Rows of each table and their checksum: the sum of a 60-bit MD5 of each row's text, so order does not matter.

    Within the caller's transaction, whose settings for text it changes.
    """
    from psycopg import sql

    connection.execute(_STABLE_TEXT)
    found: dict[str, tuple[int, str]] = {}
    statement = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint::numeric), 0) FROM {} t"
    )
    for table in tables:
        if table not in leave_out:
            row = connection.execute(statement.format(sql.Identifier(table))).fetchone()
            found[table] = (int(row[0]), str(row[1])) if row else (0, "0")
    return found


def _run(program: str, options: Sequence[str], endpoint: PostgresEndpoint, programs: Path) -> None:
    where = [f"--host={endpoint.host}", f"--port={endpoint.port}", f"--username={endpoint.user}", "--no-password"]
    last = [endpoint.database] if program == "pg_dump" else []
    environment = os.environ | {"PGPASSWORD": endpoint.password, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(programs / program), *where, *options, *last], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"ended with {done.returncode} and no message"])[-1]
        raise HomelabError.of(
            f"PostgreSQL {endpoint.host}:{endpoint.port}/{endpoint.database}",
            f"{program} failed: {said.removeprefix(f'{program}: error: ')}",
            "Nothing was changed by it. See that the server runs and the disk has room.",
        )

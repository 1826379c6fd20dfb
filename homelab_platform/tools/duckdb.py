"""DuckDB as the SQL engine over the lake: offline extensions, the S3 secret, and the catalog `hive` as views.

Belongs here: opening a connection that sees every Iceberg table of the SQL catalog at one moment, and saying which
statements it may run. Not here: running a person's query and showing its rows (readings/query/run.py).

The Iceberg tables are views over `iceberg_scan` of the metadata file that the catalog points at when the connection is
opened: delete files are respected, new columns appear with the next connection, and one connection reads one state
of all tables however long it lives. Nothing is ever fetched from DuckDB's extension server.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from homelab_platform.errors import HomelabError
from homelab_platform.names import CATALOG
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

EXTENSIONS = ("avro", "httpfs", "iceberg")
MEMORY_LIMIT = "512MB"
_VERIFIED: set[str] = set()  # extensions whose signature DuckDB has checked in this process
_READING = frozenset({"SELECT", "EXPLAIN"})
_EXPLAIN = re.compile(r"^\s*explain(\s+analyze)?(\s*\([^)]*\))?\s+", re.IGNORECASE)
_PIVOT = re.compile(r"\bpivot", re.IGNORECASE)


class StateGone(HomelabError):
    """A table's metadata file is not there: it expired after the catalog was asked, or it is lost."""


@dataclass(frozen=True)
class TablePointer:
    """A table of the catalog and the metadata file that holds its current state."""

    namespace: str
    name: str
    metadata: str

    @property
    def identifier(self) -> str:
        """`namespace.name`."""
        return f"{self.namespace}.{self.name}"


def table_pointers(lakehouse: Lakehouse, connection: psycopg.Connection | None = None) -> tuple[TablePointer, ...]:
    """Every table of the catalog with its current metadata file, all read in one statement; empty on a new site.

    `connection`: read within its transaction. Raises PostgresUnreachable or PostgresRefused.
    """
    from homelab_platform.tools.postgres import connect as connect_postgres

    if connection is not None:
        return _pointers(connection)
    with closing(connect_postgres(lakehouse.postgres, autocommit=True, application="homelab sql")) as own:
        return _pointers(own)


def _pointers(connection: psycopg.Connection) -> tuple[TablePointer, ...]:
    if connection.execute("SELECT to_regclass('iceberg_tables')").fetchone() == (None,):
        return ()
    rows = connection.execute(
        "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables t "
        "WHERE catalog_name = %s AND metadata_location IS NOT NULL "
        "AND coalesce(to_jsonb(t) ->> 'iceberg_type', 'TABLE') = 'TABLE' ORDER BY 1, 2",
        (CATALOG,),
    ).fetchall()
    return tuple(TablePointer(*row) for row in rows)


def connect(
    lakehouse: Lakehouse,
    *,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    spill: Path | None = None,
    pointers: Sequence[TablePointer] | None = None,
) -> DuckDBPyConnection:
    """A connection whose catalog `hive` shows every Iceberg table as it is now; `default` is the current schema.

    `memory_limit` as DuckDB writes it; `spill` is the folder for what does not fit (none: one of the system's
    temporary folder, which DuckDB makes when it needs it and removes when the connection closes);
    `pointers` pins the tables to states read earlier. The time zone is UTC. The caller closes it.
    Raises PostgresUnreachable, StateGone, or HomelabError naming the table whose state cannot be read.
    """
    found = table_pointers(lakehouse) if pointers is None else tuple(pointers)
    connection = open_offline(memory_limit=memory_limit, threads=threads, spill=spill)
    try:
        add_secret(connection, lakehouse.objects)
        _add_catalog(connection, found)
    except BaseException:
        connection.close()
        raise
    return connection


def restrict(connection: DuckDBPyConnection, lakehouse: Lakehouse) -> None:
    """Let the connection read the lake and nothing else from now on: no file of this machine, no address, no setting.

    For what people ask. Its key would open the raw bucket too, and a query reads every file that this process may.
    """
    lake = f"s3://{lakehouse.lake_bucket}/"
    connection.execute(f"SET allowed_directories = [{text(lake)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def open_offline(
    *, memory_limit: str = MEMORY_LIMIT, threads: int | None = None, spill: Path | None = None
) -> DuckDBPyConnection:
    """An in-memory DuckDB with the extensions of this environment, which never asks the network for another one.

    DuckDB checks the signatures of 80 MB of extensions, 0.3 CPU-seconds, whenever they are loaded. Once they passed in
    this process they are in its memory, and later connections take them from there without hashing the files again.
    """
    with _ctrl_c_held():
        import duckdb

    connection = duckdb.connect(
        config={
            "allow_unsigned_extensions": set(EXTENSIONS) <= _VERIFIED,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": memory_limit,
            "threads": threads or min(4, os.cpu_count() or 1),
            "temp_directory": str(spill or Path(tempfile.gettempdir()) / f"homelab-sql-{uuid.uuid4().hex}"),
        }
    )
    # first of all: what takes more than two seconds, as loading does on a busy machine, may draw a bar into what a
    # program reads as JSON
    connection.execute("SET enable_progress_bar = false")
    for name in EXTENSIONS:
        connection.execute(f"LOAD {text(str(extension_path(name)))}")
        _VERIFIED.add(name)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET http_timeout = 60")
    connection.execute("SET http_retries = 3")
    return connection


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Ctrl-C comes after this block. In the middle of DuckDB's first import it leaves half a module, or a crash."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def extension_path(name: str) -> Path:
    """The file of an extension, from its wheel `duckdb-extension-<name>`; raises HomelabError if it is missing."""
    import duckdb

    remedy = f"Install duckdb-extension-{name} of the version of duckdb ({duckdb.__version__}): run `make setup`."
    try:
        module = import_module(f"duckdb_extension_{name}")
    except ImportError:
        raise HomelabError.of("DuckDB", f"the extension {name} is not installed", remedy) from None
    folder = Path(str(module.__file__)).parent / "extensions" / f"v{duckdb.__version__}"
    file = folder / f"{name}.duckdb_extension"
    if not file.is_file():
        raise HomelabError.of("DuckDB", f"the extension {name} was built for another version", remedy)
    return file


def add_secret(connection: DuckDBPyConnection, objects: ObjectsEndpoint) -> None:
    """Give the connection the key of the S3 server, for this connection only and kept in memory."""
    parts = urlsplit(objects.url)
    connection.execute(
        "CREATE OR REPLACE SECRET lake (TYPE s3, PROVIDER config, "
        f"KEY_ID {text(objects.access_key)}, SECRET {text(objects.secret_key)}, REGION {text(objects.region)}, "
        f"ENDPOINT {text(parts.netloc)}, URL_STYLE 'path', USE_SSL {str(parts.scheme == 'https').lower()})"
    )


def _add_catalog(connection: DuckDBPyConnection, pointers: Sequence[TablePointer]) -> None:
    connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
    for namespace in sorted({"default", *(p.namespace for p in pointers)}):
        connection.execute(f"CREATE SCHEMA {CATALOG}.{_name(namespace)}")
    for pointer in pointers:
        _add_view(connection, pointer)
    connection.execute(f"USE {CATALOG}.{_name('default')}")


def _add_view(connection: DuckDBPyConnection, pointer: TablePointer) -> None:
    import duckdb

    target = f"{CATALOG}.{_name(pointer.namespace)}.{_name(pointer.name)}"
    view = f"CREATE VIEW {target} AS SELECT * FROM iceberg_scan({text(pointer.metadata)})"  # noqa: S608 - both quoted
    try:
        connection.execute(view)
    except (duckdb.IOException, duckdb.HTTPException) as error:
        kind = StateGone if "404" in str(error) else HomelabError
        raise kind.of(
            f"table {pointer.identifier}",
            f"its state {pointer.metadata} cannot be read: {_first_line(error)}",
            "See that the S3 server runs (`homelab status`); if it does, restore the object from a backup.",
        ) from None


def lend(connection: DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Make the rows of an Arrow table a temporary table `name` of the connection.

    By way of a file: DuckDB's own way imports pandas to look at them, which costs half a second and 50 MB as long as
    the process lives.
    """
    import pyarrow.parquet as pq

    with tempfile.NamedTemporaryFile(prefix="homelab-sql-", suffix=".parquet") as file:
        pq.write_table(table, file.name, compression="none")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_name(name)} AS FROM read_parquet({text(file.name)})")


def refuse_writes(connection: DuckDBPyConnection, sql: str) -> None:
    """Raise HomelabError unless `sql` is exactly one statement that only reads (SELECT, SHOW, DESCRIBE, EXPLAIN …).

    A statement that cannot be parsed passes: running it gives the better message.
    """
    import duckdb

    try:
        kinds = [statement.type.name for statement in connection.extract_statements(sql)]
        if kinds == ["EXPLAIN"]:
            kinds = [s.type.name for s in connection.extract_statements(_EXPLAIN.sub("", sql, count=1))]
    except duckdb.ParserException:
        return
    if not kinds:
        raise HomelabError.of("query", "there is no statement in it", "Write one, e.g. SELECT * FROM sensor_data.")
    if kinds == ["CREATE", "SELECT"] and _PIVOT.search(sql):
        return  # DuckDB splits a dynamic PIVOT into a temporary type and the query itself
    writing = [kind for kind in kinds if kind not in _READING]
    if writing:
        raise HomelabError.of(
            "query",
            f"{writing[0]} is refused: SQL only reads here",
            "Readings enter through `homelab ingest`; tables change with the lab file and `homelab apply`.",
        )
    if len(kinds) > 1:
        raise HomelabError.of("query", f"{len(kinds)} statements were given", "Run one statement at a time.")


def _first_line(error: object) -> str:
    return str(error).strip().splitlines()[0][:300]


def text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    """A quoted SQL identifier."""
    return '"' + value.replace('"', '""') + '"'

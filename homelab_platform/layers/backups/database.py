"""A PostgreSQL database as one item: dumped at one moment, with counts and checksums of its rows.

Belongs here: the logical copy of a database other than the lake's, and putting one on another server. Not here: base
backups and WAL.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.layers.backups.manifest import FileEntry, Manifest, Rows, hash_file, write_manifest
from homelab_platform.layers.backups.swap import drop_replaced
from homelab_platform.tools import pg_dump, postgres
from homelab_platform.tools.endpoints import PostgresEndpoint

DUMP = "database.dump"


@dataclass(frozen=True)
class DatabaseItem:
    """One database. `programs` is the folder of PostgreSQL's programs."""

    endpoint: PostgresEndpoint
    programs: Path
    name: str
    method: str = "postgres"
    must_have: tuple[str, ...] = (DUMP, "manifest.json")
    may_be_empty: bool = False

    def capture(self, stage: Path, run: str, say: Callable[[str], None], *, shrunk: bool = False) -> Manifest:
        """Dump the database as of one moment into `stage`. Raises HomelabError with pg_dump's words."""
        stage.mkdir(parents=True, exist_ok=True)
        with closing(postgres.connect(self.endpoint, application="backup")) as view:
            view.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            export = str(next(iter(view.execute("SELECT pg_export_snapshot()")))[0])
            pg_dump.dump(self.endpoint, stage / DUMP, self.programs, snapshot=export)
            counted = pg_dump.count_rows(view, pg_dump.tables_of(view))
        say(f"dumped {len(counted)} tables")
        file = stage / DUMP
        entries = (FileEntry(name=DUMP, path=DUMP, size=file.stat().st_size, sha256=hash_file(file)),)
        rows = {name: Rows(count=count, checksum=checksum) for name, (count, checksum) in counted.items()}
        return write_manifest(stage, item=self, run=run, files=entries, tables=rows)

    def release(self, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
        """A dump holds nothing in the live database once it has ended. Databases that a restore replaced more than a
        day ago go.
        """
        drop_replaced(self.endpoint)
        return []


def load_database(folder: Path, endpoint: PostgresEndpoint, programs: Path) -> None:
    """Load a copy into the empty database `endpoint`. Raises HomelabError at the first error."""
    pg_dump.load(endpoint, folder / DUMP, programs)


def found_rows(endpoint: PostgresEndpoint) -> dict[str, Rows]:
    """Rows of a database as they are, by table."""
    with closing(postgres.connect(endpoint)) as connection:
        counted = pg_dump.count_rows(connection, pg_dump.tables_of(connection))
    return {name: Rows(count=count, checksum=checksum) for name, (count, checksum) in counted.items()}

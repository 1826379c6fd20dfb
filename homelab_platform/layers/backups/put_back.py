"""Putting verified copies in the places of live items: the lake, databases, files.

Belongs here: what happens for each kind, the old state kept. Not here: fetching and verifying the copy's bytes
(operations/restore.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import database, lake, pin
from homelab_platform.layers.backups.manifest import Manifest, compare_rows
from homelab_platform.layers.backups.swap import swap_in
from homelab_platform.names import Say
from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import Lakehouse, PostgresEndpoint
from homelab_platform.tools.iceberg import tables as iceberg


def put_lake_back(
    restored: Path, manifest: Manifest, run: str, say: Say, *, lakehouse: Lakehouse, programs: Path
) -> list[str]:
    """Put a copy in the lake's place. Objects that are there already stay, and so do raw objects that came after the
    copy was made: ingest takes them in again.

    Raises HomelabError, with the live lake as it was, if the loaded copy is not what was saved.
    """

    def fill(staged: PostgresEndpoint) -> None:
        written = lake.load_lake(manifest, restored, replace(lakehouse, postgres=staged), programs)
        say(f"put back {written} objects of {len(manifest.files) - 1}")

    def verify(staged: PostgresEndpoint) -> None:
        place = replace(lakehouse, postgres=staged)
        _refuse("lake", compare_rows(manifest.tables, lake.found_rows(place)) + lake.compare_lake(manifest, place))
        io = iceberg.open_io(place)
        with closing(io.store):
            pin.settle_restored(place, io)

    replaced = swap_in(lakehouse.postgres, run, fill, verify)
    return [f"the lake is as of {manifest.made:%Y-%m-%d %H:%M:%S} UTC", f"the one before is the database {replaced}"]


def put_database_back(
    restored: Path,
    manifest: Manifest,
    run: str,
    say: Say,
    *,
    endpoint: PostgresEndpoint,
    programs: Path,
    settle: Callable[[PostgresEndpoint], None] = lambda _staged: None,
) -> list[str]:
    """Put a copy in a database's place; `settle` corrects the staged one after it was verified.

    Raises HomelabError, with the live database as it was, if the loaded copy is not what was saved.
    """

    def verify(staged: PostgresEndpoint) -> None:
        _refuse(manifest.item, compare_rows(manifest.tables, database.found_rows(staged)))
        settle(staged)

    replaced = swap_in(endpoint, run, lambda staged: database.load_database(restored, staged, programs), verify)
    say(f"database {endpoint.database} was swapped")
    return [f"database {endpoint.database} is as of {manifest.made:%Y-%m-%d %H:%M:%S} UTC", f"before: {replaced}"]


def settle_dagster(staged: PostgresEndpoint) -> None:
    """Say of runs that were under way when the copy was made that they are cancelled, and free what they held."""
    with closing(postgres.connect(staged, autocommit=True)) as connection:
        tables = {
            row[0]
            for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        }
        if "runs" in tables:
            connection.execute(
                "UPDATE runs SET status = 'CANCELED',"
                " run_body = regexp_replace(run_body, 'DagsterRunStatus\\.[A-Z_]+', 'DagsterRunStatus.CANCELED')"
                " WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
            )
        for table in ("concurrency_slots", "pending_steps"):
            if table in tables:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 (constants)


def put_files_beside(restored: Path, manifest: Manifest, run: str, say: Say, *, root: Path) -> list[str]:
    """Write a copy of the site's files into `root/restored-RUN`: a running site keeps the keys that it runs with."""
    place = root / f"restored-{run}"
    place.mkdir(mode=0o700, exist_ok=True)
    for entry in manifest.files:
        target = place / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(restored / entry.path, target)
    say(f"wrote {len(manifest.files)} files to {place}")
    return [f"the files lie in {place}", "to use them: homelab down, move them up into the site's folder, homelab up"]


def _refuse(item: str, findings: list[str]) -> None:
    if findings:
        raise HomelabError.of(
            f"restore of {item}",
            f"the loaded copy is not what was saved: {'; '.join(findings[:3])}",
            "The live one is as it was. Restore an older snapshot: --at TIME.",
        )

"""A copy of the lake is of one moment while others write and delete, and stands on other servers as it was."""

from __future__ import annotations

import tempfile
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import pin
from homelab_platform.layers.backups.lake import LakeItem, compare_lake, found_rows, load_lake
from homelab_platform.layers.backups.manifest import compare_files, compare_rows
from homelab_platform.readings import contract, ingest
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.quality import reconciliation, reconciliation_files
from homelab_platform.readings.upkeep import maintenance
from homelab_platform.servers.postgres import binaries
from homelab_platform.servers.scratch.servers import make_lakehouse, scratch_servers
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.postgres import connect
from homelab_platform_tests.readings.killing import _object

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def put(lake: Lakehouse, numbers: range) -> None:
    with ObjectStore(lake.objects) as store:
        for number in numbers:
            store.put(lake.raw_bucket, f"environment/2026-10-20/p1/{number:06d}.ndjson", _object(number))


def write_on(lake: Lakehouse, stop: threading.Event) -> None:
    """Ingest new objects, and delete what is given up without any grace for readers, until told to stop."""
    number = 6
    while not stop.is_set():
        put(lake, range(number, number + 3))
        number += 3
        ingest.ingest_pending(lake)
        maintenance.expire_snapshots(lake, keep=1, grace=timedelta(0))


def tags(lake: Lakehouse) -> list[str]:
    io = iceberg.open_io(lake)
    with closing(io.store), closing(connect(lake.postgres)) as connection:
        return [ref for ref in iceberg.load_table(connection, lake, READINGS).metadata.refs if ref != "main"]


def test_a_copy_made_beside_writers_stands_elsewhere_with_rows_equal_to_its_ledger(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    contract.ensure_tables(lakehouse)
    put(lakehouse, range(6))
    ingest.ingest_pending(lakehouse)
    stop, lines = threading.Event(), list[str]()
    writer = threading.Thread(target=write_on, args=(lakehouse, stop))
    writer.start()
    item, stage = LakeItem(lakehouse, binaries()), tmp_path / "stage"
    try:
        item.capture(stage, "one", lines.append)
        manifest = item.capture(stage, "two", lines.append)
    finally:
        stop.set()
        writer.join()
    assert manifest.ledger is not None
    assert manifest.lake[READINGS].rows.count == manifest.ledger.count > 0
    assert compare_files(manifest, stage) == []
    assert tags(lakehouse) == ["backup_one", "backup_two"]
    assert item.release(lambda run: run == "two") == ["one"]
    assert item.release() == ["two"]
    assert tags(lakehouse) == []

    # Not below pytest's own folder: another session of pytest shuts that one to PostgreSQL's user.
    with (
        tempfile.TemporaryDirectory(prefix="homelab-tests-lake-") as elsewhere,
        scratch_servers(Path(elsewhere) / "b") as servers,
    ):
        other = replace(lakehouse, postgres=servers.postgres.with_database("lake"), objects=servers.objects)
        make_lakehouse(other)
        load_lake(manifest, stage, other, binaries())
        assert compare_rows(manifest.tables, found_rows(other)) == []
        assert compare_lake(manifest, other) == []
        io = iceberg.open_io(other)
        with closing(io.store):
            pin.settle_restored(other, io)
        assert reconciliation_files.files_exist(other).passed
        ingest.ingest_pending(other)  # raw objects that came after the moment
        assert reconciliation.rows_agree(other, everything=True).passed
        assert reconciliation.no_duplicates(other, everything=True).passed


def test_a_bucket_that_lost_many_objects_stops_the_backup(lakehouse: Lakehouse, tmp_path: Path) -> None:
    contract.ensure_tables(lakehouse)
    put(lakehouse, range(6))
    item = LakeItem(lakehouse, binaries())
    item.capture(tmp_path, "one", print)
    with ObjectStore(lakehouse.objects) as store:
        gone = [info.key for info in store.list(lakehouse.raw_bucket)][:3]
        store.delete(lakehouse.raw_bucket, gone)
    with pytest.raises(HomelabError, match="holds 3 objects, the backup before 6"):
        item.capture(tmp_path, "two", print)
    assert item.capture(tmp_path, "three", print, shrunk=True).run == "three"


def test_a_moment_in_which_another_engine_commits_is_taken_again(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract.ensure_tables(lakehouse)
    put(lakehouse, range(1))
    ingest.ingest_pending(lakehouse)
    real, calls = duckdb.table_pointers, list[object]()

    def beside(lake: Lakehouse, connection: Any = None) -> list[duckdb.TablePointer]:
        calls.append(connection)
        found = list(real(lake, connection))
        return found if len(calls) != 2 else [replace(p, metadata="moved") for p in found]

    monkeypatch.setattr(duckdb, "table_pointers", beside)
    io = iceberg.open_io(lakehouse)
    with closing(io.store), pin.pin(lakehouse, "run", io) as pinned:
        assert pinned.tables[READINGS].metadata.refs["backup_run"].snapshot_id == pinned.tables[READINGS].snapshot_id
    assert len(calls) == 4

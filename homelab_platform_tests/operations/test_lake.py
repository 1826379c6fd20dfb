"""The lake, saved while it works, proven on servers of its own, and put back after an accident: kill -9 or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from homelab_platform.layers.backups.records import snapshots_of
from homelab_platform.names import silent
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.drill import drill
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.restore import plan_restore, restore
from homelab_platform.operations.site import Protection
from homelab_platform.readings import contract, ingest
from homelab_platform.readings.quality import reconciliation, reconciliation_files
from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.layers.backups.test_lake import put, tags
from homelab_platform_tests.operations.protection import lake_item, protection

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def site(tmp_path: Path, lakehouse: Lakehouse) -> Iterator[Protection]:
    """A site that protects a lake with a few readings."""
    contract.ensure_tables(lakehouse)
    put(lakehouse, range(4))
    ingest.ingest_pending(lakehouse)
    with protection(tmp_path, lakehouse.postgres, {"lake": lake_item(lakehouse)}) as made:
        yield made


def ledger_rows(lakehouse: Lakehouse) -> int:
    with closing(postgres.connect(lakehouse.postgres)) as connection:
        (rows,) = next(iter(connection.execute("SELECT coalesce(sum(rows), 0) FROM ingest_ledger")))
    return int(rows)


def test_a_proven_lake_comes_back_after_an_accident(site: Protection, lakehouse: Lakehouse) -> None:
    lines: list[str] = []
    report = backup(site, BackupRequest("lake"), lines.append)
    assert tags(lakehouse) == []
    proof = drill(site, "lake", "site", lines.append)
    assert proof.rows == report.snapshots["site"].rows
    rows = ledger_rows(lakehouse)
    put(lakehouse, range(4, 6))  # what comes after the backup must not be lost either
    ingest.ingest_pending(lakehouse)
    with closing(postgres.connect(lakehouse.postgres, autocommit=True)) as connection:
        connection.execute("TRUNCATE ingest_ledger; DELETE FROM iceberg_tables")
    with ObjectStore(lakehouse.objects) as store:
        lost = [info.key for info in store.list(lakehouse.lake_bucket) if info.key.endswith(".parquet")]
        store.delete(lakehouse.lake_bucket, lost)
    (choice,) = plan_restore(site, ["lake"])
    done = restore(site, choice, lines.append)
    assert "the one before is the database" in done[1]
    assert ledger_rows(lakehouse) == rows
    ingest.ingest_pending(lakehouse)
    assert ledger_rows(lakehouse) > rows
    for check in (reconciliation.rows_agree, reconciliation.no_duplicates):
        assert check(lakehouse, everything=True).passed
    assert reconciliation_files.files_exist(lakehouse).passed
    replaced = done[1].rsplit(" ", 1)[1]
    assert postgres.database_exists(lakehouse.postgres, replaced)
    postgres.drop_database(lakehouse.postgres, replaced)


@pytest.mark.parametrize("step", ["copy the item", "save to site", "compare at site", "let go of the item"])
def test_a_backup_killed_before_it_could_say_what_came_of_a_step_ends_as_one_snapshot(
    site: Protection, lakehouse: Lakehouse, step: str
) -> None:
    child = os.fork()
    if child == 0:
        real = Journal.record

        def dying(self: Journal, run: str, name: str, outcome: object) -> None:
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, run, name, outcome)  # type: ignore[arg-type]

        with suppress(BaseException):
            Journal.record = dying  # type: ignore[method-assign]
            backup(site, BackupRequest("lake"), silent)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    put(lakehouse, range(4, 5))
    ingest.ingest_pending(lakehouse)
    backup(site, BackupRequest("lake"), silent)
    made = snapshots_of(site.targets[0].folder, "lake")
    assert [record.verdict for record in made] == ["good"]
    target = site.repository(site.targets[0], "lake")
    assert [snapshot.id for snapshot in target.snapshots()] == [made[0].snapshot]
    assert tags(lakehouse) == []

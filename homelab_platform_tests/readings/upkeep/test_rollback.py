"""A PostgreSQL or a bucket that went back in time, on real servers: named, planned, repaired, and told what is lost."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from homelab_platform.cli import common
from homelab_platform.cli.main import app
from homelab_platform.errors import HomelabError
from homelab_platform.readings import ingest, ledger
from homelab_platform.readings.quality.reconciliation import rows_agree
from homelab_platform.readings.quality.reconciliation_files import files_exist
from homelab_platform.readings.upkeep import rollback
from homelab_platform.readings.upkeep.maintenance import clean_orphans
from homelab_platform.servers.postgres import binaries
from homelab_platform.tools import pg_dump, postgres
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.readings.commit.test_deliveries import bring, lake, line, values

__all__ = ["lake"]
pytestmark = [pytest.mark.servers, pytest.mark.slow]
NOW = timedelta(0)
FIRST, SECOND, THIRD = (f"env/2026-11-20/a/{n}.ndjson" for n in (1, 2, 3))


def _restore(lake: Lakehouse, file: Path) -> None:
    with closing(postgres.connect(lake.postgres, autocommit=True, application="test")) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        pg_dump.load(lake.postgres, file, binaries())


def _repaired(lake: Lakehouse) -> rollback.Repair:
    repair = rollback.plan(lake, settled=NOW)
    ingest.ingest_objects(lake, rollback.carry_out(lake, repair))
    return repair


def _is_sound(lake: Lakehouse) -> None:
    assert rollback.examine(lake, settled=NOW) == ()
    assert not rollback.plan(lake, settled=NOW).is_needed
    assert files_exist(lake).passed
    assert rows_agree(lake, everything=True).passed


def test_an_older_database_is_brought_up_to_the_bucket(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(lake, FIRST, line(1, 1.0))
    pg_dump.dump(lake.postgres, tmp_path / "old", binaries())
    bring(lake, SECOND, line(2, 2.0))
    bring(lake, THIRD, line(3, 3.0))
    with ObjectStore(lake.objects) as store:
        store.delete(lake.raw_bucket, [SECOND])  # its retention ended: the table alone has it
    assert rollback.examine(lake, settled=NOW) == ()
    _restore(lake, tmp_path / "old")
    assert values(lake) == [1.0]
    (moved,) = rollback.examine(lake, settled=NOW)
    assert (moved.table, moved.older) == ("default.sensor_data", "PostgreSQL")
    monkeypatch.setattr(rollback, "SETTLED", NOW)
    red = files_exist(lake)
    assert not red.passed
    assert "PostgreSQL went back in time" in red.description
    with pytest.raises(HomelabError, match="nothing is cleaned up"):
        clean_orphans(lake, grace=NOW)  # the newer files are all that remains of two deliveries
    monkeypatch.setattr(common, "find_lab", lambda _lab: tmp_path)
    monkeypatch.setattr(common, "running_site", lambda _path: SimpleNamespace(lakehouse=lake))
    monkeypatch.setattr(common, "resolved_lab", lambda _path: SimpleNamespace(streams={}))
    asked = CliRunner().invoke(app, ["repair"])
    assert (asked.exit_code, values(lake)) == (2, [1.0])
    assert "PostgreSQL went back in time" in asked.output and "--yes" in asked.output
    done = json.loads(CliRunner().invoke(app, ["repair", "--yes", "--json"]).output)
    assert (done["done"], done["unknown_to_ledger"]) == (True, {SECOND: 1, THIRD: 1})
    assert CliRunner().invoke(app, ["repair"]).exit_code == 0
    assert values(lake) == [1.0, 2.0, 3.0]
    _is_sound(lake)
    bring(lake, "env/2026-11-20/a/4.ndjson", line(3, 3.0), line(4, 4.0))
    assert values(lake) == [1.0, 2.0, 3.0, 4.0]


def test_an_older_bucket_is_read_again_and_what_is_lost_is_named(lake: Lakehouse) -> None:
    bring(lake, FIRST, line(1, 1.0))
    with ObjectStore(lake.objects) as store:
        before = {o.key for o in store.list(lake.lake_bucket)}
    bring(lake, SECOND, line(2, 2.0))
    bring(lake, THIRD, line(3, 3.0))
    with ObjectStore(lake.objects) as store:
        newest = [o.key for o in store.list(lake.lake_bucket) if o.key not in before]
        store.delete(lake.lake_bucket, newest)
        store.delete(lake.raw_bucket, [THIRD])
    (moved,) = rollback.examine(lake, settled=NOW)
    assert moved.older == "bucket"
    repair = _repaired(lake)
    assert (repair.read_again, repair.lost) == ([SECOND], {THIRD: 1})
    assert values(lake) == [1.0, 2.0]
    (entry,) = ledger.entries(lake, keys=[THIRD])
    assert (entry.status, entry.problem) == ("withdrawn", rollback.LOST)
    _is_sound(lake)


def test_a_table_without_any_whole_state_is_named_and_nothing_is_changed(lake: Lakehouse) -> None:
    bring(lake, FIRST, line(1, 1.0))
    with ObjectStore(lake.objects) as store:
        metadata = [o.key for o in store.list(lake.lake_bucket) if "sensor_data/metadata" in o.key]
        store.delete(lake.lake_bucket, metadata)
    with pytest.raises(HomelabError, match="no older state of it is whole"):
        rollback.plan(lake, settled=NOW)
    (entry,) = ledger.entries(lake, keys=[FIRST])
    assert entry.status == "ingested"

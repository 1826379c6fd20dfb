"""What a table's pointer leads to is on the disk before the pointer moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.readings.contract import ensure_tables
from homelab_platform.readings.ingest import ingest_pending
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg import metadata_io
from homelab_platform.tools.iceberg import tables as iceberg
from homelab_platform.tools.objects import durability
from homelab_platform.tools.objects.client import ObjectStore


def test_a_folder_on_this_machine_is_flushed(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"readings")
    durability.settle(tmp_path)
    assert (tmp_path / "object").read_bytes() == b"readings"


def test_a_folder_that_is_gone_stops_the_commit_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(HomelabError, match="Nothing was committed") as failed:
        durability.settle(tmp_path / "gone")
    assert "gone" in str(failed.value)


@pytest.mark.servers
def test_each_commit_flushes_before_its_pointer_moves(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(lakehouse, objects_folder=tmp_path)
    ensure_tables(here)
    order: list[str] = []
    swap = iceberg.swap
    monkeypatch.setattr(metadata_io, "settle", lambda folder: order.append(f"flush {folder}"))

    def noted(connection: psycopg.Connection[Any], staged: iceberg.Staged) -> None:
        order.append("swap")
        swap(connection, staged)

    monkeypatch.setattr(iceberg, "swap", noted)
    line = b'{"ts":"2026-03-01T00:00:00Z","device":"shed","sensor":"door","value":1}\n'
    with ObjectStore(here.objects) as store:
        store.put(here.raw_bucket, "shed/2026-03-01/test/one.ndjson", line)
    assert ingest_pending(here).rows == 1
    assert order == [f"flush {tmp_path}", "swap"]

"""A bucket's disk that is full: what was acknowledged stays readable, nothing is torn, and the error says so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.servers.supervise import processes
from homelab_platform.tools.objects.client import ObjectsError, ObjectStore, StorageFull
from homelab_platform_tests.tools.objects.conformance.served import Served, served

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
]

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk in memory; `request.param` is its size in MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(folder)), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


def fill(store: ObjectStore) -> tuple[dict[str, bytes], ObjectsError]:
    """Write objects of 4 MiB until one is refused; returns those that were acknowledged, and the refusal."""
    store.ensure_bucket("full")
    written: dict[str, bytes] = {}
    for number in range(200):
        body = os.urandom(64) * (4 * MIB // 64)
        try:
            store.put("full", f"k{number:03}", body)
        except ObjectsError as error:
            return written, error
        written[f"k{number:03}"] = body
    raise AssertionError("the disk never filled")


def check(server: Served, store: ObjectStore) -> dict[str, bytes]:
    written, error = fill(store)
    assert "full disk" in str(error) or "disk is full" in str(error)
    assert {found.key: found.size for found in store.list("full")} == dict.fromkeys(written, 4 * MIB)
    assert all(store.get("full", key) == body for key, body in written.items())
    server.kill()
    server.start()
    assert all(store.get("full", key) == body for key, body in written.items())
    return written


def takes(store: ObjectStore, key: str) -> bool:
    """Whether the server takes 4 MiB more."""
    try:
        store.put("full", key, bytes(4 * MIB))
    except ObjectsError:
        return False
    return True


@pytest.mark.parametrize("disk", [120], indirect=True)
def test_minio_says_that_it_is_full_and_goes_on_once_there_is_room(disk: Path) -> None:
    with served("MinIO", disk / "server") as server, ObjectStore(server.endpoint, retries=2) as store:
        written = check(server, store)
        with pytest.raises(StorageFull, match="nothing was written"):
            for number in range(20):
                store.put("full", f"more-{number}", bytes(4 * MIB))
        store.delete("full", list(written)[: len(written) // 2])
        assert processes.wait_until(lambda: takes(store, "again"), 60, 1.0)
        assert store.get("full", "again") == bytes(4 * MIB)


# it makes no volume at all on a disk with less than 256 MiB left
@pytest.mark.parametrize("disk", [320], indirect=True)
def test_seaweedfs_refuses_and_keeps_what_it_acknowledged(disk: Path) -> None:
    with served("SeaweedFS", disk / "server") as server, ObjectStore(server.endpoint, retries=2) as store:
        check(server, store)

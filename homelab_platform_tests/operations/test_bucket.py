"""A bucket as an item: an empty one is saved and proven as what it is, one that became empty is not believed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import bucket
from homelab_platform.layers.drills import rehearsals
from homelab_platform.names import silent
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.coverage import coverage
from homelab_platform.operations.drill import drill
from homelab_platform.operations.site import Item, Protection
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.operations.protection import protection

pytestmark = [pytest.mark.servers, pytest.mark.slow]

NAME = "albums"
ITEM = f"bucket/{NAME}"


@pytest.fixture
def store(lakehouse: Lakehouse) -> Iterator[ObjectStore]:
    """The S3 server, with the bucket that is saved."""
    with ObjectStore(lakehouse.objects) as found:
        found.ensure_bucket(NAME)
        found.delete(NAME, [info.key for info in found.list(NAME)])
        yield found


@pytest.fixture
def site(tmp_path: Path, lakehouse: Lakehouse, store: ObjectStore) -> Iterator[Protection]:
    """A site that protects one bucket."""
    item = Item(
        bucket.BucketItem(lakehouse.objects, NAME, ITEM),
        partial(rehearsals.rehearse_bucket, bucket=NAME),
        partial(bucket.put_bucket_back, objects=lakehouse.objects, bucket=NAME),
    )
    with protection(tmp_path, lakehouse.postgres, {ITEM: item}) as made:
        yield made


def test_an_empty_bucket_is_proven_and_one_that_became_empty_is_not_believed(
    site: Protection, store: ObjectStore
) -> None:
    backup(site, BackupRequest(ITEM), silent)
    assert drill(site, ITEM, "site", silent).passed
    assert [(row.state, row.bytes) for row in coverage(site)] == [("proven", 0)]

    store.put(NAME, "2026/lake.jpg", b"a summer")
    backup(site, BackupRequest(ITEM), silent)
    assert drill(site, ITEM, "site", silent).passed

    store.delete(NAME, ["2026/lake.jpg"])
    with pytest.raises(HomelabError, match="holds 0 objects, the backup before 1"):
        backup(site, BackupRequest(ITEM), silent)

"""The servers that all tests share."""

from __future__ import annotations

from contextlib import closing

import pytest

from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.postgres import connect

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("_round", range(4))
def test_a_fresh_lakehouse_holds_nothing_of_another_test(lakehouse: Lakehouse, _round: int) -> None:
    with closing(connect(lakehouse.postgres, autocommit=True)) as connection:
        connection.execute("CREATE TABLE mine (n int)")
    with ObjectStore(lakehouse.objects) as store:
        assert list(store.list(lakehouse.raw_bucket)) == []
        store.put(lakehouse.raw_bucket, "a", b"1")
        assert store.get(lakehouse.raw_bucket, "a") == b"1"

"""A table that another engine re-declared: seen, not written to, and put back by applying it."""

from __future__ import annotations

import pytest
from pyiceberg.transforms import IdentityTransform

from homelab_platform.errors import HomelabError
from homelab_platform.layers.tables.adapter import TableAdapter, load
from homelab_platform.names import silent
from homelab_platform.plan.desired import DesiredState
from homelab_platform.readings import contract, declared, ingest
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.readings.lake import catalog_of

LINE = b'{"ts":"2026-10-20T10:00:00Z","device":"a","sensor":"b","value":1}\n'


@pytest.mark.servers
def test_what_another_engine_redeclared_is_seen_and_put_back(lakehouse: Lakehouse) -> None:
    contract.ensure_tables(lakehouse)
    desired = DesiredState(
        "table/sensor_data", "table", {"name": contract.READINGS, "bucket": "lake"}, fingerprint="f" * 64
    )
    adapter = TableAdapter(lakehouse)
    assert adapter.probe(desired).differences == ()
    table = catalog_of(lakehouse).load_table(contract.READINGS)
    with table.update_spec() as spec:
        spec.remove_field("date")
        spec.add_field("device", IdentityTransform())
    with table.update_sort_order() as order:
        order.desc("ts", IdentityTransform())
    with table.transaction() as change:
        change.set_properties({"write.parquet.compression-codec": "gzip"})
    assert adapter.probe(desired).differences == (
        "property write.parquet.compression-codec is gzip, not zstd",
        "partitioned by device, not date",
        "sorted by ts descending, not device, sensor, ts",
    )
    with ObjectStore(lakehouse.objects) as store:
        store.put(lakehouse.raw_bucket, "env/1.ndjson", LINE)
    with pytest.raises(HomelabError, match="partitioned by device, not as it was declared"):
        ingest.ingest_pending(lakehouse)
    adapter.change(desired, adapter.probe(desired), silent)
    assert adapter.probe(desired).differences == ()
    assert ingest.ingest_pending(lakehouse).rows == 1
    metadata = load(lakehouse, contract.READINGS)
    assert metadata is not None
    assert metadata["default-spec-id"] == 0


def test_a_table_that_nobody_declared_has_no_differences() -> None:
    assert declared.differences("default.mine", {}) == []

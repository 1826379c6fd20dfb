"""Iceberg tables of readings: probed and changed through the catalogue, filled by the ingest.

Belongs here: a table's existence, declared columns and the property that carries its fingerprint. Not here: how
readings become rows (readings/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedTable
from homelab_platform.names import CATALOG, Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.specs import read
from homelab_platform.readings.contract import REJECTED
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.iceberg.snapshot import Change
from homelab_platform.wire.json_types import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyiceberg.table.update import TableUpdate

    from homelab_platform.tools.iceberg.metadata_io import StoreFileIO
    from homelab_platform.tools.iceberg.tables import TableState

FINGERPRINT_PROPERTY = "homelab.fingerprint"
ATTEMPTS = 5
TYPES = {
    "string": "string",
    "text": "string",
    "int": "int",
    "long": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamptz": "timestamptz",
}
"""Column types as a lab file says them, and as Iceberg does."""


def load(lakehouse: Lakehouse, name: str) -> dict[str, Any] | None:
    """The metadata of the table `namespace.table` as it is now, None if there is none.

    Read as plain JSON: PyIceberg costs half a second to import, and `homelab plan` looks at every table.
    """
    from homelab_platform.readings import ledger
    from homelab_platform.tools.objects.client import ObjectStore

    with ledger.connect(lakehouse) as connection:
        row = connection.execute("SELECT to_regclass('iceberg_tables')").fetchone()
        if row is None or row[0] is None:
            return None
        namespace, _, table = name.partition(".")
        found = connection.execute(
            "SELECT metadata_location FROM iceberg_tables"
            " WHERE catalog_name = %s AND table_namespace = %s AND table_name = %s",
            (CATALOG, namespace, table),
        ).fetchone()
    if found is None:
        return None
    bucket, _, key = str(found[0]).partition("://")[2].partition("/")
    with ObjectStore(lakehouse.objects) as store:
        metadata: dict[str, object] = orjson.loads(store.get(bucket, key))
    return {**metadata, "metadata-location": found[0]}


def columns_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a table and their types, from its metadata."""
    schemas = {schema["schema-id"]: schema for schema in metadata["schemas"]}
    return {field["name"]: str(field["type"]) for field in schemas[metadata["current-schema-id"]]["fields"]}


def update(lakehouse: Lakehouse, name: str, updates: Callable[[TableState], list[TableUpdate]]) -> None:
    """Change a table's properties or columns, in turn with the commits of ingests; `updates` may return none.

    Raises HomelabError if other writers are quicker several times in a row.
    """
    from homelab_platform.tools.iceberg import tables as iceberg

    io = iceberg.open_io(lakehouse)
    try:
        for _ in range(ATTEMPTS):
            try:
                return _update(lakehouse, name, updates, io)
            except iceberg.TableMoved:
                continue
    finally:
        io.store.close()
    raise HomelabError.of(name, "others keep changing this table", "It will be tried again.")


def _update(
    lakehouse: Lakehouse, name: str, updates: Callable[[TableState], list[TableUpdate]], io: StoreFileIO
) -> None:
    from homelab_platform.readings import ledger
    from homelab_platform.readings.commit import spans
    from homelab_platform.readings.contract import READINGS
    from homelab_platform.tools.iceberg import tables as iceberg

    with ledger.connect(lakehouse) as connection, ledger.commit_lock(connection):
        if name == READINGS:
            spans.settle(connection, lakehouse, io)
        state = iceberg.load_table(connection, lakehouse, name)
        wanted = updates(state)
        if not wanted:
            return
        staged = iceberg.stage(state, Change(updates=wanted), io)
        iceberg.swap(connection, staged)
        if name == READINGS:
            seq = ledger.record_change(connection, "settings", staged.after.snapshot_id, [])
            ledger.record_state(connection, name, staged.after.location, staged.after.snapshot_id, seq)
        if name in (READINGS, REJECTED):
            ledger.add_garbage(connection, name, sorted(staged.garbage))


def set_properties(lakehouse: Lakehouse, name: str, properties: Mapping[str, str]) -> None:
    """Leave properties, such as the fingerprint, at the table itself; nothing is written if they are there."""
    from pyiceberg.table.update import SetPropertiesUpdate

    def missing(state: TableState) -> list[TableUpdate]:
        found = state.metadata.properties
        same = all(found.get(key) == value for key, value in properties.items())
        return [] if same else [SetPropertiesUpdate(updates=dict(properties))]

    update(lakehouse, name, missing)


class TableAdapter:
    """The tables of readings and of what was rejected."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self.lakehouse = lakehouse

    def probe(self, desired: DesiredState) -> Observation:
        """Existence, fingerprint, declared columns, properties, sort order and partitioning."""
        from homelab_platform.readings import declared

        name = str(desired.document["name"])
        state = load(self.lakehouse, name)
        if state is None:
            return Observation(exists=False)
        have = columns_of(state)
        differences = tuple(
            f"column {column} is {have[column]}, not {wanted}" if column in have else f"column {column} is missing"
            for column, wanted in _columns(read(ResolvedTable, desired.document)).items()
            if have.get(column) != wanted
        )
        differences += tuple(declared.differences(name, state))
        facts = {
            "columns": ", ".join(have),
            "snapshots": len(state.get("snapshots") or ()),
            "metadata": state["metadata-location"],
        }
        fingerprint = (state.get("properties") or {}).get(FINGERPRINT_PROPERTY, "")
        return Observation(True, fingerprint, differences, facts)

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make the tables of the contract, put back what another engine changed, add declared columns, leave the
        fingerprint.
        """
        from homelab_platform.readings import contract, declared

        name = str(desired.document["name"])
        if name not in (contract.READINGS, contract.REJECTED):
            raise HomelabError.of(
                desired.key,
                f"readings go to {contract.READINGS} only, not to {name}",
                "Leave `table:` out of the stream.",
            )
        contract.ensure_tables(self.lakehouse)
        update(self.lakehouse, name, declared.corrections)
        columns = _columns(read(ResolvedTable, desired.document))
        if columns:
            update(self.lakehouse, name, lambda state: _new_columns(state, columns))
        set_properties(self.lakehouse, name, {FINGERPRINT_PROPERTY: desired.fingerprint})
        say(f"{name} is set up")

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Drop the table from the catalogue and delete its files."""
        from homelab_platform.tools.iceberg import tables as iceberg

        name = str(document["name"])
        if load(self.lakehouse, name) is not None:
            iceberg.open_catalog(self.lakehouse).purge_table(name)
        say(f"{name} is dropped")

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """How large the table is and what became of it lately."""
        state = load(self.lakehouse, str(desired.document["name"]))
        if state is not None:
            yield from exhibits(state)


def exhibits(metadata: Mapping[str, Any]) -> Iterable[Exhibit]:
    """Rows, files and the newest commits of a table, from its metadata."""
    snapshots = sorted(metadata.get("snapshots") or (), key=lambda one: one["timestamp-ms"], reverse=True)
    current = next((one for one in snapshots if one["snapshot-id"] == metadata.get("current-snapshot-id")), None)
    totals = (current or {}).get("summary", {})
    yield Exhibit("dagster/row_count", "number", int(totals.get("total-records", 0)))
    yield Exhibit("data files", "number", int(totals.get("total-data-files", 0)))
    yield Exhibit("bytes", "number", int(totals.get("total-files-size", 0)))
    rows = [
        {
            "committed": f"{datetime.fromtimestamp(one['timestamp-ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            "operation": one["summary"].get("operation", ""),
            "rows added": int(one["summary"].get("added-records", 0)),
            "rows in all": int(one["summary"].get("total-records", 0)),
        }
        for one in snapshots[:10]
    ]
    yield Exhibit("commits", "table", rows)


def _columns(table: ResolvedTable) -> dict[str, str]:
    return {name: TYPES.get(kind, kind) for name, kind in table.columns.items()}


def _new_columns(state: TableState, wanted: Mapping[str, str]) -> list[TableUpdate]:
    """The updates that add missing columns; a column of another type is left for the probe to name."""
    from pyiceberg.schema import Schema
    from pyiceberg.table.update import AddSchemaUpdate, SetCurrentSchemaUpdate
    from pyiceberg.types import NestedField

    schema = state.schema()
    have = {field.name for field in schema.fields}
    number = state.metadata.last_column_id
    fields = list(schema.fields)
    for name in sorted(set(wanted) - have):
        number += 1
        fields.append(NestedField(number, name, wanted[name], required=False))
    if len(fields) == len(schema.fields):
        return []
    number_of_schema = max(existing.schema_id for existing in state.metadata.schemas) + 1
    new = Schema(*fields, schema_id=number_of_schema, identifier_field_ids=schema.identifier_field_ids)
    return [AddSchemaUpdate(schema_=new), SetCurrentSchemaUpdate(schema_id=-1)]

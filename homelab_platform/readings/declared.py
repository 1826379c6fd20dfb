"""The tables of readings against their one declaration (contract.DECLARED): what another engine changed, and the way
back.

Belongs here: properties, sort order and partitioning. Not here: columns, which contract.check_schema guards, or when a
table is looked at (layers/tables/adapter.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homelab_platform.readings.contract import DECLARED, Declared

if TYPE_CHECKING:
    from pyiceberg.table.update import TableUpdate

    from homelab_platform.tools.iceberg.tables import TableState


def differences(name: str, metadata: Mapping[str, Any]) -> list[str]:
    """How a table differs from its declaration, by its metadata file as plain JSON; nothing for an undeclared table."""
    wanted = DECLARED.get(name)
    if wanted is None:
        return []
    have = metadata.get("properties") or {}
    found = [
        f"property {key} is {have.get(key, 'not set')}, not {value}"
        for key, value in wanted.properties.items()
        if key != "format-version" and have.get(key) != value
    ]
    if int(metadata.get("format-version", 0)) != int(wanted.properties.get("format-version", 2)):
        found.append(f"format-version is {metadata.get('format-version')}")
    names = _names(metadata)
    for what, fields, declared in (
        ("partitioned by", _current(metadata, "partition-specs", "default-spec-id", "spec-id"), wanted.partition_by),
        ("sorted by", _current(metadata, "sort-orders", "default-sort-order-id", "order-id"), wanted.sort_by),
    ):
        shown = tuple(_shown(field, names) for field in fields)
        if shown != declared:
            found.append(f"{what} {', '.join(shown) or 'nothing'}, not {', '.join(declared) or 'nothing'}")
    return found


def _names(metadata: Mapping[str, Any]) -> dict[int, str]:
    schemas = {schema["schema-id"]: schema for schema in metadata["schemas"]}
    return {field["id"]: field["name"] for field in schemas[metadata["current-schema-id"]]["fields"]}


def _current(metadata: Mapping[str, Any], entries: str, default: str, key: str) -> list[Mapping[str, Any]]:
    chosen = [entry for entry in metadata[entries] if entry[key] == metadata[default]]
    return list(chosen[0]["fields"]) if chosen else []


def _shown(field: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """`device` for an ascending identity field, else with what is done to it."""
    name = names.get(field["source-id"], f"field {field['source-id']}")
    transform, down = str(field["transform"]), field.get("direction") == "desc"
    return (name if transform == "identity" else f"{transform}({name})") + (" descending" if down else "")


def corrections(state: TableState) -> list[TableUpdate]:
    """The updates that make a table what its declaration says; none when it is.

    Files that were written meanwhile under another partitioning stay as they are: queries read them, and Trino's
    `optimize` rewrites them.
    """
    from pyiceberg.table.update import SetPropertiesUpdate

    wanted = DECLARED[state.name]
    have = state.metadata.properties
    properties = {k: v for k, v in wanted.properties.items() if k != "format-version" and have.get(k) != v}
    made: list[TableUpdate] = [SetPropertiesUpdate(updates=properties)] if properties else []
    return made + _partitioning(state, wanted) + _sorting(state, wanted)


def _partitioning(state: TableState, wanted: Declared) -> list[TableUpdate]:
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.table.update import AddPartitionSpecUpdate, SetDefaultSpecUpdate
    from pyiceberg.transforms import IdentityTransform

    def of(spec: PartitionSpec) -> tuple[str, ...]:
        schema = state.schema()
        names = {field.field_id: field.name for field in schema.fields}
        return tuple(
            names.get(f.source_id, "") if isinstance(f.transform, IdentityTransform) else str(f.transform)
            for f in spec.fields
        )

    metadata = state.metadata
    if of(metadata.spec()) == wanted.partition_by:
        return []
    for number, spec in metadata.specs().items():
        if of(spec) == wanted.partition_by:
            return [SetDefaultSpecUpdate(spec_id=number)]
    first = (metadata.last_partition_id or 999) + 1
    fields = (
        PartitionField(state.schema().find_field(name).field_id, first + n, IdentityTransform(), name)
        for n, name in enumerate(wanted.partition_by)
    )
    new = PartitionSpec(*fields, spec_id=max(metadata.specs()) + 1)
    return [AddPartitionSpecUpdate.model_validate({"spec": new}), SetDefaultSpecUpdate(spec_id=-1)]


def _sorting(state: TableState, wanted: Declared) -> list[TableUpdate]:
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.table.update import AddSortOrderUpdate, SetDefaultSortOrderUpdate
    from pyiceberg.transforms import IdentityTransform

    metadata, schema = state.metadata, state.schema()
    order = [SortField(schema.find_field(name).field_id, IdentityTransform()) for name in wanted.sort_by]
    orders = {entry.order_id: list(entry.fields) for entry in metadata.sort_orders}
    if orders.get(metadata.default_sort_order_id, []) == order:
        return []
    for number, fields in orders.items():
        if fields == order:
            return [SetDefaultSortOrderUpdate.model_validate({"sort-order-id": number})]
    new = SortOrder(*order, order_id=max(orders, default=0) + 1)
    return [
        AddSortOrderUpdate.model_validate({"sort-order": new}),
        SetDefaultSortOrderUpdate.model_validate({"sort-order-id": -1}),
    ]

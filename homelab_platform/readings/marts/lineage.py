"""Which columns of which tables a mart's column is made from, read out of its SQL.

Belongs here: following a column through the SQL. Not here: how that is shown (graph/metadata.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from homelab_platform.lab.marts import DIALECT, parsed
from homelab_platform.readings.contract import READINGS
from homelab_platform.readings.marts.tables import DETECTED, MARTS, NAMESPACE, Mart

if TYPE_CHECKING:
    from sqlglot.lineage import Node

Origins = dict[str, tuple[tuple[str, str], ...]]
"""Column → the columns it is made from, each as table (`namespace.name`) and name."""

_CONTRACT = "ts date site device sensor value unit quality source ingested_at"
_READ = f"{_CONTRACT} stream"
_RELATIONS = {
    "readings": _READ,
    "history": _READ,
    "rejected": "source",
    "days": "date begins seconds",
    "sensors": "stream sensor every",
    "devices": "stream device site",
}
_FOUND_BY_DETECTOR = {
    "date": ("ts",),
    "kind": ("ts", "value"),
    "score": ("value",),
    "low": ("value",),
    "high": ("value",),
}


def column_lineage(mart: Mart, marts: Mapping[str, Mart] = MARTS, tables: tuple[str, ...] = (READINGS,)) -> Origins:
    """The origins of each column of a mart; a column made from nothing but constants or the lab file has none.

    `tables` are the tables of readings that `readings` stands for. Columns that decide only which rows there are
    (in WHERE, JOIN or GROUP BY) are not origins.
    """
    names = tuple(sorted((name, tuple(c.name for c in other.columns)) for name, other in marts.items()))
    found = dict(_traced(mart.sql, mart.file, tuple(c.name for c in mart.columns), names))
    if mart.name == DETECTED:
        found |= {name: tuple(o for by in made for o in found[by]) for name, made in _FOUND_BY_DETECTOR.items()}
    return {name: _placed(origins, tables) for name, origins in found.items()}


def _placed(origins: tuple[tuple[str, str], ...], tables: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The origins in terms of tables: the relation `readings` stands for each table of readings."""
    placed: set[tuple[str, str]] = set()
    for table, column in origins:
        if table in ("readings", "history"):
            placed |= {(one, "source" if column == "stream" else column) for one in tables}
        elif table == "rejected":
            placed |= {(f"{one}_rejected", column) for one in tables}
        elif "." in table:
            placed.add((table, column))
    return tuple(sorted(placed))


@lru_cache(maxsize=128)
def _traced(
    sql: str, shown: str, columns: tuple[str, ...], marts: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    schema = _schema(dict(marts))
    tree = parsed(sql, shown)
    try:
        whole = qualify(tree, schema=schema, dialect=DIALECT, validate_qualify_columns=False, identify=False)
    except SqlglotError:
        return tuple((name, ()) for name in columns)  # valid SQL that sqlglot cannot follow: no lineage is no error
    scope = build_scope(whole)
    have = set(whole.named_selects)
    return tuple(
        (name, _leaves(lineage(name, whole, schema=schema, scope=scope, dialect=DIALECT)) if name in have else ())
        for name in columns
    )


def _schema(marts: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    def typed(names: tuple[str, ...] | list[str]) -> dict[str, str]:
        return dict.fromkeys(names, "varchar")

    bare = {name: typed(columns.split()) for name, columns in _RELATIONS.items()}
    tables = {READINGS.partition(".")[2]: typed(_CONTRACT.split())}
    return {"": bare, "default": tables, NAMESPACE: {name: typed(columns) for name, columns in marts.items()}}


def _leaves(node: Node) -> tuple[tuple[str, str], ...]:
    from sqlglot import exp

    found: set[tuple[str, str]] = set()
    for part in node.walk():
        if isinstance(part.expression, exp.Table) and not part.downstream:
            table = part.expression
            name = f"{table.db}.{table.name}" if table.db else table.name
            found.add((name, part.name.rpartition(".")[2].strip('"')))
    return tuple(sorted(found))

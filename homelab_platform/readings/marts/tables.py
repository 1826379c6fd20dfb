"""The marts as values: columns with their meaning, SQL, and which days a changed day can change.

Belongs here: reading the platform's own marts (sql/*.sql with *.yaml beside them, the form that docs/marts.md
describes) and taking the lab's own ones from the resolved lab. Not here: running them (refresh.py), or what their SQL
reads (relations.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.lab.marts import read_mart
from homelab_platform.lab.resolved import ResolvedLab, ResolvedMart

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

NAMESPACE = "marts"
FOLDER = Path(__file__).parent / "sql"
DETECTED = "anomalies"
"""The mart whose SQL only prepares series, which the detector of readings/marts/anomalies.py then goes through."""


@dataclass(frozen=True)
class Column:
    """A column: `kind` is date, time (a moment in UTC), text, number (double), count (whole) or truth."""

    name: str
    kind: str
    about: str
    unit: str = ""

    @property
    def doc(self) -> str:
        """Meaning and unit in one line."""
        return f"{self.about} [{self.unit}]" if self.unit else self.about


@dataclass(frozen=True)
class Mart:
    """One mart. `affects`: how many days after a changed day may change with it; `sort` orders rows in a file;
    rows of different values of `apart` (device, sensor) need nothing of each other; `reads` are the marts that it
    reads; `tests` as written; `file` is where its SQL stands.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    sort: tuple[str, ...]
    sql: str
    affects: int = 0
    apart: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    tests: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""

    @property
    def identifier(self) -> str:
        """`marts.<name>`."""
        return f"{NAMESPACE}.{self.name}"

    @property
    def recipe(self) -> str:
        """A short name for how it is computed: another release, or another edit, may compute it otherwise."""
        content = (self.sql, [(c.name, c.kind) for c in self.columns], list(self.sort), self.affects)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]

    def schema(self) -> Schema:
        """The Iceberg schema, each column with its meaning."""
        from pyiceberg.schema import Schema
        from pyiceberg.types import (
            BooleanType,
            DateType,
            DoubleType,
            LongType,
            NestedField,
            PrimitiveType,
            StringType,
            TimestamptzType,
        )

        kinds: dict[str, PrimitiveType] = {
            "date": DateType(),
            "time": TimestamptzType(),
            "text": StringType(),
            "number": DoubleType(),
            "count": LongType(),
            "truth": BooleanType(),
        }
        return Schema(
            *(
                NestedField(number, column.name, kinds[column.kind], required=False, doc=column.doc)
                for number, column in enumerate(self.columns, 1)
            )
        )


def _builtin(path: Path) -> Mart:
    text = read_mart(path, path.name)
    return Mart(
        name=text.name,
        about=text.file.about,
        columns=tuple(Column(name, c.type, c.about, c.unit) for name, c in text.file.columns.items()),
        sort=tuple(text.file.sort),
        sql=text.sql,
        affects=text.file.lookback,
        apart=tuple(text.file.apart),
        tests=text.file.tests.model_dump(exclude_defaults=True),
        file=text.sql_file,
    )


MARTS: dict[str, Mart] = {mart.name: mart for mart in map(_builtin, sorted(FOLDER.glob("*.sql")))}
"""The platform's own marts by name."""


def own_mart(said: ResolvedMart, names: Mapping[str, object]) -> Mart:
    """A mart of the lab's own; `names` are those of all marts of the lab."""
    reads = tuple(name for name in said.reads if name in names)
    return Mart(
        name=said.name,
        about=said.about,
        columns=tuple(Column(c.name, c.kind, c.about, c.unit) for c in said.columns),
        sort=said.sort,
        sql=said.sql,
        affects=said.lookback or 0,
        apart=() if reads else said.apart,  # the rows of another mart would be read once for each part
        reads=reads,
        tests=said.tests,
        file=f"marts/{said.name}.sql",
    )


def marts_of(lab: ResolvedLab) -> dict[str, Mart]:
    """The marts of a lab by name: the platform's that it has, and its own. Names that nobody knows are left out."""
    found = {name: own_mart(said, lab.marts) if said.sql else MARTS.get(name) for name, said in lab.marts.items()}
    return {name: mart for name, mart in found.items() if mart is not None}


def known_mart(name: str, marts: Mapping[str, Mart]) -> Mart:
    """The mart of this name, with or without its namespace. Raises HomelabError that lists the names there are."""
    mart = marts.get(name.removeprefix(f"{NAMESPACE}."))
    if mart is None:
        raise HomelabError.of(f"mart/{name}", "there is no such mart", f"There are: {', '.join(sorted(marts))}.")
    return mart


def reach(mart: Mart, marts: Mapping[str, Mart]) -> int:
    """How many days after a changed day of readings may change with it: its own look back, and what it reads' too."""
    return mart.affects + max((reach(marts[name], marts) for name in mart.reads if name in marts), default=0)

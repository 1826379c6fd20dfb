"""Files of well-known programs: which they are, by their columns, and what these mean (shapes.yaml).

Belongs here: reading the table of shapes and matching it. Not here: guessing about other files (guess.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from homelab_platform.lab.tables import read_table
from homelab_platform.readings.sources.sampling import Sample


@dataclass(frozen=True)
class Shape:
    """A program's files. Names of columns are without regard to case; `~` begins a regular expression."""

    name: str
    title: str
    needs: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    const: Mapping[str, str]
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] | None = None
    units: Mapping[str, str] | None = None
    zone: str | None = None
    local: bool = False
    strip: str = ""
    kind: str = ""

    def fits(self, sample: Sample) -> bool:
        """Whether the file is of this program."""
        if self.kind and self.kind != sample.format:
            return False
        return all(any(matches(need, column) for column in sample.columns) for need in self.needs)

    def column(self, field: str, sample: Sample) -> str | None:
        """The file's column for one of our fields; the first of those that are there."""
        for wanted in self.fields.get(field, ()):
            found = next((column for column in sample.columns if matches(wanted, column)), None)
            if found is not None:
                return found
        return None

    def drops(self, column: str) -> bool:
        """Whether a column is no sensor and is not kept."""
        return any(matches(pattern, column) for pattern in self.drop)


def matches(wanted: str, column: str) -> bool:
    """Whether a column is the wanted one, or matches the regular expression behind `~`."""
    if wanted.startswith("~"):
        return re.search(wanted[1:], column, re.IGNORECASE) is not None
    return wanted.lower() == column.lower()


@cache
def shapes() -> tuple[Shape, ...]:
    """All shapes, in the order in which they are tried."""
    return tuple(_shape(name, said) for name, said in read_table(Path(__file__).with_name("shapes.yaml")).items())


def _shape(name: str, said: Mapping[str, Any]) -> Shape:
    more = {key: said[key] for key in ("zone", "local", "strip", "kind", "units") if key in said}
    return Shape(
        name,
        said["title"],
        tuple(said["needs"]),
        {field: _listed(columns) for field, columns in said["fields"].items()},
        said.get("const", {}),
        tuple(said.get("drop", ())),
        tuple(said["keep"]) if "keep" in said else None,
        **more,
    )


def _listed(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def shape_of(sample: Sample) -> Shape | None:
    """The shape of a file, if it is of a known program."""
    return next((shape for shape in shapes() if shape.fits(sample)), None)

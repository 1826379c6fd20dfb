"""The file beside a mart's SQL: what its columns mean and what must be true of its rows.

Belongs here: what a person writes about a mart in `marts/<name>.yaml`. Not here: reading the files (marts.py).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import Many, Node

ColumnKind = Literal["date", "time", "text", "number", "count", "truth"]
"""Day, moment in UTC, text, double, whole number, true or false."""

PARTITION = "date"
MOST_LOOKBACK = 366
_NAME = "^[a-z][a-z0-9_]{0,62}$"
ColumnName = Annotated[str, Field(pattern=_NAME)]


def _lookback(value: object) -> int:
    seconds = q.duration(value) if isinstance(value, str) else None
    if seconds is None or seconds % 86_400 or not 0 <= seconds <= MOST_LOOKBACK * 86_400:
        raise q.Bad(
            f"{q.shown(value)} is not a number of whole days", f"Write 7d, for example; at most {MOST_LOOKBACK}d."
        )
    return int(seconds // 86_400)


def _limits(value: object) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = value
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value) and low <= high:
            return (float(low), float(high))
    raise q.Bad(f"{q.shown(value)} is not a range", "Write the lowest and the highest value that is right: [0, 1].")


class MartColumn(Node):
    """A column of a mart, or in short what it means."""

    short: ClassVar[str | None] = "about"
    type: ColumnKind = Field("number", description="What its values are.")
    unit: str = Field("", description="Unit of its values.", examples=["°C", "s"])
    about: str = Field(description="What it means.", examples=["arithmetic mean of the values"])


class MartTests(Node):
    """What must be true of a mart's rows; each becomes a check in the graph."""

    unique: Many[ColumnName] = Field((), description="Columns that together name a row once.")
    not_null: Many[ColumnName] = Field((), description="Columns that always have a value.")
    range: dict[ColumnName, Annotated[tuple[float, float], BeforeValidator(_limits)]] = Field(
        {}, description="Lowest and highest right value of columns.", examples=[{"share": [0, 1]}]
    )
    no_rows: dict[ColumnName, str] = Field(
        {}, description="Queries by name that must find nothing; `this` is the mart.",
        examples=[{"ends_after_begin": "SELECT * FROM this WHERE gap_end <= gap_start"}],
    )  # fmt: skip


class MartFile(Node):
    """What is written about a mart beside its SQL."""

    about: str = Field(description="One line for people.")
    columns: dict[ColumnName, MartColumn] = Field(description="Its columns in order, the first of them `date`.")
    sort: Many[ColumnName] = Field((), description="Columns that order the rows of a day.")
    lookback: Annotated[int, BeforeValidator(_lookback)] = Field(
        0, description="How many days before a day its rows may depend on.", examples=["7d"]
    )
    apart: Many[Literal["device", "sensor"]] = Field(
        (),
        description="Rows of different ones of these need nothing of each other: a large day is computed in parts.",
        examples=[["device", "sensor"]],
    )
    tests: MartTests = Field(MartTests.model_construct(), description="What must be true of its rows.")

    @model_validator(mode="after")
    def _dated(self) -> MartFile:
        first = next(iter(self.columns), None)
        if first != PARTITION or self.columns[PARTITION].type != "date":
            raise q.Bad(
                "the first column of a mart is `date`, of type date",
                "Put it first: date: {type: date, about: day in UTC}.",
            )
        named = {*self.sort, *self.tests.unique, *self.tests.not_null, *self.tests.range}
        unknown = sorted(named - set(self.columns))
        if unknown:
            raise q.Bad(f"no column is called {unknown[0]}", q.did_you_mean(unknown[0], self.columns, "Columns"))
        return self

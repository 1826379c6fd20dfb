"""A query's rows on a screen or in a pipe: aligned table, CSV, JSON. All of them stream; none holds the whole result.

Belongs here: how a value of SQL is written in each form. Not here: running the query (run.py).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Protocol, TextIO

SAMPLE = 500  # rows looked at to choose the widths of a table's columns
WIDEST = 60  # characters of a cell that a table shows


class Result(Protocol):
    """What the writers need of a query's result."""

    columns: tuple[str, ...]

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows, once."""


def format_csv(result: Result, out: TextIO) -> int:
    """Write a header and the rows as CSV (RFC 4180 quoting, lines end in \\n, NULL is empty, times are ISO 8601).

    Returns the number of rows. `homelab ingest` reads it back.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    count = 0
    for row in result.rows:
        writer.writerow([_csv_value(value) for value in row])
        count += 1
    return count


def format_json(result: Result, out: TextIO) -> int:
    """Write a JSON array with one object per row, a row on each line; NaN and infinities become null.

    Columns of the same name are told apart by a number. Returns the number of rows.
    """
    names = _distinct(result.columns)
    count = 0
    out.write("[")
    for row in result.rows:
        out.write(",\n " if count else "\n ")
        record = {name: _json_value(value) for name, value in zip(names, row, strict=True)}
        out.write(json.dumps(record, ensure_ascii=False))
        count += 1
    out.write("\n]\n" if count else "]\n")
    return count


def format_table(result: Result, out: TextIO) -> int:
    """Write an aligned table with numbers to the right; cells are cut at 60 characters. Returns the number of rows.

    Widths come from the first 500 rows: a later row that needs more keeps its text and shifts its own line.
    """
    rows = result.rows
    first = list(islice(rows, SAMPLE))
    right = [_is_numeric([row[i] for row in first]) for i in range(len(result.columns))]
    cells = [[_cell(value) for value in row] for row in first]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(result.columns)]
    write = _line_writer(widths, right, out)
    write(result.columns)
    out.write("  ".join("─" * width for width in widths) + "\n")
    count = 0
    for row in chain(cells, ([_cell(value) for value in row] for row in rows)):
        write(row)
        count += 1
    return count


def _line_writer(widths: Sequence[int], right: Sequence[bool], out: TextIO) -> Callable[[Sequence[str]], None]:
    def write(cells: Sequence[str]) -> None:
        aligned = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        out.write("  ".join(aligned).rstrip() + "\n")

    return write


def _is_numeric(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in known)


def _distinct(names: Sequence[str]) -> list[str]:
    made: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in made:
            number += 1
            candidate = f"{name}_{number}"
        made.append(candidate)
    return made


def _iso(value: object) -> str | None:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return None


def _csv_value(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return _iso(value) or value


def _json_value(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {str(key): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    return _iso(value) or str(value)


def _cell(value: object) -> str:
    if value is None:
        text = "∅"
    elif isinstance(value, datetime):
        text = value.isoformat(sep=" ", timespec="microseconds" if value.microsecond else "seconds")
    elif isinstance(value, float):
        text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.10g}"
    else:
        text = str(_csv_value(value))
    text = " ".join(text.split()) if any(c in text for c in "\n\r\t") else text
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"

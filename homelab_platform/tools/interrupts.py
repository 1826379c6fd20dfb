"""Ctrl-C while DuckDB works.

Belongs here: telling it from an error. Apart from duckdb.py because every command asks, and only some use DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c() -> Iterator[None]:
    """DuckDB takes Ctrl-C while it works and reports it as a RuntimeError; this makes it Python's own again."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from None
        raise

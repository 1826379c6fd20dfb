"""Names and types that every folder shares.

Belongs here: constants that are the same everywhere, and the type of progress callbacks. Not here: anything with
behaviour.
"""

from __future__ import annotations

from collections.abc import Callable

CATALOG = "hive"
"""The one catalog of tables, in Iceberg, DuckDB and Trino alike."""
RAW_BUCKET = "readings-raw"
"""The bucket of raw objects as a lab names it; a site that shares an S3 server has another in its place."""
LAKE_BUCKET = "lake"
"""The bucket of table files."""
LOOPBACK = "127.0.0.1"
"""The only address that a server of ours on this machine binds."""

Say = Callable[[str], None]
"""Takes one line of progress for a person."""


def silent(_line: str) -> None:
    """A `Say` that says nothing."""

"""Addresses and credentials of the servers that tools talk to.

Belongs here: frozen value types without behaviour beyond forming a URL, and without imports of any client library, so
that every layer may hold them cheaply. `repr` never shows a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class PostgresEndpoint:
    """A PostgreSQL database reached over TCP."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)

    def url(self, driver: str = "postgresql") -> str:
        """A connection URL; `driver` is `postgresql` (libpq) or a SQLAlchemy name like `postgresql+psycopg`."""
        secret = quote(self.password, safe="")
        return (
            f"{driver}://{quote(self.user, safe='')}:{secret}@{self.host}:{self.port}/{quote(self.database, safe='')}"
        )

    def with_database(self, database: str) -> PostgresEndpoint:
        """The same server and user, another database."""
        return replace(self, database=database)


@dataclass(frozen=True)
class ObjectsEndpoint:
    """An S3 server: `url` is `http://host:port` without a bucket; path-style addressing."""

    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True)
class Lakehouse:
    """Where readings live: the PostgreSQL database with the Iceberg catalog and the ledger, the S3 server, the buckets.

    `raw_bucket` holds immutable raw objects, `lake_bucket` the tables' data and metadata. `objects_folder` is where an
    S3 server on this machine keeps its files, None for one that sees to its own durability.
    """

    postgres: PostgresEndpoint
    objects: ObjectsEndpoint
    raw_bucket: str = "readings-raw"
    lake_bucket: str = "lake"
    objects_folder: Path | None = None

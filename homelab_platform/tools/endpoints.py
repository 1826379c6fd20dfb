"""Addresses and credentials of the servers that tools talk to.

Belongs here: frozen value types without behaviour beyond forming a URL, and without imports of any client library, so
that every layer may hold them cheaply. `repr` never shows a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from homelab_platform.names import CATALOG, LAKE_BUCKET, RAW_BUCKET


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
    raw_bucket: str = RAW_BUCKET
    lake_bucket: str = LAKE_BUCKET
    objects_folder: Path | None = None


@dataclass(frozen=True)
class TrinoEndpoint:
    """A Trino coordinator; `url` is `https://host:port`, `ca` the certificate file that vouches for it.

    Without a password the server must take users at their word (plain HTTP on loopback, for tests only).
    """

    url: str
    user: str
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    catalog: str = CATALOG


@dataclass(frozen=True)
class NifiEndpoint:
    """A NiFi server; `url` is `http(s)://host:port` without `/nifi-api`.

    `user`, `password` and `ca` are for a server that asks for them; the one of a site on this machine binds loopback
    and asks for nothing. `drop` is the folder below which its file flows look.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    drop: Path | None = None


@dataclass(frozen=True)
class MqttEndpoint:
    """An MQTT broker; `ca` is the certificate file that vouches for it, None for a plain connection."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None


@dataclass(frozen=True)
class Engines:
    """The servers that a site has beyond PostgreSQL and S3; None for what it does without."""

    trino: TrinoEndpoint | None = None
    nifi: NifiEndpoint | None = None
    mqtt: MqttEndpoint | None = None

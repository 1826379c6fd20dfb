"""The engines beyond PostgreSQL and S3 for a test session or a benchmark: each started once, when first asked for.

Belongs here: for each engine a throw-away folder beside the scratch servers' own, shared by all processes of a session.
Not here: how an engine is installed and set up (minio.py, servers/trino.py, servers/nifi.py, mosquitto.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from homelab_platform.servers import minio, mosquitto, nifi, trino
from homelab_platform.servers.scratch.servers import ScratchServers, make_lakehouse
from homelab_platform.servers.scratch.shared import PATIENCE, Shared, shared_servers
from homelab_platform.servers.supervise import launch, ports
from homelab_platform.servers.supervise.spec import ProcessSpec
from homelab_platform.tools.endpoints import Lakehouse, MqttEndpoint, NifiEndpoint, ObjectsEndpoint, TrinoEndpoint

MQTT_ADMIN = "admin"
START_TIMEOUT = 1200.0
"""Seconds; a Java server takes a quarter of a minute alone, and many minutes on a machine that does much else."""


def beside(folder: Path, name: str) -> Path:
    """Where the engine `name` of a session lies whose scratch servers lie in `folder`."""
    return folder.with_name(f"{folder.name}-{name}")


@contextmanager
def scratch_minio(folder: Path) -> Iterator[ObjectsEndpoint]:
    """A MinIO in `folder`, installed first if need be (some minutes, once for this user)."""

    def make(folder: Path) -> Shared:
        minio.installed()
        access, secret = (secrets.token_urlsafe(18) for _ in range(2))
        port = ports.choose(1)[0]
        minio.prepare(folder / "minio", access, secret)
        made = ObjectsEndpoint(f"http://127.0.0.1:{port}", access, secret)
        return Shared((minio.process(folder / "minio", port),), vars(made))

    with shared_servers(folder, make) as raw:
        yield ObjectsEndpoint(**raw)


@contextmanager
def scratch_mqtt(folder: Path) -> Iterator[MqttEndpoint]:
    """A Mosquitto in `folder` with one user, who may do everything."""

    def make(folder: Path) -> Shared:
        user = mosquitto.MqttUser(MQTT_ADMIN, secrets.token_urlsafe(18), ("#",), ("#",))
        port = ports.choose(1)[0]
        mosquitto.prepare(folder / "mqtt", (user,), port)
        made = {"host": mosquitto.HOST, "port": port, "user": user.name, "password": user.password}
        return Shared((mosquitto.process(folder / "mqtt", port),), made)

    with shared_servers(folder, make) as raw:
        yield MqttEndpoint(**raw)


@contextmanager
def scratch_nifi(folder: Path, *, quick: bool = True) -> Iterator[NifiEndpoint]:
    """A NiFi in `folder`, installed first if need be; its file flows look below `folder/drop`.

    `quick=False` compiles as a site's NiFi does: for benchmarks.
    """

    def make(folder: Path) -> Shared:
        nifi.installed()
        chosen = nifi.NifiPorts.choose()
        nifi.prepare(folder / "nifi", chosen, secrets.token_urlsafe(18), durable=False)
        (folder / "drop").mkdir(exist_ok=True)
        spec = _slow(nifi.process(folder / "nifi", chosen, quick=quick))
        return Shared((spec,), {"url": f"http://{nifi.ADDRESS}:{chosen.http}"})

    with shared_servers(folder, make, start_timeout=START_TIMEOUT) as raw:
        yield NifiEndpoint(**raw, drop=folder / "drop")


def _slow(spec: ProcessSpec) -> ProcessSpec:
    return replace(spec, start_timeout=START_TIMEOUT)


def trino_lakehouse(servers: ScratchServers) -> Lakehouse:
    """The lakehouse that the catalogs `hive` and `postgresql` of a session's Trino point to."""
    return Lakehouse(servers.postgres.with_database("lake_trino"), servers.objects, "raw-trino", "lake-trino")


@contextmanager
def scratch_trino(folder: Path, servers: ScratchServers) -> Iterator[TrinoEndpoint]:
    """A Trino in `folder` on these servers, installed first if need be; it lets its user make catalogs by SQL."""
    lakehouse = trino_lakehouse(servers)

    def make(folder: Path) -> Shared:
        trino.installed()
        home, chosen = folder / "trino", trino.TrinoPorts.choose()
        password, shared = secrets.token_urlsafe(18), secrets.token_urlsafe(24)
        make_lakehouse(lakehouse)
        own = _with_own_key(folder, lakehouse)
        trino.prepare(home, chosen, own, password=password, shared_secret=shared, dynamic=True)
        trino.prepare_catalog(home, lakehouse)
        found = trino.endpoint(home, chosen, password)
        return Shared((_slow(trino.process(home, chosen)),), {**vars(found), "ca": str(found.ca)})

    with shared_servers(folder, make, start_timeout=START_TIMEOUT) as raw:
        yield TrinoEndpoint(**{**raw, "ca": Path(raw["ca"])})


def _with_own_key(folder: Path, lakehouse: Lakehouse) -> Lakehouse:
    """The lakehouse with the key that Trino has on a site: its tests then show that its rights suffice."""
    from homelab_platform.tools.objects import access as object_access
    from homelab_platform.tools.objects.users import open_access

    access, keys = open_access(lakehouse.objects), object_access.KeyFile(folder)
    user = object_access.user_of(lakehouse.raw_bucket, "trino")
    access.ensure(user, keys.get(user))
    policy = object_access.policy_document(lakehouse.lake_bucket, "change", [""])
    access.set_policy(user, lakehouse.lake_bucket, policy)
    return replace(lakehouse, objects=object_access.endpoint_for(lakehouse.objects, keys, user))


@contextmanager
def reset_lakehouse(folder: Path, lakehouse: Lakehouse) -> Iterator[Lakehouse]:
    """The lakehouse of a session's Trino for one test alone, with nothing of another test in it.

    Other processes of the session wait meanwhile. Trino keeps its connections, so the database stays and is emptied.
    """
    with launch.exclusive(folder / "lakehouse.lock", timeout=PATIENCE):
        _empty(lakehouse)
        yield lakehouse


def _empty(lakehouse: Lakehouse) -> None:
    from psycopg import sql

    from homelab_platform.tools.objects.client import ObjectStore
    from homelab_platform.tools.postgres import connect

    with closing(connect(lakehouse.postgres, autocommit=True)) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in rows:
            kept = str(table).startswith("iceberg_")
            verb = sql.SQL("TRUNCATE {}" if kept else "DROP TABLE {} CASCADE")
            connection.execute(verb.format(sql.Identifier(table)))
    with ObjectStore(lakehouse.objects) as store:
        for bucket in (lakehouse.raw_bucket, lakehouse.lake_bucket):
            store.delete(bucket, [found.key for found in store.list(bucket)])

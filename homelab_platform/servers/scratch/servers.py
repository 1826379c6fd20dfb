"""Real servers for a test session or a benchmark: started once, shared by all its processes, gone with the last.

Belongs here: PostgreSQL and SeaweedFS in a throw-away folder, and a fresh lakehouse on them for each test. Not here:
the engines beyond them (engines.py), the site that people use (site.py). These servers do not survive a power
cut: fsync is off.
"""

from __future__ import annotations

import secrets
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.servers import postgres, seaweedfs
from homelab_platform.servers.scratch.shared import Shared, shared_servers
from homelab_platform.servers.supervise import ports
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.postgres import create_database, drop_database


@dataclass(frozen=True)
class ScratchServers:
    """The endpoints of running scratch servers. `folder` is theirs; what stands on them lies beside it."""

    postgres: PostgresEndpoint
    objects: ObjectsEndpoint
    folder: Path


@contextmanager
def scratch_servers(folder: Path) -> Iterator[ScratchServers]:
    """Scratch servers in `folder`, started unless another process has; stopped once no process is inside any more.

    The folder is removed then. All this happens too, within half a minute, when those processes are killed.
    """
    with shared_servers(folder, _make) as raw:
        yield ScratchServers(PostgresEndpoint(**raw["postgres"]), ObjectsEndpoint(**raw["objects"]), folder)


def _make(folder: Path) -> Shared:
    password, access, secret = (secrets.token_urlsafe(18) for _ in range(3))
    shutil.rmtree(folder / "postgres", ignore_errors=True)
    postgres.prepare(folder / "postgres", password, durable=False)
    seaweedfs.prepare(folder / "objects", access, secret)
    port, chosen = ports.choose(1)[0], seaweedfs.SeaweedPorts.choose()
    specs = (postgres.process(folder / "postgres", port), seaweedfs.process(folder / "objects", chosen))
    database = PostgresEndpoint("127.0.0.1", port, postgres.SUPERUSER, "postgres", password)
    objects = ObjectsEndpoint(f"http://127.0.0.1:{chosen.s3}", access, secret)
    return Shared(specs, {"postgres": vars(database), "objects": vars(objects)})


@contextmanager
def fresh_lakehouse(servers: ScratchServers) -> Iterator[Lakehouse]:
    """A lakehouse of its own on these servers: a new database and two new buckets, removed afterwards."""
    name = uuid.uuid4().hex[:12]
    made = Lakehouse(servers.postgres.with_database(f"lake_{name}"), servers.objects, f"raw-{name}", f"lake-{name}")
    make_lakehouse(made)
    try:
        yield made
    finally:
        drop_database(made.postgres.with_database("postgres"), made.postgres.database)
        with ObjectStore(made.objects) as store:
            for bucket in (made.raw_bucket, made.lake_bucket):
                store.remove_bucket(bucket, with_objects=True)


def make_lakehouse(lakehouse: Lakehouse) -> None:
    """Make its database and its buckets where they are missing."""
    create_database(lakehouse.postgres, lakehouse.postgres.database)
    with ObjectStore(lakehouse.objects) as store:
        for bucket in (lakehouse.raw_bucket, lakehouse.lake_bucket):
            store.ensure_bucket(bucket)

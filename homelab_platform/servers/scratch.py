"""Real servers for a test session or a benchmark: started once, shared by all its processes, gone with the last.

Belongs here: PostgreSQL and SeaweedFS in a throw-away folder, and a fresh lakehouse on them for each test. Not here:
the site that people use (site.py). These servers do not survive a power cut: fsync is off.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.servers import launch, ports, postgres, processes, seaweedfs
from homelab_platform.servers.spec import USERS_FOLDER, RunPlan, write_json
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects import ObjectStore
from homelab_platform.tools.postgres import create_database, drop_database

NAMES = ("postgres", "objects")
ENDPOINTS_FILE = "endpoints.json"


@dataclass(frozen=True)
class ScratchServers:
    """The endpoints of running scratch servers."""

    postgres: PostgresEndpoint
    objects: ObjectsEndpoint


@contextmanager
def scratch_servers(folder: Path) -> Iterator[ScratchServers]:
    """Scratch servers in `folder`, started unless another process has; stopped once no process is inside any more.

    The folder is removed then. All this happens too, within half a minute, when those processes are killed.
    """
    run = folder / "run"
    me = run / USERS_FOLDER / str(os.getpid())
    with launch.exclusive(folder / "lock"):
        launch.make_run_folder(run)
        me.write_text(processes.start_of(os.getpid()) or "")
        servers = _running(folder) or _start(folder)
    try:
        yield servers
    finally:
        with launch.exclusive(folder / "lock"):
            me.unlink(missing_ok=True)
            if not any((run / USERS_FOLDER).iterdir()):
                launch.stop_supervisor(run, _mark(folder), timeout=30)
                shutil.rmtree(folder, ignore_errors=True)


def _mark(folder: Path) -> str:
    return f"HOMELAB_SUPERVISED={folder}"


def _running(folder: Path) -> ScratchServers | None:
    if launch.live_state(folder / "run") is None:
        return None
    launch.wait_for(folder / "run", folder / "logs", NAMES, timeout=60)
    raw = json.loads((folder / ENDPOINTS_FILE).read_text())
    return ScratchServers(PostgresEndpoint(**raw["postgres"]), ObjectsEndpoint(**raw["objects"]))


def _start(folder: Path) -> ScratchServers:
    run, logs = folder / "run", folder / "logs"
    launch.stop_supervisor(run, _mark(folder))
    password, access, secret = (secrets.token_urlsafe(18) for _ in range(3))
    shutil.rmtree(folder / "postgres", ignore_errors=True)
    postgres.prepare(folder / "postgres", password, durable=False)
    seaweedfs.prepare(folder / "objects", access, secret)
    port, chosen = ports.choose(1)[0], seaweedfs.SeaweedPorts.choose()
    specs = (postgres.process(folder / "postgres", port), seaweedfs.process(folder / "objects", chosen))
    plan = RunPlan(_mark(folder), str(logs), None, specs, while_users=True, remove=str(folder))
    launch.start_supervisor(run, plan)
    launch.wait_for(run, logs, NAMES, timeout=120)
    made = ScratchServers(
        PostgresEndpoint("127.0.0.1", port, postgres.SUPERUSER, "postgres", password),
        ObjectsEndpoint(f"http://127.0.0.1:{chosen.s3}", access, secret),
    )
    write_json(folder / ENDPOINTS_FILE, {"postgres": vars(made.postgres), "objects": vars(made.objects)})
    return made


@contextmanager
def fresh_lakehouse(servers: ScratchServers) -> Iterator[Lakehouse]:
    """A lakehouse of its own on these servers: a new database and two new buckets, removed afterwards."""
    name = uuid.uuid4().hex[:12]
    database = f"lake_{name}"
    made = Lakehouse(servers.postgres.with_database(database), servers.objects, f"raw-{name}", f"lake-{name}")
    with ObjectStore(servers.objects) as store:
        create_database(servers.postgres, database)
        for bucket in (made.raw_bucket, made.lake_bucket):
            store.ensure_bucket(bucket)
        try:
            yield made
        finally:
            drop_database(servers.postgres, database)
            for bucket in (made.raw_bucket, made.lake_bucket):
                store.remove_bucket(bucket, with_objects=True)

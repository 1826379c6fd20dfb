"""Fixtures for all tests: real servers, started once for the whole session and shared by all workers.

A test that uses them is marked `servers`. `lakehouse` is a fresh one for each test: nothing of another test is in it.
The engines (`minio`, `trino`, `nifi`, `mqtt`) start when the first test asks and are installed first if need be.
"""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from homelab_platform.servers.scratch.engines import (
    beside,
    reset_lakehouse,
    scratch_minio,
    scratch_mqtt,
    scratch_nifi,
    scratch_trino,
    trino_lakehouse,
)
from homelab_platform.servers.scratch.servers import ScratchServers, fresh_lakehouse, scratch_servers
from homelab_platform.tools.endpoints import (
    Lakehouse,
    MqttEndpoint,
    NifiEndpoint,
    ObjectsEndpoint,
    PostgresEndpoint,
    TrinoEndpoint,
)
from homelab_platform.tools.objects.client import ObjectStore

# what a shell starts in the background ignores Ctrl-C, and so would all that the tests start and press it for
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# where this is set, each of the hundreds of processes that tests start would compile its libraries anew: half its time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Python's own 700 new objects make a third of collecting the tests: each collection walks all that was imported
gc.set_threshold(50_000, 20, 50)

# the compiler that makes long runs cheap makes starts dear: a site's NiFi starts with half of the processor time so
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# how long an example takes says how busy the machine is, and nothing of the code
settings.register_profile(
    "homelab",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # the same examples in each run: what is red somewhere can be repeated; HOMELAB_SEARCH=1 looks for new ones
    derandomize=not os.environ.get("HOMELAB_SEARCH"),
)
settings.load_profile("homelab")

pytest_plugins = [
    "homelab_platform_tests.suite.attempts",
    "homelab_platform_tests.suite.order",
    "homelab_platform_tests.suite.budget",
    "homelab_platform_tests.suite.recording",
    "homelab_platform_tests.testlab.fixtures",
]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: no later collection walks it."""
    gc.freeze()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the servers of this test session lie: one folder for all workers, and the engines' beside it."""
    base = tmp_path_factory.getbasetemp()
    session = base if worker_id == "master" else base.parent
    # not below pytest's own folder: another session of pytest shuts that one to other users, PostgreSQL's among them
    name = f"homelab-tests-{hashlib.sha256(bytes(session)).hexdigest()[:12]}"
    return Path(tempfile.gettempdir()) / name


@pytest.fixture(scope="session")
def servers(session_folder: Path) -> Iterator[ScratchServers]:
    """PostgreSQL and SeaweedFS of this test session."""
    with scratch_servers(session_folder) as running:
        yield running


@pytest.fixture(scope="session")
def postgres_endpoint(servers: ScratchServers) -> PostgresEndpoint:
    """The session's PostgreSQL as its superuser, database `postgres`."""
    return servers.postgres


@pytest.fixture(scope="session")
def objects_endpoint(servers: ScratchServers) -> ObjectsEndpoint:
    """The session's S3 server."""
    return servers.objects


@pytest.fixture
def object_store(objects_endpoint: ObjectsEndpoint) -> Iterator[ObjectStore]:
    """A client of the session's S3 server."""
    with ObjectStore(objects_endpoint) as store:
        yield store


@pytest.fixture
def lakehouse(servers: ScratchServers) -> Iterator[Lakehouse]:
    """A lakehouse of this test's own: a new database and two new buckets."""
    with fresh_lakehouse(servers) as made:
        yield made


@pytest.fixture(scope="session")
def minio(session_folder: Path) -> Iterator[ObjectsEndpoint]:
    """The session's MinIO as its root user."""
    with scratch_minio(beside(session_folder, "minio")) as running:
        yield running


@pytest.fixture(scope="session")
def mqtt(session_folder: Path) -> Iterator[MqttEndpoint]:
    """The session's MQTT broker as a user who may write and read every topic; use topics of your own."""
    with scratch_mqtt(beside(session_folder, "mqtt")) as running:
        yield running


@pytest.fixture(scope="session")
def nifi(session_folder: Path) -> Iterator[NifiEndpoint]:
    """The session's NiFi; tests make process groups of their own, by names and ports of their own."""
    with scratch_nifi(beside(session_folder, "nifi")) as running:
        yield running


@pytest.fixture(scope="session")
def trino(session_folder: Path, servers: ScratchServers) -> Iterator[TrinoEndpoint]:
    """The session's Trino as its administrator. For tables take `trino_lake`, or make a catalog of your own by SQL."""
    with scratch_trino(beside(session_folder, "trino"), servers) as running:
        yield running


@pytest.fixture
def trino_lake(
    session_folder: Path, servers: ScratchServers, trino: TrinoEndpoint
) -> Iterator[tuple[TrinoEndpoint, Lakehouse]]:
    """The session's Trino and the empty lakehouse that its catalogs show, for this test alone: others wait."""
    with reset_lakehouse(beside(session_folder, "trino"), trino_lakehouse(servers)) as lakehouse:
        yield trino, lakehouse

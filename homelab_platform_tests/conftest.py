"""Fixtures for all tests: real servers, started once for the whole session and shared by all workers.

A test that uses them is marked `servers`. `lakehouse` is a fresh one for each test: nothing of another test is in it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.servers.scratch import ScratchServers, fresh_lakehouse, scratch_servers
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects import ObjectStore


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[ScratchServers]:
    """PostgreSQL and SeaweedFS of this test session."""
    base = tmp_path_factory.getbasetemp()
    session = base if worker_id == "master" else base.parent
    # not below pytest's own folder: another session of pytest shuts that one to other users, PostgreSQL's among them
    name = f"homelab-tests-{hashlib.sha256(bytes(session)).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    with scratch_servers(folder) as running:
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

"""A real PostgreSQL: databases come and go, and errors say which server and never the password."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from homelab_platform.servers.supervise.ports import choose
from homelab_platform.tools.endpoints import Lakehouse, PostgresEndpoint
from homelab_platform.tools.postgres import (
    PostgresRefused,
    PostgresUnreachable,
    connect,
    create_database,
    database_exists,
    drop_database,
    server_version,
    wait_until_ready,
)

pytestmark = pytest.mark.servers


def test_a_database_is_made_once_and_dropped_although_someone_is_connected(lakehouse: Lakehouse) -> None:
    name = f'{lakehouse.postgres.database}_Other "quoted"'
    assert create_database(lakehouse.postgres, name) is True
    assert create_database(lakehouse.postgres, name) is False
    assert database_exists(lakehouse.postgres, name)
    with closing(connect(lakehouse.postgres.with_database(name))):
        assert drop_database(lakehouse.postgres, name) is True
    assert drop_database(lakehouse.postgres, name) is False


def test_a_wrong_password_is_refused_without_showing_any(postgres_endpoint: PostgresEndpoint) -> None:
    wrong = replace(postgres_endpoint, password="not-the-password")
    with pytest.raises(PostgresRefused) as caught:
        connect(wrong)
    text = str(caught.value)
    assert f"user {wrong.user}" in text
    assert "not-the-password" not in text
    assert postgres_endpoint.password not in text


def test_a_missing_database_is_named(postgres_endpoint: PostgresEndpoint) -> None:
    with pytest.raises(PostgresRefused, match='database "none_such" does not exist'):
        connect(postgres_endpoint.with_database("none_such"))


def test_a_dead_server_is_named_and_waited_for_only_so_long(postgres_endpoint: PostgresEndpoint) -> None:
    dead = replace(postgres_endpoint, port=choose(1)[0])
    with pytest.raises(PostgresUnreachable, match=f"127.0.0.1:{dead.port}"):
        wait_until_ready(dead, timeout=0.2)


def test_the_server_is_the_wheels_major_version(postgres_endpoint: PostgresEndpoint) -> None:
    wait_until_ready(postgres_endpoint, timeout=5)
    assert server_version(postgres_endpoint) // 10000 == 18

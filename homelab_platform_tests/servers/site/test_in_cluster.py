"""A pod's environment: what it leads to, what is made where it is missing, and whether the daemon's heart beats."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from homelab_platform.agents import pulse
from homelab_platform.apply.adapter import apply_one
from homelab_platform.errors import HomelabError
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.sites import SiteKind, kind_here
from homelab_platform.servers.scratch.servers import ScratchServers
from homelab_platform.servers.site import in_cluster
from homelab_platform.sites.choose import site_choice
from homelab_platform.sites.cluster import open_cluster
from homelab_platform.tools import postgres
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.plan.labs import small_lab

pytestmark = pytest.mark.servers


@pytest.fixture
def environment(servers: ScratchServers) -> Iterator[dict[str, str]]:
    """The environment of a pod, with databases of this test's own that are not there yet."""
    mark = secrets.token_hex(4)
    where, objects = servers.postgres, servers.objects
    yield {
        "HOMELAB_PROFILE": "cluster",
        "HOMELAB_PG_HOST": where.host,
        "HOMELAB_PG_PORT": str(where.port),
        "HOMELAB_PG_USER": where.user,
        "HOMELAB_PG_PASSWORD": where.password,
        "HOMELAB_PG_DATABASE": f"dagster_{mark}",
        "HOMELAB_LAKE_DATABASE": f"lake_{mark}",
        "HOMELAB_S3_URL": objects.url,
        "HOMELAB_S3_ACCESS_KEY": objects.access_key,
        "HOMELAB_S3_SECRET_KEY": objects.secret_key,
    }
    for name in (f"dagster_{mark}", f"lake_{mark}"):
        postgres.drop_database(where, name)


def test_what_is_missing_is_made_once_and_a_second_pod_finds_it(environment: dict[str, str]) -> None:
    in_cluster.prepare(environment)
    lakehouse = in_cluster.lakehouse_here(environment)
    assert postgres.database_exists(lakehouse.postgres, environment["HOMELAB_PG_DATABASE"])
    assert postgres.database_exists(lakehouse.postgres, environment["HOMELAB_LAKE_DATABASE"])
    with ObjectStore(lakehouse.objects) as store:
        assert store.bucket_exists(lakehouse.raw_bucket)
    in_cluster.prepare(environment)


def test_who_has_nothing_to_do_with_readings_needs_no_key_of_theirs(environment: dict[str, str]) -> None:
    known = {name: value for name, value in environment.items() if "_S3_" not in name}
    in_cluster.prepare(known)
    with pytest.raises(HomelabError, match="HOMELAB_S3_URL: is not set"):
        in_cluster.lakehouse_here(known)


def test_a_variable_that_is_missing_is_named_and_a_secret_may_lie_in_a_file(
    environment: dict[str, str], tmp_path: Path
) -> None:
    password = environment.pop("HOMELAB_PG_PASSWORD")
    with pytest.raises(HomelabError, match="HOMELAB_PG_PASSWORD: is not set"):
        in_cluster.prepare(environment)
    file = tmp_path / "password"
    environment["HOMELAB_PG_PASSWORD_FILE"] = str(file)
    with pytest.raises(HomelabError, match=r"HOMELAB_PG_PASSWORD_FILE: .* cannot be read"):
        in_cluster.prepare(environment)
    file.write_text(f"{password}\n")
    assert in_cluster.postgres_here(environment).password == password
    with pytest.raises(HomelabError, match="HOMELAB_PG_PORT: is 'http', not a port"):
        in_cluster.postgres_here({**environment, "HOMELAB_PG_PORT": "http"})


def test_the_graph_works_on_the_servers_that_the_pod_was_told_of(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "HOMELAB_DATA": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    in_cluster.prepare(environment)
    lab = small_lab()
    assert kind_here(environment) is SiteKind.CLUSTER
    kind = site_choice(SiteKind.CLUSTER)
    world = open_cluster(lab)
    table = desired_states(lab)["table/sensor_data"]
    assert kind.capabilities.can(table.key)
    assert apply_one(world, table).wrote
    assert world.adapter("table").probe(table).matches(table)
    with pytest.raises(HomelabError, match="cannot reach this layer"):
        world.adapter("flow")


def test_a_daemon_lives_as_long_as_its_heart_beats(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    in_cluster.prepare(environment)
    endpoint = in_cluster.postgres_here(environment)
    assert pulse.main([]) == 1
    with postgres.connect(endpoint) as connection:
        connection.execute("CREATE TABLE daemon_heartbeats (daemon_type text, timestamp timestamp)")
        connection.execute("INSERT INTO daemon_heartbeats VALUES ('SENSOR', now() at time zone 'utc')")
    assert pulse.main(["--alive"]) == 0
    with postgres.connect(endpoint) as connection:
        connection.execute("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '10 minutes'")
    assert pulse.main(["--alive"]) == 1
    assert "the last heartbeat was 600 s ago" in capsys.readouterr().err
    monkeypatch.setenv("HOMELAB_PG_PORT", "1")
    assert pulse.main([]) == 1
    assert pulse.main(["--alive"]) == 0, "a restart would not bring the database back"

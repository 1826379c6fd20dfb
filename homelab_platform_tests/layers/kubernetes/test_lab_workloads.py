"""The workloads of examples/test-lab in pods on real nodes: applied by our adapters, asked from outside, taken away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from homelab_platform.plan.broker_access import BRIDGE, broker_place, password_of
from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectsError, ObjectStore
from homelab_platform_tests.layers.kubernetes.lab_scene import CLUSTER, SECRET, LabScene
from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.lab import TestLab
from homelab_platform_tests.testlab.lab_images import bring_images

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow, pytest.mark.usefixtures("lab_alone")]

TOGETHER = 3
"""Workloads that are applied side by side."""
EXPORTER = "prometheus-node-exporter"


@pytest.fixture(scope="module")
def with_images(test_cluster: TestCluster) -> TestCluster:
    """The cluster, whose nodes have the images of the example; made here, so that this is not the test's own time."""
    bring_images(test_cluster)
    return test_cluster


@pytest.fixture
def scene(with_images: TestCluster, tmp_path: Path) -> Iterator[LabScene]:
    """The example, with the addresses of this lab."""
    with_images.lab.write_lab(tmp_path / "lab")
    scene = LabScene(with_images, tmp_path / "lab")
    yield scene
    scene.clear()


@pytest.fixture
def exporters(test_hosts: TestLab) -> Iterator[None]:
    """Node exporters on every host, as Debian packages them."""

    def on_every_host(command: str) -> None:
        with ThreadPoolExecutor(len(test_hosts.hosts)) as pool:
            list(pool.map(lambda host: host.ssh(command, timeout=120), test_hosts.hosts))

    on_every_host(f"apt-get update -qq && apt-get install -qq -y {EXPORTER}")
    yield
    on_every_host(f"apt-get purge -qq -y {EXPORTER}")


def test_six_workloads_run_and_answer_and_stay_as_they_are_meant(scene: LabScene, exporters: None) -> None:
    keys = [f"workload/{name}" for name in scene.lab.workloads]
    assert len(keys) == 6
    scene.apply(CLUSTER)
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(scene.apply, sorted(keys, key=lambda key: key != "workload/mosquitto")))
    assert all(map(scene.matches, [CLUSTER, *keys]))

    nodes_publish_their_readings(scene)
    prometheus_sees_every_target(scene)
    objects_are_kept_for_who_has_the_key(scene)
    rows_survive_the_death_of_their_pod(scene)
    a_deployment_deleted_by_hand_comes_back(scene)
    nothing_is_lost_when_the_database_is_taken_away(scene)
    new_passwords_of_the_broker_count_once_they_are_applied(scene)


def nodes_publish_their_readings(scene: LabScene) -> None:
    """From every node of the cluster, by way of the broker's port at its node's own address, and for who is known."""
    place = broker_place(scene.lab)
    assert place == (scene.cluster.lab.host("pi-1").address, 1883)
    got: dict[str, dict[str, Any]] = {}
    complete = threading.Event()

    def arrived(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        rows = [json.loads(line) for line in message.payload.splitlines()]
        got.setdefault(message.topic, {}).update({row["sensor"]: row for row in rows})
        # a rate needs two samples: a machine's first message has none
        if len(got) >= 2 and all("cpu" in readings for readings in got.values()):
            complete.set()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(BRIDGE, password_of(SECRET, BRIDGE))
    client.on_message = arrived
    client.connect(*place)
    client.subscribe("homelab/#", qos=1)
    client.loop_start()
    try:
        assert complete.wait(60), {topic: sorted(readings) for topic, readings in got.items()}
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(got) == ["homelab/machines/pi-1", "homelab/machines/pi-2"]
    for topic, readings in got.items():
        assert {"cpu", "memory", "disk"} <= set(readings)
        assert {row["device"] for row in readings.values()} == {topic.rpartition("/")[2]}
        assert any(sensor.startswith("network_received.") for sensor in readings), "the node's own network"
    assert scene.lab.hosts["pi-1"].telemetry == {}, "the host must not publish the same once more"
    assert scene.lab.hosts["pi-3"].telemetry["topic"] == "homelab/machines/pi-3"
    assert refused(place, None)
    assert refused(place, (BRIDGE, "guessed"))


def refused(place: tuple[str, int], who: tuple[str, str] | None) -> bool:
    """Whether the broker refuses this user."""
    answer: list[ReasonCode] = []
    done = threading.Event()

    def connected(_c: paho.Client, _d: object, _f: object, reason: ReasonCode, _p: object) -> None:
        answer.append(reason)
        done.set()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    if who:
        client.username_pw_set(*who)
    client.on_connect = connected
    client.connect(*place)
    client.loop_start()
    try:
        return done.wait(10) and answer[0].is_failure
    finally:
        client.disconnect()
        client.loop_stop()


def new_passwords_of_the_broker_count_once_they_are_applied(scene: LabScene) -> None:
    """The Secret that they stand in is compared without being shown, and the broker starts anew with it."""
    place = broker_place(scene.lab)
    assert place is not None
    fresh = LabScene(scene.cluster, scene.folder, "another secret")
    assert refused(place, (BRIDGE, password_of("another secret", BRIDGE)))
    told = "; ".join(fresh.probe("workload/mosquitto").differences)
    assert "Secret data-platform/mosquitto-users: data.passwords is (secret), should be (secret)" in told
    fresh.apply("workload/mosquitto")
    assert fresh.matches("workload/mosquitto")
    assert not refused(place, (BRIDGE, password_of("another secret", BRIDGE)))
    assert refused(place, (BRIDGE, password_of(SECRET, BRIDGE)))


def prometheus_sees_every_target(scene: LabScene) -> None:
    """Hosts in and outside the cluster, and pods that have an exporter."""
    wanted = {(target.job, target.instance) for target in scene.lab.scrape_targets}
    assert {("node", "pi-3"), ("seaweedfs", "seaweedfs"), ("prometheus", "prometheus")} <= wanted
    seen: dict[tuple[str, str], str] = {}

    def all_up() -> bool:
        status, body = scene.get("prometheus", 9090, "/api/v1/query?query=up")
        rows = json.loads(body)["data"]["result"] if status == 200 else []
        seen.update({(row["metric"]["job"], row["metric"]["instance"]): row["value"][1] for row in rows})
        return seen == dict.fromkeys(wanted, "1")

    try:
        scene.cluster.wait_for("every target is up", all_up, 40)
    finally:
        print(seen)


def objects_are_kept_for_who_has_the_key(scene: LabScene) -> None:
    """S3 with the key that was made up at the installation, and with no other."""
    made = scene.secret("seaweedfs-s3", "data-platform")
    with scene.reached("seaweedfs", 8333) as port:
        url = f"http://127.0.0.1:{port}"
        with ObjectStore(ObjectsEndpoint(url, made["access-key"], made["secret-key"])) as store:
            store.ensure_bucket("things")
            store.put("things", "one", b"kept")
            assert store.get("things", "one") == b"kept"
        with (
            ObjectStore(ObjectsEndpoint(url, made["access-key"], "guessed"), retries=1) as stranger,
            pytest.raises(ObjectsError),
        ):
            stranger.get("things", "one")


def rows_survive_the_death_of_their_pod(scene: LabScene) -> None:
    """The database's data is on its volume, and its password outlives it too."""
    run(scene, "CREATE TABLE things (n int)")
    run(scene, "INSERT INTO things VALUES (7)")
    label = "app.kubernetes.io/instance=postgresql"
    before = scene.cluster.get("pod", "-l", label, "-n", "data-platform")["items"][0]["metadata"]["name"]
    scene.cluster.kubectl("delete", "pod", before, "-n", "data-platform", "--grace-period=0", "--force")
    scene.cluster.kubectl("rollout", "status", "deployment/postgresql", "-n", "data-platform", "--timeout=60s")
    assert scene.workloads.until_it_answers(scene.lab.workloads["postgresql"]).ok
    assert run(scene, "SELECT n FROM things") == [(7,)]


def run(scene: LabScene, statement: str) -> list[Any]:
    """The rows of a statement, run as the superuser."""
    password = scene.secret("postgresql-admin", "data-platform")["password"]
    with scene.reached("postgresql", 5432) as port:
        endpoint = PostgresEndpoint("127.0.0.1", port, user="postgres", database="postgres", password=password)
        with postgres.connect(endpoint, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return list(done.fetchall()) if done.description else []


def a_deployment_deleted_by_hand_comes_back(scene: LabScene) -> None:
    """Seen by a look, put back by an apply; the workload beside it is not touched."""
    assert scene.get("nginx", 8080, "/") == (200, b"nginx of test-lab\n")
    scene.cluster.kubectl("delete", "deployment", "nginx", "-n", "apps")
    assert scene.probe("workload/nginx").differences == ("Deployment apps/nginx is gone",)
    said = scene.apply("workload/nginx")
    assert "put back: Deployment apps/nginx is gone" in said
    assert not any(line.startswith(("installing", "upgrading")) for line in said)
    assert scene.matches("workload/nginx")
    assert scene.get("nginx", 8080, "/")[0] == 200


def nothing_is_lost_when_the_database_is_taken_away(scene: LabScene) -> None:
    """Its volume stays and is named; brought back, it has its rows and its password."""
    said = scene.remove("workload/postgresql")
    assert any("volume data-platform/postgresql-data was kept, with its data" in line for line in said)
    assert not scene.probe("workload/postgresql").exists
    scene.apply("workload/postgresql")
    assert run(scene, "SELECT n FROM things") == [(7,)]

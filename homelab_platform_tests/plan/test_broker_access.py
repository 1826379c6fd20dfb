"""Who may use the lab's own broker: derived once, the same every time, and held by a real Mosquitto."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.plan.broker_access import (
    CHECKSUM,
    broker_files,
    broker_place,
    broker_users,
    checksum,
    lab_secrets,
    password_of,
    senders,
)
from homelab_platform.plan.gather import desired_states
from homelab_platform.servers import mosquitto
from homelab_platform.servers.install import apt
from homelab_platform.tools.ssh.target import SshAccess
from homelab_platform_tests.agents.bridge.lab_broker import SECRET, LabBroker, lab_of


def test_each_host_has_a_user_that_writes_its_own_topics_and_the_bridge_reads_them_all(tmp_path: Path) -> None:
    users = {user.name: (user.writes, user.reads) for user in broker_users(lab_of(tmp_path))}
    assert users == {
        "bridge": ((), ("homelab/#", "sensors/+/environment")),
        "host-h-1": (("homelab/+/h-1",), ()),
        "host-h-2": (("homelab/+/h-2",), ()),
        "stream-rooms": (("sensors/+/environment",), ()),
    }, "a stream at somebody else's broker has no user here"
    assert broker_place(lab_of(tmp_path)) == ("10.9.0.1", 1883)


def test_where_pods_collect_their_nodes_readings_they_have_a_user_and_the_host_has_none(tmp_path: Path) -> None:
    users = {user.name: user.writes for user in broker_users(lab_of(tmp_path, collector=True))}
    assert users["collector"] == ("homelab/+/+",)
    assert "host-h-1" not in users
    assert users["host-h-2"] == ("homelab/+/h-2",), "it is no node of the cluster"


def test_the_clusters_secrets_are_the_same_for_the_same_lab_and_hold_no_password_in_clear(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, collector=True)
    users, devices, collector = found = lab_secrets(lab, SECRET)
    assert found == lab_secrets(lab, SECRET)
    assert [one["metadata"]["name"] for one in found] == ["mosquitto-users", "mosquitto-senders", "collector-mqtt"]
    assert users["metadata"]["namespace"] == lab.workloads["mosquitto"].namespace
    files = {name: base64.b64decode(data).decode() for name, data in users["data"].items()}
    assert files == broker_files(lab, SECRET)
    assert {name: base64.b64decode(data).decode() for name, data in collector["data"].items()} == {
        "user": "collector",
        "password": password_of(SECRET, "collector"),
    }
    own = [password_of(SECRET, user.name) for user in broker_users(lab)]
    assert len(set(own)) == len(own)
    assert not any(password in "".join(files.values()) or password in json.dumps(users) for password in own)
    assert users["metadata"]["annotations"][CHECKSUM] == checksum(lab, SECRET)
    assert checksum(lab, SECRET) != checksum(lab, "another"), "a new secret is seen without knowing it"
    assert checksum(lab, SECRET) != checksum(lab_of(tmp_path / "b", 3, collector=True), SECRET)
    assert list(senders(lab, SECRET)) == ["stream-rooms"]
    told = {name: base64.b64decode(data).decode() for name, data in devices["data"].items()}
    assert told == {"stream-rooms": password_of(SECRET, "stream-rooms")}, "for whoever sets up a device"


def test_no_password_is_in_the_lab_or_in_what_is_compared(tmp_path: Path) -> None:
    lab = lab_of(tmp_path, collector=True)
    told = lab.to_json().decode() + json.dumps([s.document for s in desired_states(lab).values()])
    access = HostAccess(SshAccess(tmp_path / "known_hosts"), tmp_path, broker_secret=SECRET)
    password = access.broker_password(lab.hosts["h-2"])
    assert password == password_of(SECRET, "host-h-2")
    for secret in (SECRET, password, access.broker_mark(lab.hosts["h-2"])):
        assert secret not in told
    assert SECRET not in repr(access)
    assert password not in access.broker_mark(lab.hosts["h-2"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LabBroker]:
    made = LabBroker(lab_of(tmp_path / "lab", collector=False), tmp_path / "broker")
    made.start()
    yield made
    made.kill()


def published(broker: LabBroker, user: str, topic: str, password: str | None = None) -> tuple[int, str]:
    """What a real client is told when it publishes with MQTT 5 and QoS 1."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    said: list[tuple[int, str]] = []
    client.username_pw_set(user, password or password_of(SECRET, user))
    client.on_connect = lambda c, _d, _f, code, _p: (
        said.append((code.value, "connect")) if code.is_failure else c.publish(topic, b"x", qos=1)
    )
    client.on_publish = lambda _c, _d, _mid, code, _p: said.append((code.value, "publish"))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()
    return said[0]


@pytest.mark.servers
@pytest.mark.slow
def test_a_real_broker_takes_the_files_and_holds_everybody_to_their_rights(broker: LabBroker) -> None:
    nobody_reads, not_allowed = 0x10, 0x87
    assert published(broker, "host-h-1", "homelab/machines/h-1") == (nobody_reads, "publish")
    assert published(broker, "stream-rooms", "sensors/bath/environment") == (nobody_reads, "publish")
    for user, topic in (
        ("host-h-1", "homelab/machines/h-2"),
        ("host-h-1", "sensors/bath/environment"),
        ("stream-rooms", "homelab/machines/h-1"),
        ("bridge", "homelab/machines/h-1"),
    ):
        assert published(broker, user, topic) == (not_allowed, "publish")
    for user, password in (("host-h-1", "wrong"), ("host-h-9", None), ("host-h-1", password_of(SECRET, "host-h-2"))):
        assert published(broker, user, "homelab/machines/h-1", password)[1] == "connect"
    log = (broker.folder / "log").read_text()
    assert not any(password_of(SECRET, user.name) in log for user in broker_users(broker.lab))


@pytest.mark.servers
def test_our_hashes_are_those_of_mosquittos_own_program(tmp_path: Path) -> None:
    made = LabBroker(lab_of(tmp_path / "lab"), tmp_path / "broker")
    root = mosquitto.installed()
    own = tmp_path / "own"
    own.write_text(f"host-h-2:{password_of(SECRET, 'host-h-2')}\n")
    own.chmod(0o600)
    subprocess.run([str(root / mosquitto.PROGRAMS[1]), "-U", str(own)], env=apt.libraries(root), check=True)
    ours = next(line for line in (made.folder / "passwords").read_text().splitlines() if line.startswith("host-h-2:"))
    shape = [len(part) for part in own.read_text().strip().split("$")]
    assert [len(part) for part in ours.split("$")] == shape
    assert ours.split("$")[1:3] == own.read_text().strip().split("$")[1:3], "the same form and number of rounds"

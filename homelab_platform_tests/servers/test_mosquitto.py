"""The MQTT broker of a site: who may do what, and that nothing acknowledged is lost with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.servers import mosquitto
from homelab_platform.servers.install import apt
from homelab_platform.servers.supervise import ports, processes

pytestmark = pytest.mark.servers

ROOMS = mosquitto.MqttUser("rooms", "for-rooms", writes=("sensors/+/environment",))
BRIDGE = mosquitto.MqttUser("bridge", "for-bridge", reads=("sensors/+/environment",))


class Broker:
    """A broker of one test, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = ports.choose(1)[0]
        self.folder = folder
        mosquitto.prepare(folder, (ROOMS, BRIDGE), self.port)
        self.start()

    def start(self) -> None:
        spec = mosquitto.process(self.folder, self.port)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(spec.command, env=os.environ | spec.environment, stderr=log, stdout=log)
        assert processes.wait_until(lambda: not ports.is_free(self.port), 10)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @contextmanager
    def client(
        self, user: mosquitto.MqttUser | None, name: str = "", got: list[tuple[str, str]] | None = None
    ) -> Iterator[paho.Client]:
        """A connected client; with a `name` its session outlives the connection; what it receives goes into `got`."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name)
        if user:
            client.username_pw_set(user.name, user.password)
        answered: list[ReasonCode] = []
        connected = threading.Event()

        def on_connect(_client: object, _data: object, _flags: object, code: ReasonCode, _properties: object) -> None:
            answered.append(code)
            connected.set()

        def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            if got is not None:
                got.append((message.topic, message.payload.decode()))

        client.on_connect = on_connect
        client.on_message = on_message
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            assert connected.wait(10)
            if answered[0].is_failure:
                raise PermissionError(str(answered[0]))
            yield client
        finally:
            client.disconnect()
            client.loop_stop()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="homelab broker ") as folder:
        made = Broker(Path(folder))
        yield made
        made.kill()


def send(client: paho.Client, topic: str, numbers: range) -> None:
    """Send numbers with QoS 1 and wait until each is acknowledged."""
    for sent in [client.publish(topic, str(number), qos=1) for number in numbers]:
        sent.wait_for_publish(20)
        assert sent.is_published()


@pytest.mark.slow
def test_nobody_comes_in_without_their_password(broker: Broker) -> None:
    for user in (None, mosquitto.MqttUser("rooms", "wrong"), mosquitto.MqttUser("stranger", "for-rooms")):
        with pytest.raises(PermissionError, match=r"(?i)not authori[sz]ed|bad user"), broker.client(user):
            pass
    stored = (broker.folder / "passwords").read_text()
    assert "for-rooms" not in stored
    assert (broker.folder / "passwords").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_sender_writes_its_own_topics_only_and_the_bridge_only_reads(broker: Broker) -> None:
    heard: list[tuple[str, str]] = []
    with broker.client(BRIDGE, got=heard) as bridge, broker.client(ROOMS, got=heard) as rooms:
        for client in (bridge, rooms):
            client.subscribe("#", qos=1)
        time.sleep(0.2)
        for user, topic in ((ROOMS, "elsewhere/kitchen"), (BRIDGE, "sensors/kitchen/environment")):
            with broker.client(user) as trespasser:
                trespasser.publish(topic, "1", qos=1)
                time.sleep(0.3)
        send(rooms, "sensors/kitchen/environment", range(2, 3))
        assert processes.wait_until(lambda: bool(heard), 10)
        time.sleep(0.3)
    assert heard == [("sensors/kitchen/environment", "2")]


def test_what_was_acknowledged_while_nobody_listened_survives_a_kill_of_the_broker(broker: Broker) -> None:
    with broker.client(BRIDGE, "bridge") as bridge:
        bridge.subscribe("sensors/+/environment", qos=1)
        time.sleep(0.3)
    with broker.client(ROOMS) as rooms:
        send(rooms, "sensors/rack/environment", range(500))
    broker.kill()
    broker.start()
    heard: list[tuple[str, str]] = []
    with broker.client(BRIDGE, "bridge", heard):
        processes.wait_until(lambda: len(heard) >= 500, 5)
    # Mosquitto saves once there are two changes, so the very last message may be missing (docs/servers.md)
    assert {int(payload) for _, payload in heard} >= set(range(499))


def test_it_listens_on_this_machine_only(broker: Broker) -> None:
    listening = [c.laddr for c in psutil.Process(broker.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", broker.port)]


@pytest.mark.slow
def test_the_package_is_unpacked_with_its_programs_and_their_versions_kept(tmp_path: Path) -> None:
    programs = [tmp_path / program for program in mosquitto.PROGRAMS]
    apt.unpack(mosquitto.PACKAGE, programs, tmp_path, silent)
    said = subprocess.run(
        [programs[0], "-h"], env=os.environ | apt.libraries(tmp_path), capture_output=True, text=True, check=False
    )
    assert "mosquitto version 2." in said.stdout
    assert any(line.startswith("mosquitto 2.") for line in (tmp_path / apt.VERSIONS).read_text().splitlines())


@pytest.mark.slow
def test_libraries_that_the_system_lacks_come_beside_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that has neither of two libraries: the loader and the package list say so, apt is the real one."""
    lacking = {"libcjson.so.1": "libcjson1", "libdlt.so.2": "libdlt2"}
    programs = tmp_path / "bin"
    programs.mkdir()
    loader = "".join(f'[ -e "$LD_LIBRARY_PATH/{name}" ] || echo "  {name} => not found"\n' for name in lacking)
    known = f"{shutil.which('dpkg-query')} \"$@\" | grep -vE '^({'|'.join(lacking.values())}) '"
    for name, text in (("ldd", loader), ("dpkg-query", known)):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    root = tmp_path / "root"
    apt.unpack(mosquitto.PACKAGE, [root / program for program in mosquitto.PROGRAMS], root, silent)
    assert {file.name for file in (root / apt.LIBRARIES).iterdir()} == set(lacking)
    assert all((root / apt.LIBRARIES / name).read_bytes().startswith(b"\x7fELF") for name in lacking)


def test_without_apt_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HomelabError, match=r"this machine has no apt-get(.|\n)*Install mosquitto by the means"):
        apt.unpack(mosquitto.PACKAGE, [], tmp_path, silent)

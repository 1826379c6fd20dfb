"""Hosts' own readings from their collectors through the lab's broker into the bucket: each sample once."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import pytest

from homelab_platform import paths
from homelab_platform.agents.bridge import main as mqtt_bridge
from homelab_platform.agents.bridge.lab_streams import LabStreams, lab_streams_of, machine_streams_of
from homelab_platform.agents.bridge.machines import MOST, Batch, Stored
from homelab_platform.agents.bridge.main import Bridge
from homelab_platform.agents.bridge.stream import BridgeStream
from homelab_platform.errors import HomelabError
from homelab_platform.plan.broker_access import password_of
from homelab_platform.servers.site.files import Layout, Secrets
from homelab_platform.tools.endpoints import Lakehouse, MqttEndpoint, ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.agents.bridge import bridging
from homelab_platform_tests.agents.bridge.bridging import eventually
from homelab_platform_tests.agents.bridge.lab_broker import SECRET, LabBroker, lab_of

COLLECTOR = paths.project_path("ansible", "roles", "collector", "files", "collector.py")
Identity = tuple[str, str, str]


class Part(Protocol):
    """Something on the way that can be killed."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


def stream_of(broker: MqttEndpoint, folder: Path) -> BridgeStream:
    lab = {"name": "brokers", "streams": {"machines": {"source": "machine"}}}
    return replace(machine_streams_of(lab, broker, folder)["machines"], batch_seconds=0.2)


class BridgeProcess:
    """A bridge of the hosts' stream as a process of its own."""

    def __init__(self, broker: MqttEndpoint, lakehouse: Lakehouse, folder: Path) -> None:
        folder.mkdir()
        self.log = folder / "log"
        told = {"broker": asdict(broker), "lakehouse": asdict(lakehouse), "folder": str(folder)}
        (folder / "settings.json").write_text(json.dumps(told, default=str))
        self._command = [sys.executable, __file__, str(folder / "settings.json")]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class CollectorProcess:
    """The collector of a host, as its unit starts it."""

    def __init__(self, broker: MqttEndpoint, host: str, folder: Path) -> None:
        folder.mkdir()
        self.spool, self.log = folder / "spool", folder / "log"
        (folder / "password").write_text(f"{broker.password}\n")
        settings = {
            "device": host,
            "site": "home",
            "every": 0.2,
            "to": f"mqtt://{broker.host}:{broker.port}",
            "topic": f"homelab/machines/{host}",
            "user": broker.user,
            "password_file": str(folder / "password"),
            "spool": str(self.spool),
        }
        (folder / "collector.json").write_text(json.dumps(settings))
        self._command = [sys.executable, "-I", "-S", str(COLLECTOR), str(folder / "collector.json")]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, env={})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0

    def waiting(self) -> int:
        return len(list(self.spool.glob("*.ndjson")))

    def spooled(self) -> Iterator[Identity]:
        """Every reading that it ever had on its disk: it keeps five minutes' worth of what was acknowledged."""
        for file in self.spool.glob("*[0-9].*"):
            yield from identities(file.read_bytes())


def identities(lines: bytes) -> Iterator[Identity]:
    for line in lines.splitlines():
        row = json.loads(line)
        yield row["device"], row["sensor"], row["ts"]


def lines_in(lakehouse: Lakehouse) -> dict[str, bytes]:
    """The objects of the raw bucket: key to lines."""
    with ObjectStore(lakehouse.objects) as store:
        keys = [found.key for found in store.list(lakehouse.raw_bucket)]
        return {key: gzip.decompress(store.get(lakehouse.raw_bucket, key)) for key in keys}


def arrived(lakehouse: Lakehouse) -> Counter[Identity]:
    return Counter(one for lines in lines_in(lakehouse).values() for one in identities(lines))


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_whatever_is_killed_every_sample_that_a_host_had_on_its_disk_is_in_the_bucket_once(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """SIGKILL of broker, bridge and collectors in any order, twice several at once; each is up for a moment between.

    The broker forgets up to five seconds of what it acknowledged, the bridge's acknowledgements among it.
    """
    dice = random.Random(5)
    broker = LabBroker(lab_of(tmp_path / "lab"), tmp_path / "broker", saves_every=5)
    bridge = BridgeProcess(broker.endpoint("bridge"), lakehouse, tmp_path / "bridge")
    hosts = [CollectorProcess(broker.endpoint(f"host-{name}"), name, tmp_path / name) for name in ("h-1", "h-2")]
    everything: list[Part] = [broker, bridge, *hosts]
    for part in reversed(everything):  # the collectors first: nobody takes their samples yet
        part.start()
    alone: list[Part] = [*[broker] * 5, *[bridge] * 9, *hosts * 4]
    kills: list[list[Part]] = [*([part] for part in alone), [broker, bridge], [broker, *hosts]]
    dice.shuffle(kills)
    try:
        for victims in kills:
            time.sleep(dice.uniform(0.3, 2.0))
            for part in victims:
                part.kill()
            time.sleep(dice.uniform(0.0, 0.4))
            for part in victims:
                part.start()
        time.sleep(3)  # whoever was started last takes a sample, and with it a new connection
        assert eventually(lambda: not any(host.waiting() for host in hosts), within=90), hosts[0].log.read_text()
        for host in hosts:
            host.stop()
        spooled = {one for host in hosts for one in host.spooled()}
        assert eventually(lambda: arrived(lakehouse).keys() >= spooled, within=60)
    finally:
        for part in everything:
            part.kill()
    found = arrived(lakehouse)
    assert len(spooled) > 1500
    assert found.keys() == spooled, "nothing that nobody had"
    assert set(found.values()) == {1}, f"{sum(n > 1 for n in found.values())} of {len(found)} lie there twice"
    assert all(key.startswith("machines/") for key in lines_in(lakehouse))
    assert sum(bridging.table(lakehouse, "device").values()) == len(spooled)
    print(f"{len(spooled)} readings, {len(kills)} kills, {len(lines_in(lakehouse))} objects")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LabBroker]:
    made = LabBroker(lab_of(tmp_path / "lab"), tmp_path / "broker")
    made.start()
    yield made
    made.kill()


def sample(host: str, second: int, **also: object) -> bytes:
    rows = [
        {"ts": f"2026-11-20T10:00:{second:02}.000001Z", "device": host, "sensor": name, "value": 1.5, **also}
        for name in ("cpu", "memory")
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@contextmanager
def carrying(broker: LabBroker, lakehouse: Lakehouse, folder: Path) -> Iterator[None]:
    """A bridge at work on what the hosts send, which has subscribed."""
    stream = stream_of(broker.endpoint("bridge"), folder)
    bridge = Bridge(lambda: {"machines": stream}, lambda: lakehouse, folder)
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        time.sleep(1.5)
        yield
    finally:
        bridge.stop()
        thread.join(30)


@pytest.mark.servers
@pytest.mark.slow
def test_lines_go_into_the_bucket_as_they_came_and_the_same_sample_again_is_not_stored_again(
    broker: LabBroker, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    first, second = sample("h-1", 1, unit="%", rack="left"), sample("h-1", 2)
    for again in range(2):
        with carrying(broker, lakehouse, tmp_path / "b"):
            with bridging.sender(broker.endpoint("host-h-1")) as sender:
                for payload in (first, second, first)[again:]:
                    sender.send("homelab/machines/h-1", payload)
            assert eventually(lambda: len(arrived(lakehouse)) == 4)
            time.sleep(1.5)
    objects = lines_in(lakehouse)
    assert b"".join(objects.values()) == first + second
    assert all(key.split("/")[0] == "machines" and key.endswith(".ndjson.gz") for key in objects)


@pytest.mark.servers
@pytest.mark.slow
def test_a_host_that_speaks_for_another_is_refused_with_its_topic_and_the_reason(
    broker: LabBroker, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    with carrying(broker, lakehouse, tmp_path / "b"):
        with bridging.sender(broker.endpoint("host-h-1")) as sender:
            sender.send("homelab/machines/h-1", sample("h-2", 1) + sample("h-1", 2) + b"nonsense\n")
        assert eventually(lambda: bool(lines_in(lakehouse)))
    assert {row[0] for row in bridging.table(lakehouse)} == {"h-1"}
    refused = sorted(raw for _, raw in bridging.rejected(lakehouse))
    assert refused[0] == "homelab/machines/h-1 nonsense"
    assert all(raw.startswith('homelab/machines/h-1 of another device {"ts"') for raw in refused[1:])
    assert len(refused) == 3


def test_a_batch_lies_on_the_disk_whole_and_what_is_stored_is_remembered_over_a_torn_line(tmp_path: Path) -> None:
    batch = Batch("machines/2026-11-21/mqtt/a.ndjson.gz", ("d1", "d2"), sample("h-1", 1))
    batch.save(tmp_path / "m.batch")
    assert Batch.load(tmp_path / "m.batch") == batch
    assert Batch.load(tmp_path / "none.batch") is None
    file = tmp_path / "m.stored"
    Stored(file).add(["a" * 24, "b" * 24])
    file.write_bytes(file.read_bytes()[:-5])
    torn = Stored(file)
    assert "a" * 24 in torn
    assert "b" * 24 not in torn
    torn.add(["c" * 24])
    assert "a" * 24 in Stored(file) and "c" * 24 in Stored(file), "no line joins the torn one"
    many = [f"{number:024}" for number in range(3 * MOST)]
    for start in range(0, len(many), 1000):
        torn.add(many[start : start + 1000])
    assert many[-1] in Stored(file) and many[0] not in Stored(file)
    assert file.stat().st_size <= 25 * (2 * MOST + 1000)


def test_a_site_that_steers_a_lab_carries_its_hosts_streams_and_mqtt_streams_at_their_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAR_PASSWORD", "far away")
    lab = lab_of(tmp_path / "lab")
    found = lab_streams_of(json.loads(lab.to_json()), SECRET, tmp_path, tmp_path / "lab")
    own = MqttEndpoint("10.9.0.1", 1883, "bridge", password_of(SECRET, "bridge"))
    assert list(found) == ["machines", "far", "rooms"]
    assert (found["machines"].broker, found["rooms"].broker) == (own, own)
    assert (found["machines"].topic, found["machines"].machines) == ("homelab/machines/+", True)
    assert (found["far"].broker.host, found["far"].broker.user) == ("192.0.2.7", "me")
    assert str(own.password) not in repr(found)


def test_the_bridge_asks_as_the_sites_profile_says_and_sees_a_changed_lab_or_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMELAB_PROFILE", "lab")
    monkeypatch.setenv("HOMELAB_LAB", str(tmp_path / "lab" / "lab.yaml"))
    layout = Layout(tmp_path)
    ask = mqtt_bridge._asking(tmp_path)
    assert isinstance(ask, LabStreams)
    with pytest.raises(HomelabError, match="holds no secret for the lab's broker"):
        ask()
    secrets = Secrets.fresh()
    secrets.save(layout)
    (tmp_path / "lab.json").write_bytes(lab_of(tmp_path / "lab").to_json())
    first = ask()["machines"]
    assert first.broker.password == password_of(secrets.mqtt_password, "bridge")
    assert ask()["machines"] == first
    replace(secrets, mqtt_password="another").save(layout)
    assert ask()["machines"].broker.password == password_of("another", "bridge")
    monkeypatch.setenv("HOMELAB_PROFILE", "full")
    assert not isinstance(mqtt_bridge._asking(tmp_path), LabStreams)


def _main(settings: Path) -> None:
    told = json.loads(settings.read_text())
    raw, folder = told["lakehouse"], Path(told["folder"])
    lakehouse = Lakehouse(
        PostgresEndpoint(**raw["postgres"]), ObjectsEndpoint(**raw["objects"]), raw["raw_bucket"], raw["lake_bucket"]
    )
    stream = stream_of(MqttEndpoint(**told["broker"]), folder)
    Bridge(lambda: {"machines": stream}, lambda: lakehouse, folder).run()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

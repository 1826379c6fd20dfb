"""Help for tests of the MQTT bridge: publishing, running a bridge in this process or in one to kill, what arrived.

Belongs here: what the tests of the bridge and of its flow in NiFi share. Run as a program it is a bridge:
`python bridging.py SETTINGS.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from homelab_platform.agents.bridge.main import Bridge
from homelab_platform.agents.bridge.settings import bridge_stream
from homelab_platform.readings import contract, ingest
from homelab_platform.tools import duckdb
from homelab_platform.tools.endpoints import Lakehouse, MqttEndpoint, ObjectsEndpoint, PostgresEndpoint

Payload = bytes | str | float | dict[str, Any] | list[Any]


def document(topic: str, *sensors: str, **settings: Any) -> dict[str, Any]:
    """An MQTT stream as `lab.json` has it."""
    return {
        "source": "mqtt",
        "source_settings": {"topic": topic, "site": "home", **settings},
        "sensors": {name: {"unit": "°C" if name == "temperature" else ""} for name in sensors},
    }


class Sender:
    """A publisher with QoS 1 that waits for the broker's word on every message."""

    def __init__(self, broker: MqttEndpoint) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(str(broker.user), broker.password)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def send(self, topic: str, payload: Payload, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has taken it over."""
        body = payload if isinstance(payload, bytes | str) else json.dumps(payload)
        self._client.publish(topic, body, qos=1, retain=retain).wait_for_publish(30)

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def sender(broker: MqttEndpoint) -> Iterator[Sender]:
    """A publisher for a few messages."""
    with closing(Sender(broker)) as made:
        yield made


@contextmanager
def bridge(
    broker: MqttEndpoint,
    lakehouse: Lakehouse,
    folder: Path,
    streams: Mapping[str, dict[str, Any]],
    entrance: dict[str, Any] | str | None = None,
) -> Iterator[Bridge]:
    """A bridge in this process that carries these streams."""
    made = {
        name: bridge_stream(name, stream, broker, f"test-{lakehouse.raw_bucket}-{name}", _entrance(entrance))
        for name, stream in streams.items()
    }
    running = Bridge(lambda: made, lambda: lakehouse, folder)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(30)


def _entrance(said: dict[str, Any] | str | None) -> dict[str, Any] | None:
    return {"url": said} if isinstance(said, str) else said


class Killable:
    """A bridge as a process of its own."""

    def __init__(self, broker: MqttEndpoint, lakehouse: Lakehouse, folder: Path, stream: dict[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        self._settings = folder / "settings.json"
        told = {"broker": asdict(broker), "lakehouse": asdict(lakehouse), "folder": str(folder), "stream": stream}
        self._settings.write_text(json.dumps(told, default=str))
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "bridge.log"

    def start(self) -> None:
        """Start it, unless it runs."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, __file__, str(self._settings)], stderr=log)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def table(lakehouse: Lakehouse, columns: str = "device, sensor, value") -> Counter[tuple[Any, ...]]:
    """What the table holds after an ingest of what is in the bucket, with how often."""
    _take_in(lakehouse)
    return _rows(lakehouse, f"SELECT {columns} FROM sensor_data")


def rejected(lakehouse: Lakehouse) -> Counter[tuple[Any, ...]]:
    """The refused lines: reason and text."""
    _take_in(lakehouse)
    return _rows(lakehouse, "SELECT reason, raw FROM sensor_data_rejected")


def _take_in(lakehouse: Lakehouse) -> None:
    contract.ensure_tables(lakehouse)
    ingest.ingest_pending(lakehouse)


def _rows(lakehouse: Lakehouse, query: str) -> Counter[tuple[Any, ...]]:
    with closing(duckdb.connect(lakehouse)) as engine:
        return Counter(engine.execute(query).fetchall())


def eventually(check: Callable[[], bool], within: float = 30) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _main(settings: Path) -> None:
    told = json.loads(settings.read_text())
    broker = MqttEndpoint(**told["broker"])
    raw = told["lakehouse"]
    lakehouse = Lakehouse(
        PostgresEndpoint(**raw["postgres"]), ObjectsEndpoint(**raw["objects"]), raw["raw_bucket"], raw["lake_bucket"]
    )
    stream = bridge_stream("killed", told["stream"], broker, f"test-{raw['raw_bucket']}-killed")
    Bridge(lambda: {"killed": stream}, lambda: lakehouse, Path(told["folder"])).run()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""Sources through a real NiFi into a real bucket: what arrives, what is refused, and what somebody is told of it."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.tools.endpoints import Lakehouse, MqttEndpoint, NifiEndpoint
from homelab_platform.tools.nifi import flows as probes
from homelab_platform_tests.agents.bridge import bridging
from homelab_platform_tests.layers.flows.exporter import node_exporter
from homelab_platform_tests.layers.flows.nifi_lab import NifiLab, nifi_lab, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def lines(flow: NifiLab) -> list[dict[str, Any]]:
    """Every line of the stream's objects."""
    return [json.loads(line) for body in flow.objects().values() for line in gzip.decompress(body).splitlines()]


def told(flow: NifiLab) -> str:
    """What NiFi's bulletins say of the flow."""
    return "\n".join(one.message for one in probes.flow_health(flow.endpoint, flow.stream).bulletins)


class Api(BaseHTTPRequestHandler):
    """An API that says what the test wants: a status, headers, a body; it remembers what it was asked."""

    status = 200
    body = b""
    cut = 0
    asked: list[tuple[str, dict[str, str], bytes]] = []  # noqa: RUF012 - each test has a class of its own

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, sent))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body) + self.cut))
        self.end_headers()
        self.wfile.write(self.body)

    def do_GET(self) -> None:
        """As it should be."""
        self._answer()

    def do_POST(self) -> None:
        """The same."""
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def api() -> Iterator[tuple[str, type[Api]]]:
    """A running API of the test's own."""
    handler = type("Own", (Api,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()


def each_is_told(flow: NifiLab, handler: type[Api], troubles: dict[str, Callable[[], None]]) -> None:
    """Set each trouble in turn and wait until NiFi says the words that it stands under."""
    for words, cause in troubles.items():
        handler.status, handler.cut = 200, 0
        cause()
        wait_for(lambda words=words: words in told(flow), 20)  # type: ignore[misc]


def test_a_node_exporter_is_polled_and_what_goes_wrong_with_one_is_said(
    lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path
) -> None:
    query = 'node_load1 or node_cpu_seconds_total{mode="idle"}'
    with node_exporter() as address, api() as (url, broken):
        broken.body = b"<html>log in</html>\n"
        exporters = [address, f"{url}/metrics"]
        with nifi_lab(lakehouse, nifi, tmp_path, source="prometheus", exporter=exporters, query=query, every=1) as flow:
            flow.apply()
            wait_for(lambda: len(flow.objects()) >= 3)
            each_is_told(flow, broken, {
                "is HTML": lambda: None,
                "answers 401": lambda: setattr(broken, "status", 401),
                "answers 429": lambda: setattr(broken, "status", 429),
                "answers 503": lambda: setattr(broken, "status", 503),
                "breaks off in its last line": lambda: setattr(broken, "body", b"node_load1 0.5\nnode_lo"),
                "does not answer": lambda: setattr(broken, "cut", 100),
            })  # fmt: skip
    found = lines(flow)
    loads = [row for row in found if row["sensor"] == "node_load1"]
    assert {row["device"] for row in found} == {address}
    assert {row["metric"] for row in found} == {"node_load1", "node_cpu_seconds_total"}
    assert {row["labels"]["mode"] for row in found if "labels" in row} == {"idle"}
    assert len({row["ts"] for row in loads}) == len(loads) >= 3
    assert abs(loads[0]["ts"] / 1000 - time.time()) < 300
    rows = bridging.table(lakehouse, "device, sensor, ts")
    assert sum(rows.values()) == len(rows) == len(found)


def statistics(hours: int, mean: float) -> bytes:
    """The answer of Home Assistant's action: that many whole hours, the newest one just over."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = []
    for back in range(hours, 0, -1):
        begin = now - timedelta(hours=back)
        rows.append({"start": begin.isoformat(), "end": (begin + timedelta(hours=1)).isoformat(), "mean": mean + back})
    return json.dumps({"changed_states": [], "service_response": {"statistics": {"sensor.kitchen": rows}}}).encode()


def test_home_assistants_statistics_are_asked_for_again_and_again_and_count_once(
    lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "token.txt").write_text("long-lived\n")
    with api() as (url, home):
        home.body = statistics(6, 20)
        settings: dict[str, Any] = {
            "url": url,
            "statistics": ["sensor.kitchen"],
            "every": 1,
            "token": "file:token.txt",
            "settle": 3600,
        }
        with nifi_lab(lakehouse, nifi, tmp_path, source="rest", **settings) as flow:
            flow.apply()
            wait_for(lambda: len(home.asked) >= 4 and len(flow.objects()) >= 1)
            path, headers, body = home.asked[0]
            home.body = statistics(8, 20)  # two older hours come late
            wait_for(lambda: len({row["ts"] for row in lines(flow)}) == 7)
            each_is_told(flow, home, {
                "answers 401": lambda: setattr(home, "status", 401),
                "is HTML": lambda: setattr(home, "body", b"<html></html>"),
                "breaks off after": lambda: setattr(home, "body", statistics(3, 1)[:-9]),
                "refuses: no such": lambda: setattr(home, "body", b'{"success": false, "error": "no such"}'),
            })  # fmt: skip
    assert path == "/api/services/recorder/get_statistics?return_response"
    assert headers["authorization"] == "Bearer long-lived"
    asked = json.loads(body)
    assert asked["statistic_ids"] == ["sensor.kitchen"]
    since = datetime.now(UTC) - datetime.fromisoformat(asked["start_time"])
    assert timedelta(days=1.9) < since < timedelta(days=2.1)
    assert len(flow.objects() or {}) <= 3, "the same answer is the same object"
    rows = bridging.table(lakehouse)
    assert rows == {("sensor.kitchen", "mean", 20.0 + back): 1 for back in range(2, 9)}, (
        "the newest hour has not settled"
    )


def drop(folder: Path, name: str, content: bytes) -> None:
    """Put a file there as people do, old enough to be taken."""
    (folder / name).write_bytes(content)
    then = time.time() - 60
    os.utime(folder / name, (then, then))


def test_dropped_files_are_taken_unchanged_or_refused_with_the_reason_beside_them(
    lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "inbox"
    columns = {"time": "ts", "temp_c": "temperature", "hum": "humidity"}
    with nifi_lab(lakehouse, nifi, tmp_path, source="files", path=str(folder), columns=columns) as made:
        flow = flow_of_device(made, "station")
        flow.apply()
        good = b"time,temp_c,hum\n2026-11-20T10:00:00Z,21.5,40\n2026-11-20T10:01:00Z,21.6,\n"
        other = b"time,temp_c,hum\n2026-11-20T11:00:00Z,1,2\n"
        huge = b"time,temp_c,hum\n" + b"".join(
            b"%d,%d,\n" % (1_700_000_000 + number, number % 50) for number in range(1_000_000)
        )
        drop(folder, "a.csv", good)
        drop(folder, "same.csv", good)
        drop(folder, "table.xlsx", b"PK\x03\x04....")
        drop(folder, "foreign.csv", b"when;what\n1;2\n")
        drop(folder, "cut.csv.gz", gzip.compress(good)[:-9])
        drop(folder, ".hidden.csv", good)
        drop(folder, "late.csv.part", good)
        with (folder / "growing.csv").open("wb") as growing:

            def others_are_done() -> bool:
                growing.write(good)
                growing.flush()
                return len(list(folder.glob("done/*"))) >= 2 and len(list(folder.glob("refused/*"))) >= 6

            wait_for(others_are_done, 60)
            assert (folder / "growing.csv").exists(), "a file that is being written was taken"
        drop(folder, "a.csv", other)
        drop(folder, "huge.csv", huge)
        (folder / "growing.csv").unlink()
        wait_for(lambda: (folder / "done" / "huge.csv").exists() and len(list(folder.glob("done/a*.csv"))) == 2, 60)
        objects = flow.objects()
        words = told(flow)
    assert sorted(map(len, objects.values())) == sorted([len(good), len(good), len(other), len(huge)])
    assert huge in objects.values()
    assert {path.name for path in folder.iterdir()} == {"done", "refused", ".hidden.csv", "late.csv.part"}
    reasons = {file.name: file.read_text() for file in (folder / "refused").glob("*.reason.txt")}
    assert "ZIP archive" in reasons["table.xlsx.reason.txt"]
    assert "no column hum, temp_c, time (it has what, when)" in reasons["foreign.csv.reason.txt"]
    assert "breaks off" in reasons["cut.csv.gz.reason.txt"]
    assert "table.xlsx was refused" in words
    with_huge_gone(lakehouse, objects, huge)
    rows = bridging.table(lakehouse)
    assert rows == {
        ("station", "temperature", 21.5): 1,
        ("station", "humidity", 40.0): 1,
        ("station", "temperature", 21.6): 1,
        ("station", "temperature", 1.0): 1,
        ("station", "humidity", 2.0): 1,
    }


def flow_of_device(flow: NifiLab, device: str) -> NifiLab:
    """The same lab, whose stream names one device."""
    old = flow.lab.streams[flow.stream]
    lab = flow.lab.model_copy(update={"streams": {flow.stream: old.model_copy(update={"devices": (device,)})}})
    return type(flow)(**{**vars(flow), "lab": lab}).with_settings()


def with_huge_gone(lakehouse: Lakehouse, objects: dict[str, bytes], huge: bytes) -> None:
    """Leave the large object out of the ingest: its million readings are not what is tested."""
    from homelab_platform.tools.objects.client import ObjectStore

    with ObjectStore(lakehouse.objects) as store:
        store.delete(lakehouse.raw_bucket, [key for key, body in objects.items() if body == huge])


def test_mqtt_messages_go_through_the_flow_and_are_acknowledged_after_it(
    lakehouse: Lakehouse, nifi: NifiEndpoint, mqtt: MqttEndpoint, tmp_path: Path
) -> None:
    root = f"nifi-{os.getpid()}-{time.monotonic_ns()}"
    with nifi_lab(lakehouse, nifi, tmp_path, source="mqtt", topic=f"{root}/+/environment") as flow:
        flow.apply()
        entrance = json.loads((tmp_path / "entrances.json").read_text())[flow.stream]
        stream = {flow.stream: bridging.document(f"{root}/+/environment", "temperature")}
        with bridging.sender(mqtt) as sender, bridging.bridge(mqtt, lakehouse, tmp_path, stream, entrance):
            time.sleep(1.5)
            for number in range(200):
                sender.send(f"{root}/d/environment", number)
            sender.send(f"{root}/d/environment", {"temperature": "hot"})
            wait_for(lambda: sum(len(gzip.decompress(body).splitlines()) for body in flow.objects().values()) >= 201)
        producers = {key.split("/")[2] for key in flow.objects()}
    assert any(name.startswith("mqtt-refused") for name in producers)
    assert len(producers) == 2
    assert bridging.table(lakehouse) == {("d", "temperature", float(number)): 1 for number in range(200)}
    assert [reason for reason, _ in bridging.rejected(lakehouse)] == ["value is a text, not a number"]

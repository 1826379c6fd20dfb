"""The collector that hosts run: its readings arrive once the other side has them, whatever happens to it meanwhile."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform import paths
from homelab_platform.tools.endpoints import MqttEndpoint
from homelab_platform.wire.contract import PRODUCER_COLUMNS
from homelab_platform.wire.reading import safe_name

SCRIPT = paths.project_path("ansible", "roles", "collector", "files", "collector.py")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collector", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Two samples and one delivery, as its unit starts it."""
    said = {
        "device": "pi-1",
        "site": "home",
        "stream": "machines",
        "every": 5,
        "topic": "t",
        "spool": str(folder / "s"),
    }
    (folder / "collector.json").write_text(json.dumps({**said, **settings}))
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(folder / "collector.json"), "--once"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={})


def waiting(folder: Path) -> list[Path]:
    return sorted((folder / "s").glob("*.ndjson"))


def readings(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_is_one_file_of_the_standard_library_that_an_old_python_reads() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 7))
    used = {
        n.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for n in (alias.name for alias in node.names)
    }
    used |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used <= sys.stdlib_module_names


@given(st.text(max_size=150))
def test_its_names_are_those_that_keys_of_objects_may_hold(text: str) -> None:
    """It is one file for hosts and cannot import the platform's own function."""
    assert load().fit(text) == safe_name(text)


def test_what_waits_for_a_broker_are_readings_by_the_contract(tmp_path: Path) -> None:
    done = run(tmp_path, to="mqtt://127.0.0.1:1")
    assert done.returncode == 1
    assert "readings wait here: mqtt://127.0.0.1:1: [Errno 111]" in done.stderr
    assert len(waiting(tmp_path)) == 2
    rows = readings(waiting(tmp_path)[-1].read_text())
    assert all(set(row) <= set(PRODUCER_COLUMNS) for row in rows)
    assert {"cpu", "memory", "disk", "uptime", "load_1m"} <= {row["sensor"] for row in rows}
    assert all(isinstance(row["value"], float) and row["device"] == "pi-1" for row in rows)
    assert 0 <= next(row["value"] for row in rows if row["sensor"] == "cpu") <= 100


def test_a_raspberry_pi_tells_its_temperature_and_what_throttles_it(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("48312\n")
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    found = {sensor: value for sensor, value, _unit in load().Machine(tmp_path).sample()}
    assert found["temperature"] == 48.312
    assert (found["under_voltage"], found["throttled"], found["frequency_capped"]) == (1.0, 1.0, 0.0)


def test_a_full_spool_drops_its_oldest_samples_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collector = load()
    monkeypatch.setattr(collector, "SPOOL_FILES", 3)
    spool = collector.Spool(tmp_path)
    for number in range(5):
        spool.add(b"%d\n" % number)
    assert [spool.read(name) for name in spool.waiting()] == [b"2\n", b"3\n", b"4\n"]
    assert [spool.read(name) for name in collector.Spool(tmp_path).waiting()] == [b"2\n", b"3\n", b"4\n"]
    assert capsys.readouterr().err == "the spool is full (3 samples): the oldest are given up\n", "said once"


def test_a_clock_that_is_set_keeps_the_samples_and_marks_the_first_of_the_new_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load()
    before = [(1_800_000_000.0, 100.0), (1_800_000_005.0, 105.0), (1_800_003_610.0, 110.0)]
    times = iter([*before, (1_800_003_609.9, 115.0), (1_700_000_000.0, 120.0), (1_700_000_005.0, 125.0)])
    now = [next(times)]
    clock = module.Clock(wall=lambda: now[0][0], passed=lambda: now[0][1])
    spool = module.Spool(tmp_path)
    collector = module.Collector({"device": "pi-1", "every": 5}, spool, module.Machine(), clock)
    for later in (*times, None):
        collector.take()
        now[0] = later or now[0]
    found = [json.loads(spool.read(name).splitlines()[0]) for name in spool.waiting()]
    assert [row["quality"] for row in found] == ["ok", "ok", "clock_changed", "ok", "clock_changed", "ok"]
    assert found[3]["ts"] == "2027-01-15T09:00:10.000001Z", "a little back is no new time, and no time comes twice"
    assert found[4]["ts"] == "2023-11-14T22:13:20.000000Z"
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"the clock was set by {by} s: this sample is marked clock_changed" for by in ("+3600", "-100003615")
    ]


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"the bucket is full" if status != 204 else b"")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/readings", got
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.slow
def test_over_http_only_what_was_taken_leaves_the_spool(tmp_path: Path) -> None:
    with server(503) as (url, got):
        done = run(tmp_path, to=url)
    assert done.returncode == 1
    assert "HTTP 503 the bucket is full" in done.stderr
    kept = b"".join(file.read_bytes() for file in waiting(tmp_path))
    with server(204) as (url, got):
        assert run(tmp_path, to=url).returncode == 0
    assert b"".join(got).startswith(kept), "what waited comes first, in order"
    assert waiting(tmp_path) == []


@pytest.mark.servers
@pytest.mark.slow
def test_over_mqtt_each_sample_arrives_at_the_broker_and_then_leaves_the_spool(
    tmp_path: Path, mqtt: MqttEndpoint
) -> None:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    topic, got, ready = f"collector/{tmp_path.name}", [], threading.Event()
    listener = paho.Client(CallbackAPIVersion.VERSION2)
    listener.username_pw_set(mqtt.user, mqtt.password)
    listener.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    listener.on_subscribe = lambda *_: ready.set()
    listener.on_message = lambda _client, _data, message: got.append((message.payload, message.qos))
    listener.connect(mqtt.host, mqtt.port)
    listener.loop_start()
    try:
        assert ready.wait(10)
        (tmp_path / "password").write_text(f"{mqtt.password}\n")
        access = {"user": mqtt.user, "password_file": str(tmp_path / "password")}
        to = {"to": f"mqtt://{mqtt.host}:{mqtt.port}", "topic": topic}
        done = run(tmp_path, **to, **access)
        assert done.returncode == 0, done.stderr
        for _ in range(100):
            if len(got) == 2:
                break
            threading.Event().wait(0.05)
    finally:
        listener.loop_stop()
        listener.disconnect()
    assert [qos for _payload, qos in got] == [1, 1]
    assert waiting(tmp_path) == []
    assert {row["sensor"] for row in readings(got[1][0].decode())} >= {"cpu", "memory"}
    assert len(list((tmp_path / "s").glob("*.sent"))) == 2, "the broker has not saved them yet, perhaps"
    assert "nobody reads this topic at the broker yet" in run(tmp_path, **to, **access).stderr
    assert len(waiting(tmp_path)) == 4, "what nobody would get stays, and so does what nobody may have got"


@pytest.mark.servers
def test_a_wrong_password_is_named_and_loses_nothing(tmp_path: Path, mqtt: MqttEndpoint) -> None:
    done = run(tmp_path, to=f"mqtt://{mqtt.host}:{mqtt.port}", user="nobody")
    assert done.returncode == 1
    assert "the broker does not" in done.stderr
    assert len(waiting(tmp_path)) == 2


def test_it_takes_less_memory_than_a_small_pi_has_to_spare(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", f"""
import resource, subprocess, sys
subprocess.run([sys.executable, "-I", "-S", {str(SCRIPT)!r}, {str(tmp_path / "collector.json")!r}, "--once"],
               stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""], stdout=subprocess.PIPE, text=True)  # fmt: skip
    (tmp_path / "collector.json").write_text(
        json.dumps(
            {"device": "pi-1", "every": 5, "topic": "t", "to": "mqtt://127.0.0.1:1", "spool": str(tmp_path / "s")}
        )
    )
    peak = int(child.communicate(timeout=60)[0]) * 1024
    assert peak < 32 * 2**20, f"{peak / 2**20:.1f} MiB"

"""From a real broker to the table: every message once, whatever is killed or away, and nothing vanishes in silence."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from homelab_platform.agents.bridge.journal import Entry, Journal, digest_of
from homelab_platform.agents.bridge.outlets import EntranceOutlet, Refused, Unavailable
from homelab_platform.agents.bridge.settings import client_id, streams_of
from homelab_platform.agents.bridge.stream import topic_says
from homelab_platform.tools.endpoints import Lakehouse, MqttEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.agents.bridge import bridging
from homelab_platform_tests.agents.bridge.bridging import document, eventually


@pytest.fixture
def root() -> str:
    """A topic of this test's own."""
    return f"test-{uuid.uuid4().hex[:8]}"


def lines_in(lakehouse: Lakehouse) -> int:
    """How many lines the raw bucket holds."""
    import gzip

    with ObjectStore(lakehouse.objects) as store:
        objects = [store.get(lakehouse.raw_bucket, found.key) for found in store.list(lakehouse.raw_bucket)]
    return sum(gzip.decompress(data).count(b"\n") for data in objects)


@pytest.mark.servers
@pytest.mark.slow
def test_messages_of_every_shape_arrive_once_and_what_is_no_reading_is_refused_with_its_reason(
    mqtt: MqttEndpoint, lakehouse: Lakehouse, tmp_path: Path, root: str
) -> None:
    streams = {
        "environment": document(f"{root}/+/environment", "temperature", "humidity", fields={"temp_c": "temperature"}),
        "plain": document(f"{root}/plain/+/+"),
    }
    with bridging.sender(mqtt) as sender, bridging.bridge(mqtt, lakehouse, tmp_path, streams):
        sender.send(f"{root}/first/environment", 0)  # before the subscription or after: only the rest is counted on
        time.sleep(1)
        sender.send(f"{root}/kitchen/environment", {"temp_c": 21.5, "humidity": 40, "ts": "2026-11-20T10:00:00Z"})
        sender.send(f"{root}/attic/environment", [{"temperature": 1}, {"temperature": 2}])
        sender.send(f"{root}/plain/boiler/pressure", 1.5)
        sender.send(
            f"{root}/plain/boiler/x", {"device": "own", "sensor": "name", "value": 3, "ts": "2026-11-20T10:00:00Z"}
        )
        sender.send(f"{root}/cellar/environment", {"temperature": "wet"})
        sender.send(f"{root}/cellar/environment", "hello\nworld")
        sender.send(f"{root}/cellar/environment", b"\xff\xfe")
        sender.send(f"{root}/cellar/environment", b"")
        assert eventually(lambda: lines_in(lakehouse) >= 10)
    rows = bridging.table(lakehouse)
    assert {row: count for row, count in rows.items() if row[0] != "first"} == {
        ("kitchen", "temperature", 21.5): 1,
        ("kitchen", "humidity", 40.0): 1,
        ("attic", "temperature", 1.0): 1,
        ("attic", "temperature", 2.0): 1,
        ("boiler", "pressure", 1.5): 1,
        ("own", "name", 3.0): 1,
    }
    reasons = {raw: reason for reason, raw in bridging.rejected(lakehouse)}
    assert reasons.pop(f"{root}/cellar/environment hello world").startswith("not JSON")
    assert reasons.pop(f"{root}/cellar/environment \\xff\\xfe") == "not UTF-8"
    assert reasons.pop(f"{root}/cellar/environment ").startswith("not JSON")
    others = {reason for raw, reason in reasons.items() if "first" not in raw}
    assert others == {"value is a text, not a number"}


@pytest.mark.servers
@pytest.mark.slow
def test_what_the_broker_retains_counts_only_with_a_time_of_its_own(
    mqtt: MqttEndpoint, lakehouse: Lakehouse, tmp_path: Path, root: str
) -> None:
    streams = {"environment": document(f"{root}/+/environment", "temperature")}
    with bridging.sender(mqtt) as sender:
        sender.send(f"{root}/old/environment", {"temperature": 1}, retain=True)
        sender.send(f"{root}/dated/environment", {"temperature": 2, "ts": "2026-11-20T10:00:00Z"}, retain=True)
        for _ in range(2):
            with bridging.bridge(mqtt, lakehouse, tmp_path, streams):
                assert eventually(lambda: lines_in(lakehouse) >= 2)
                time.sleep(1)
        for device in ("old", "dated"):
            sender.send(f"{root}/{device}/environment", b"", retain=True)
    assert lines_in(lakehouse) == 2, "the second connection got them again"
    assert set(bridging.table(lakehouse)) == {("dated", "temperature", 2.0)}
    assert [reason for reason, _ in bridging.rejected(lakehouse)] == ["ts is missing"]


class Entrance(BaseHTTPRequestHandler):
    """An entrance as NiFi's flow is one: says 503 while `away`, refuses batches that hold `bad`, keeps the rest."""

    away = False
    bad = b"no such thing"
    kept: list[bytes] = []  # noqa: RUF012 - the server makes the handler; the test reads the class

    def do_POST(self) -> None:
        """One batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if self.away else 400 if self.bad in body else 201
        if status == 201:
            type(self).kept += body.splitlines()
        answer = json.dumps({"error": "it holds something bad", "items": [{"item": 1, "reason": "bad value"}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def entrance() -> Iterator[tuple[str, type[Entrance]]]:
    """A running entrance of the test's own."""
    handler = type("Own", (Entrance,), {"kept": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/readings", handler
        finally:
            server.shutdown()


@pytest.mark.servers
@pytest.mark.slow
def test_while_the_entrance_is_away_messages_wait_and_keep_the_time_at_which_they_came(
    mqtt: MqttEndpoint, lakehouse: Lakehouse, tmp_path: Path, root: str
) -> None:
    stream = document(f"{root}/+/environment", "temperature")
    with bridging.sender(mqtt) as sender, entrance() as (url, door):
        with bridging.bridge(mqtt, lakehouse, tmp_path, {"environment": stream}, url):
            sender.send(f"{root}/a/environment", 0)
            time.sleep(1)
            door.away = True
            for number in range(1, 31):
                sender.send(f"{root}/a/environment", number)
            time.sleep(2)
            assert len(door.kept) <= 1
        times = (tmp_path / "environment.journal").read_text()
        door.away = False
        with bridging.bridge(mqtt, lakehouse, tmp_path, {"environment": stream}, url):
            assert eventually(lambda: len({json.loads(line)["value"] for line in door.kept}) >= 30)
    found = [json.loads(line) for line in door.kept]
    assert {row["value"] for row in found} - {0} == set(range(1, 31))
    assert len({row["ts"] for row in found}) == len({row["value"] for row in found})
    journalled = {json.loads(line)[2] for line in times.splitlines()}
    assert len(journalled) > 1
    assert journalled <= {row["ts"] for row in found}, "a message that was sent again got another time"


@pytest.mark.servers
@pytest.mark.slow
def test_a_message_that_the_entrance_refuses_is_put_aside_and_holds_up_nobody(
    mqtt: MqttEndpoint, lakehouse: Lakehouse, tmp_path: Path, root: str
) -> None:
    stream = document(f"{root}/+/environment", "temperature")
    with bridging.sender(mqtt) as sender, entrance() as (url, door):
        door.bad = b"bad"
        with bridging.bridge(mqtt, lakehouse, tmp_path, {"environment": stream}, url):
            time.sleep(1)
            for number in range(20):
                sender.send(f"{root}/{'bad' if number == 7 else 'good'}/environment", number)
            assert eventually(lambda: lines_in(lakehouse) == 1 and len(door.kept) >= 19)
    assert {json.loads(line)["value"] for line in door.kept} == set(range(20)) - {7}
    assert set(bridging.table(lakehouse)) == {("bad", "temperature", 7.0)}


@pytest.mark.servers
@pytest.mark.slow
def test_a_killed_bridge_loses_nothing_and_doubles_nothing_even_of_messages_without_a_time(
    mqtt: MqttEndpoint, lakehouse: Lakehouse, tmp_path: Path, root: str
) -> None:
    """Ten SIGKILLs while messages without a time of their own flow: each value is in the table exactly once."""
    dice = random.Random(4)
    bridge = bridging.Killable(mqtt, lakehouse, tmp_path / "b", document(f"{root}/+/environment", "temperature"))
    bridge.start()
    assert eventually(lambda: bridge.log.exists() and "new session" in bridge.log.read_text())
    sent, over = 0, threading.Event()

    def publish() -> None:
        nonlocal sent
        with bridging.sender(mqtt) as sender:
            while not over.is_set():
                sender.send(f"{root}/d/environment", sent)
                sent += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(10):
            time.sleep(dice.uniform(0.8, 2.2))
            bridge.kill()
            bridge.start()
    finally:
        over.set()
        thread.join()
    try:
        assert eventually(lambda: sum(bridging.table(lakehouse).values()) >= sent, within=60)
    finally:
        bridge.kill()
    rows = bridging.table(lakehouse)
    assert sent > 100
    assert rows == {("d", "temperature", float(number)): 1 for number in range(sent)}
    print(f"{sent} messages, 10 kills, {lines_in(lakehouse) - sent} sent again")


def test_an_entrance_is_waited_for_or_has_refused(tmp_path: Path) -> None:
    with entrance() as (url, door):
        outlet = EntranceOutlet(url)
        outlet.put(b"{}\n")
        with pytest.raises(Refused, match=r"answers 400: it holds something bad \(bad value\)"):
            outlet.put(door.bad)
        door.away = True
        with pytest.raises(Unavailable, match="answers 503"):
            outlet.put(b"{}\n")
        outlet.close()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        EntranceOutlet(url).put(b"{}\n")


@pytest.mark.parametrize(
    ("pattern", "topic", "levels", "found"),
    [
        ("sensors/+/environment", "sensors/kitchen/environment", ("device", "sensor"), {"device": "kitchen"}),
        ("s/+/+", "s/a/b", ("device", "sensor"), {"device": "a", "sensor": "b"}),
        ("s/+/+", "s/a/b", ("-", "device"), {"device": "b"}),
        ("s/+/#", "s/a/b/c", ("device", "sensor"), {"device": "a", "sensor": "b.c"}),
        ("s/+/#", "s/a", ("device", "sensor"), {"device": "a"}),
        ("$share/g/s/+", "s/a", ("device",), {"device": "a"}),
        ("s/+/+", "s//b", ("device", "sensor"), {"sensor": "b"}),
        ("s/fixed", "s/fixed", ("device",), {}),
    ],
)
def test_wildcards_of_a_topic_say_what_the_stream_says_they_do(
    pattern: str, topic: str, levels: tuple[str, ...], found: dict[str, str]
) -> None:
    assert topic_says(pattern, topic, levels) == found


def test_a_message_sent_again_keeps_its_time_over_a_restart_and_a_new_one_gets_its_own(tmp_path: Path) -> None:
    file, clock = tmp_path / "s.journal", iter(range(1_000, 10_000, 1_000))
    journal = Journal(file, now=lambda: next(clock))
    first = Entry(7, digest_of("a/b", b"21.5"), journal.arrival())
    journal.save([first])
    assert journal.known(7, first.digest, again=False) is first, "it was never acknowledged"
    first.stored = True
    assert journal.known(7, first.digest, again=False) is None, "its packet identifier is free again"
    after = Journal(file, now=lambda: 500)
    again = after.known(7, first.digest, again=True)
    assert again is not None
    assert again.at_us == first.at_us
    assert after.known(7, digest_of("a/b", b"22"), again=True) is None
    assert after.known(8, first.digest, again=True) is None
    assert after.arrival() == first.at_us + 1, "the clock went back a little: no time comes twice"


def test_a_torn_journal_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    Journal(file).save([Entry(1, "a", 5), Entry(2, "b", 6)])
    file.write_bytes(file.read_bytes()[:-4])
    journal = Journal(file)
    assert journal.known(1, "a", again=True) is not None
    assert journal.known(2, "b", again=True) is None


def test_a_journal_stays_small_and_forgets_a_lost_session(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    journal = Journal(file)
    for start in range(0, 20_000, 1000):
        journal.save([Entry(mid, "d", mid) for mid in range(start, start + 1000)])
    assert file.stat().st_size < 400_000
    assert journal.known(19_999, "d", again=True) is not None
    assert journal.known(1, "d", again=True) is None
    journal.forget()
    assert journal.known(19_999, "d", again=True) is None
    assert Journal(file).known(19_999, "d", again=True) is None


def test_the_bridge_carries_the_labs_mqtt_streams_under_names_that_stay(tmp_path: Path) -> None:
    own = MqttEndpoint("127.0.0.1", 1883, "bridge", "secret")
    lab = {
        "name": "lab",
        "streams": {
            "environment": document("s/+/environment", "temperature", broker="192.168.0.5", levels=["-"]),
            "machine": {"source": "machine", "source_settings": {}},
        },
    }
    (tmp_path / "lab.json").write_text(json.dumps(lab))
    (tmp_path / "entrances.json").write_text(json.dumps({"environment": {"url": "http://127.0.0.1:1/x"}}))
    found = streams_of(tmp_path, own)
    assert list(found) == ["environment"]
    assert (found["environment"].broker, found["environment"].levels) == (own, ("-",))
    assert found["environment"].entrance == "http://127.0.0.1:1/x"
    assert found == streams_of(tmp_path, own)
    assert streams_of(tmp_path, None)["environment"].broker.host == "192.168.0.5"
    assert client_id(tmp_path / "other", "lab", "environment") != found["environment"].client_id

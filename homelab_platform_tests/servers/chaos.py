"""Senders that keep to what they were promised, and a killer: the load under which a full site is killed in parts.

Belongs here: readings with names of their own, sent by HTTP, MQTT and files until acknowledged; kill -9 of one server
and how long it took to answer again; the comparison of what was acknowledged with what is in the table. Used by
test_chaos.py with one kill each and by bench/kill9_platform.py with many.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from homelab_platform.agents.bridge.settings import ENTRANCES
from homelab_platform.errors import HomelabError
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site.engines import USERS_FILE
from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import Site
from homelab_platform.servers.supervise import launch, processes

LAB = """\
version: 1
lab: {name}
domain: chaos.example.org
timezone: UTC
network: {{lan: 192.168.1.0/24, gateway: 192.168.1.1}}
hosts:
  here:
    board: pi5-8gb
    os: raspios
    address: 192.168.1.10
    k3s: server
    disks: {{sd: 64Gi, ssd: {{size: 250Gi, device: /dev/disk/by-id/x}}}}
storage: local-path
workloads: {{mosquitto: , nifi: , seaweedfs: {{size: 8Gi}}}}
streams:
  posted: {{from: {{http: /posted}}, sensors: {{count: {{every: 1s}}}}}}
  sent: {{from: {{mqtt: chaos/+/count}}, sensors: {{count: {{every: 1s}}}}}}
  dropped: {{from: {{files: dropped}}, sensors: {{count: {{every: 1s}}}}}}
"""
TARGETS = ("nifi", "trino", "objects", "postgres", "daemon")
LONGEST_WAIT = 20.0
"""Seconds from a recovery to the next kill, at most: long enough that not each one looks like a crash loop."""
RECOVERY = 900.0
"""Seconds within which a killed server must answer again."""
SETTLED = 1200.0
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Sender(Protocol):
    """Something that sends readings named by numbers until it is told to stop, and knows which were acknowledged."""

    device: str
    acknowledged: set[int]

    def start(self) -> None: ...

    def finish(self) -> None:
        """Stop making new readings, wait until whatever was begun is acknowledged, and end."""
        ...


def reading(device: str, number: int, began: datetime) -> dict[str, object]:
    """A reading that no other sender makes: its number is its value and, in milliseconds, its time."""
    at = began + timedelta(milliseconds=number)
    return {"device": device, "sensor": "count", "ts": at.isoformat(timespec="milliseconds"), "value": number}


@dataclass
class Poster:
    """Posts batches; one that got no 2xx is posted again, unchanged. `url` is asked each time: a port may change."""

    device: str
    url: Callable[[], tuple[str, str | None]]
    batch: int = 50
    pause: float = 0.25
    acknowledged: set[int] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        self._stop = threading.Event()
        self._began = datetime.now(UTC) - timedelta(hours=6)
        self._thread = threading.Thread(target=self._send, name=self.device, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            numbers = range(number, number + self.batch)
            lines = "\n".join(json.dumps(reading(self.device, n, self._began)) for n in numbers).encode()
            while not self._post(lines):
                time.sleep(self.pause)
            self.acknowledged.update(numbers)
            number += self.batch
            self._stop.wait(self.pause)

    def _post(self, lines: bytes) -> bool:
        try:
            url, token = self.url()
            headers = {"Content-Type": "application/x-ndjson", "User-Agent": f"chaos-{self.device}"}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            with NO_PROXY.open(urllib.request.Request(url, lines, headers), timeout=40) as answer:
                status = int(answer.status)
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        except (OSError, ValueError, HomelabError) as error:
            self.answers[type(error).__name__] += 1
            return False
        self.answers[str(status)] += 1
        return 200 <= status < 300

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(RECOVERY)
        assert not self._thread.is_alive(), f"{self.device}: not acknowledged within {RECOVERY:.0f} s: {self.answers}"


@dataclass
class Publisher:
    """Publishes with QoS 1; the client keeps what the broker did not acknowledge and sends it again."""

    device: str
    site: Site
    user: str
    password: str
    pause: float = 0.05
    acknowledged: set[int] = field(default_factory=set)

    def start(self) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self.site.engines.mqtt
        assert broker is not None
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=self.device, clean_session=False)
        self._client.username_pw_set(self.user, self.password)
        self._client.max_queued_messages_set(0)
        self._said: deque[int] = deque()
        self._client.on_publish = lambda _client, _data, mid, _reason, _properties: self._said.append(mid)
        self._stop = threading.Event()
        self._began = datetime.now(UTC) - timedelta(hours=6)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._send, name=self.device, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        waiting: dict[int, int] = {}
        early: set[int] = set()
        number = 0
        while not self._stop.is_set() or waiting:
            if not self._stop.is_set():
                text = json.dumps(reading(self.device, number, self._began))
                waiting[self._client.publish(f"chaos/{self.device}/count", text, qos=1).mid] = number
                number += 1
            while self._said:
                early.add(self._said.popleft())
            known = early & waiting.keys()  # an answer may come before the call that sends has returned
            self.acknowledged.update(waiting.pop(mid) for mid in known)
            early -= known
            time.sleep(self.pause)

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self._client.disconnect()
        self._client.loop_stop()
        assert not self._thread.is_alive(), f"{self.device}: the broker does not acknowledge"


@dataclass
class Dropper:
    """Puts whole files into the folder that a flow watches; a file that lies there under its name counts as taken."""

    device: str
    folder: Path
    batch: int = 50
    pause: float = 3.0
    acknowledged: set[int] = field(default_factory=set)

    def start(self) -> None:
        self._stop = threading.Event()
        self._began = datetime.now(UTC) - timedelta(hours=6)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._send, name=self.device, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            numbers = range(number, number + self.batch)
            lines = "".join(json.dumps(reading(self.device, n, self._began)) + "\n" for n in numbers)
            hidden = self.folder / f".{self.device}-{number}.part"
            hidden.write_text(lines)
            hidden.rename(self.folder / f"{self.device}-{number}.ndjson")
            self.acknowledged.update(numbers)
            number += self.batch
            self._stop.wait(self.pause)

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(30)


@dataclass(frozen=True)
class Kill:
    """One kill -9 and the seconds until the server answered what is asked of it."""

    server: str
    recovery: float


class Killer:
    """Kills one server of a site again and again, each time once it has answered since the last."""

    def __init__(self, site: Site, server: str, times: int, seed: int) -> None:
        self._site = site
        self._layout = Layout(site.root)
        self.server = server
        self._times = times
        self._random = random.Random(f"{seed}-{server}")
        self.kills: list[Kill] = []
        self.trouble = ""
        self._thread = threading.Thread(target=self._work, name=f"kill {server}", daemon=True)

    def start(self) -> None:
        """Begin in the background."""
        self._thread.start()

    def wait(self) -> None:
        """Wait for the last kill and its recovery."""
        self._thread.join()
        assert not self.trouble, self.trouble

    def _work(self) -> None:
        for _ in range(self._times):
            time.sleep(self._random.uniform(0.5, LONGEST_WAIT))
            began = time.monotonic()
            generation = self._kill()
            if not processes.wait_until(lambda generation=generation: self._answers(generation), RECOVERY, 0.2):  # type: ignore[misc]
                self.trouble = f"{self.server} does not answer {RECOVERY:.0f} s after kill {len(self.kills) + 1}"
                return
            self.kills.append(Kill(self.server, time.monotonic() - began))

    def _kill(self) -> int:
        """Kill it while it runs; returns which start of it that was."""
        while True:
            state = launch.live_state(self._layout.run)
            assert state is not None
            child = state.children[self.server]
            if child.pid and processes.is_running(child.pid, child.start):
                os.kill(child.pid, signal.SIGKILL)
                return child.generation
            time.sleep(0.1)

    def _answers(self, killed: int) -> bool:
        state = launch.live_state(self._layout.run)
        child = state.children[self.server] if state else None
        if child is None or child.generation <= killed or child.state != "running":
            return False
        return works(self._site, self.server)


def works(site: Site, server: str) -> bool:
    """Whether the server does what it is there for: a query, an object, a flow; the daemon needs only run."""
    try:
        if server == "postgres":
            from homelab_platform.tools.postgres import connect

            with closing(connect(site.lakehouse.postgres)) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        if server == "objects":
            from homelab_platform.tools.objects.client import ObjectStore

            with ObjectStore(site.lakehouse.objects, retries=0, timeout=5) as store:
                store.put(site.lakehouse.lake_bucket, "chaos/probe", b"1")
                return store.get(site.lakehouse.lake_bucket, "chaos/probe") == b"1"
        if server == "trino":
            return trino_says(site, "SELECT 1") == [(1,)]
    except (HomelabError, OSError):
        return False
    return True


def trino_says(site: Site, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query that the site's Trino runs."""
    from homelab_platform.tools.trino.client import execute

    assert site.engines.trino is not None
    return execute(site.engines.trino, sql, timeout=180)


@dataclass(frozen=True)
class Verdict:
    """What became of the readings of one sender: how many were acknowledged, are missing, are there twice."""

    device: str
    acknowledged: int
    lost: int
    doubled: int
    extra: int


def table_counts(site: Site, devices: Iterable[str]) -> dict[str, Counter[int]]:
    """How often each number of each device is in the table."""
    from homelab_platform.readings.query.run import run_query

    names = ", ".join(f"'{device}'" for device in devices)
    sql = (
        "SELECT device, CAST(value AS BIGINT) AS number, count(*) AS times FROM hive.default.sensor_data "
        f"WHERE sensor = 'count' AND device IN ({names}) GROUP BY 1, 2"
    )
    found: dict[str, Counter[int]] = {device: Counter() for device in devices}
    with run_query(site.lakehouse, sql, limit=None) as result:
        for device, number, times in result.rows:
            found[device][int(number)] = int(times)
    return found


def judge(site: Site, senders: Iterable[Sender], patience: float) -> list[Verdict]:
    """Compare, once every acknowledged reading is there, or `patience` seconds brought no further one and no object
    waits for its ingest (on a busy machine a backlog waits for its turn), or SETTLED seconds are over.
    """
    senders = list(senders)
    devices = [sender.device for sender in senders]
    last, since = -1, time.monotonic()
    while True:
        found = table_counts(site, devices)
        missing = sum(len(sender.acknowledged - found[sender.device].keys()) for sender in senders)
        if missing != last:
            last, since = missing, time.monotonic()
        quiet = time.monotonic() - since
        if not missing or quiet > SETTLED or (quiet > patience and not objects_wait(site)):
            return [_verdict(sender, found[sender.device]) for sender in senders]
        time.sleep(2)


def objects_wait(site: Site) -> bool:
    """Whether the bucket holds objects that no ingest has taken yet."""
    from homelab_platform.layers.tables.readings import Inbox

    with Inbox(site.lakehouse) as inbox:
        return bool(inbox.everything()[0])


def _verdict(sender: Sender, found: Counter[int]) -> Verdict:
    return Verdict(
        sender.device,
        len(sender.acknowledged),
        len(sender.acknowledged - found.keys()),
        sum(times - 1 for times in found.values()),
        len(found.keys() - sender.acknowledged),
    )


@contextmanager
def full_site(home: Path, name: str, *, objects: str = "seaweedfs", say: Callable[[str], None]) -> Iterator[Site]:
    """A full site of the lab above with its flows running, in a data folder below `home`; ended afterwards.

    HOMELAB_DATA must be `home`.
    """
    from homelab_platform.catalog.load import load_catalogue
    from homelab_platform.graph.apply import apply_assets
    from homelab_platform.lab.check import load_resolved
    from homelab_platform.plan.gather import desired_states
    from homelab_platform.servers.site.site import down, open_site, up

    lab_file = home / "lab" / "lab.yaml"
    lab_file.parent.mkdir(parents=True, exist_ok=True)
    lab_file.write_text(LAB.format(name=name))
    lab = load_resolved(lab_file, load_catalogue())
    up(lab_file, lab_name=name, profile=SiteKind.FULL, objects=objects, lab=lab, progress=say)
    try:
        site = open_site(name)
        keys = [key for key in desired_states(lab) if key.startswith(("bucket/", "table/", "flow/"))]
        report = apply_assets(site, lab, keys, progress=say)
        assert not report.failed, [str(problem) for result in report.results for problem in result.problems]
        yield site
    finally:
        down(home / name)


def entrance(site: Site, stream: str) -> tuple[str, str | None]:
    """Where the stream's flow listens, and the token that it asks for."""
    known = json.loads((site.root / ENTRANCES).read_text())[stream]
    return str(known["url"]), known.get("token")


def senders_of(site: Site) -> list[Sender]:
    """One sender for each stream of the lab."""
    users = json.loads((site.root / "mqtt" / USERS_FILE).read_text())["users"]
    assert site.engines.nifi is not None and site.engines.nifi.drop is not None
    return [
        Poster("poster", lambda: entrance(site, "posted")),
        Publisher("publisher", site, "sent", users["sent"]["password"]),
        Dropper("dropper", site.engines.nifi.drop / "dropped"),
    ]


def kill_and_judge(
    site: Site, times: Mapping[str, int], seed: int, say: Callable[[str], None]
) -> tuple[list[Kill], list[Verdict]]:
    """Kill servers so many times, each at random moments of its own, while readings come in; then compare."""
    senders = senders_of(site)
    for sender in senders:
        sender.start()
    killers = [Killer(site, target, count, seed) for target, count in times.items()]
    for killer in killers:
        killer.start()
    for killer in killers:
        killer.wait()
        say(f"{killer.server}: {len(killer.kills)} kills survived")
    for sender in senders:
        sender.finish()
    say("comparing")
    verdicts = judge(site, senders, patience=90)
    return [kill for killer in killers for kill in killer.kills], verdicts

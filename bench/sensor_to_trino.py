"""From a sensor's POST or message to a row that Trino finds, on a full site with its daemon: p95 of 20 of each.

Starts a full site of its own (NiFi, Mosquitto, Trino, the daemon with its own scheduling), then posts small batches and
publishes messages at random moments, and asks Trino until their rows are there. Goal: p95 < 30 s.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import common

sys.path.insert(0, str(common.PROJECT))

from homelab_platform.servers.site.engines import USERS_FILE
from homelab_platform.servers.site.site import Site
from homelab_platform_tests.servers.chaos import NO_PROXY, entrance, full_site, reading

TIMES = 20
LONGEST = 300.0
ROWS = 10


def main() -> None:
    """Measure both ways on one site, which is stopped and removed whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="homelab-bench-"))
    os.environ["HOMELAB_DATA"] = str(home)
    try:
        with full_site(home, "freshness", say=common.say) as site:
            found = {way: sorted(_timed(site, send) for _ in range(TIMES)) for way, send in WAYS.items()}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    _report(found)


def _timed(site: Site, send: Callable[[Site, str], None]) -> float:
    from homelab_platform.tools.trino.client import execute

    assert site.engines.trino is not None
    time.sleep(random.uniform(3, 12))
    device = f"fresh-{random.getrandbits(48):012x}"
    recent = "date > current_date - INTERVAL '2' DAY"
    sql = f"SELECT count(*) FROM hive.default.sensor_data WHERE device = '{device}' AND {recent}"
    began = time.monotonic()
    send(site, device)
    while execute(site.engines.trino, sql)[0][0] != ROWS:
        if time.monotonic() - began > LONGEST:
            raise SystemExit(f"{device} was not found by Trino within {LONGEST:.0f} s")
        time.sleep(0.2)
    took = time.monotonic() - began
    common.say(f"{took:.1f} s")
    return took


def _lines(device: str) -> list[str]:
    began = datetime.now(UTC)
    return [json.dumps(reading(device, number, began)) for number in range(ROWS)]


def _posted(site: Site, device: str) -> None:
    url, token = entrance(site, "posted")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = "\n".join(_lines(device)).encode()
    with NO_PROXY.open(urllib.request.Request(url, body, headers), timeout=60) as answer:
        assert answer.status == 201, answer.status


def _published(site: Site, device: str) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    users = json.loads((site.root / "mqtt" / USERS_FILE).read_text())["users"]
    broker = site.engines.mqtt
    assert broker is not None
    client = Client(CallbackAPIVersion.VERSION2, client_id=device)
    client.username_pw_set("sent", users["sent"]["password"])
    client.connect(broker.host, broker.port)
    client.loop_start()
    for line in _lines(device):
        client.publish(f"chaos/{device}/count", line, qos=1).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


WAYS = {"POST through NiFi": _posted, "MQTT through bridge and NiFi": _published}


def _report(found: dict[str, list[float]]) -> None:
    rows, worst = [], 0.0
    for way, seconds in found.items():
        p95 = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)) - 1)]
        worst = max(worst, p95)
        rows.append((way, len(seconds), *(f"{s:.1f}" for s in (seconds[0], common.middle(seconds), p95, seconds[-1]))))
    common.table(("way", "times", "fastest s", "median s", "p95 s", "slowest s"), rows)
    common.close("sensor_to_trino_p95", worst, "s", goal="< 30 s", met=worst < 30)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Readings of this machine for the lab: sample /proc and /sys, keep on disk, publish over MQTT or post over HTTP.

One file and the standard library alone (Python 3.7 and later), so that it runs as it is on an armv6 Raspberry Pi:
14 MiB of memory. Its settings are JSON: `to` (mqtt://host:port or http://…), `topic`, `device`, `site`, `every`
(seconds), and for a broker that asks `user` and `password_file`.

A sample is a file in the spool until the broker acknowledged it (MQTT 3.1.1, QoS 1; HTTP 2xx). A broker that is away
costs nothing; the oldest samples go when the spool is full.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

SPOOL_FILES = 20_000  # 28 hours at one sample in 5 seconds
TIMEOUT = 10.0
BURST = 20  # samples on the way at once; brokers hold back more than 20 by default
UTC = timezone.utc


def text_of(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


class Machine:
    """What /proc and /sys say; rates are means since the sample before."""

    def __init__(self, root="/"):
        self.root = Path(root)
        self.before = {}

    def read(self, path):
        return text_of(self.root / path)

    def sample(self):
        """(sensor, value, unit) of everything that this machine has."""
        for probe in (self.processor, self.memory, self.disks, self.network, self.heat, self.firmware):
            try:
                yield from probe()
            except (OSError, ValueError, IndexError, KeyError, ZeroDivisionError):
                continue  # this machine lacks it

    def delta(self, name, *counts):
        """The counts since the sample before, and the seconds since then; None the first time."""
        now = time.monotonic()
        last = self.before.get(name)
        self.before[name] = (now, counts)
        if last is None or any(new < old for new, old in zip(counts, last[1])):
            return None
        return now - last[0], [new - old for new, old in zip(counts, last[1])]

    def processor(self):
        ticks = [int(n) for n in self.read("proc/stat").splitlines()[0].split()[1:9]]
        moved = self.delta("cpu", sum(ticks), ticks[3] + ticks[4])
        if moved and moved[1][0]:
            yield "cpu", 100.0 * (1 - moved[1][1] / moved[1][0]), "%"
        for minutes, load in zip((1, 5, 15), self.read("proc/loadavg").split()):
            yield "load_%dm" % minutes, float(load), ""
        yield "uptime", float(self.read("proc/uptime").split()[0]), "s"

    def memory(self):
        rows = (line.split() for line in self.read("proc/meminfo").splitlines())
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
        yield "memory", 100.0 * (1 - kib["MemAvailable"] / kib["MemTotal"]), "%"
        yield "memory_available", kib["MemAvailable"] * 1024.0, "B"
        if kib.get("SwapTotal"):
            yield "swap", 100.0 * (1 - kib["SwapFree"] / kib["SwapTotal"]), "%"

    def disks(self):
        room = os.statvfs(str(self.root))
        used = room.f_blocks - room.f_bfree
        yield "disk", 100.0 * used / (used + room.f_bavail), "%"
        for line in self.read("proc/diskstats").splitlines():
            fields = line.split()
            name = fields[2]
            if name.startswith(("loop", "ram", "zram")) or not (self.root / "sys/block" / name).exists():
                continue
            moved = self.delta("disk " + name, int(fields[5]), int(fields[9]))
            if moved:
                yield "disk_read." + name, moved[1][0] * 512 / moved[0], "B/s"
                yield "disk_written." + name, moved[1][1] * 512 / moved[0], "B/s"

    def network(self):
        for line in self.read("proc/net/dev").splitlines()[2:]:
            name, _, rest = line.strip().partition(":")
            if name.startswith(("lo", "veth", "br-", "docker", "cni", "flannel", "cali", "dummy")):
                continue
            counts = rest.split()
            moved = self.delta("net " + name, int(counts[0]), int(counts[8]))
            if moved:
                yield "network_received." + name, moved[1][0] / moved[0], "B/s"
                yield "network_sent." + name, moved[1][1] / moved[0], "B/s"

    def heat(self):
        zones = sorted((self.root / "sys/class/thermal").glob("thermal_zone*"))
        found = [(text_of(zone / "type"), text_of(zone / "temp")) for zone in zones]
        known = [(kind, int(value) / 1000.0) for kind, value in found if value]
        known.sort(key=lambda row: not row[0].startswith(("cpu", "x86", "soc")))
        if known:
            yield "temperature", known[0][1], "°C"

    def firmware(self):
        """Bits of the Raspberry Pi's firmware: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit."""
        flags = int(self.read("sys/devices/platform/soc/soc:firmware/get_throttled"), 16)
        yield "throttled_flags", float(flags), ""
        for bit, name in enumerate(("under_voltage", "frequency_capped", "throttled", "soft_limit")):
            yield name, float(flags >> bit & 1), ""


def lines(values, device, site, now):
    """NDJSON of a sample, as the platform's raw objects have it."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = {"ts": stamp, "device": device, "quality": "ok"}
    if site:
        head["site"] = site
    out = []
    for sensor, value, unit in values:
        row = dict(head, sensor=sensor, value=round(value, 4))
        if unit:
            row["unit"] = unit
        out.append(json.dumps(row, ensure_ascii=False))
    return ("\n".join(out) + "\n").encode()


class Spool:
    """Samples that nobody acknowledged yet: one file each, made whole before it has its name."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*.part"):
            left.unlink()

    def add(self, data, now):
        name = now.strftime("%Y%m%dT%H%M%S%f")
        part = self.folder / (name + ".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / (name + ".ndjson"))
        waiting = self.waiting()
        for old in waiting[: max(0, len(waiting) - SPOOL_FILES)]:
            old.unlink()

    def waiting(self):
        return sorted(self.folder.glob("*.ndjson"))


class Refused(Exception):
    """The other side said no; the text says what."""


class Mqtt:
    """As much of MQTT 3.1.1 as publishing with QoS 1 needs (OASIS standard, sections 2, 3.1 to 3.4, 3.14)."""

    def __init__(self, settings):
        address = urllib.parse.urlsplit(settings["to"])
        self.topic = settings["topic"].encode()
        self.socket = socket.create_connection((address.hostname, address.port or 1883), timeout=TIMEOUT)
        self.next = 0
        user = settings.get("user", "")
        password = text_of(settings["password_file"]) if settings.get("password_file") else ""
        flags = 0x02 | (0x80 if user else 0) | (0x40 if password else 0)
        body = _text(b"MQTT") + bytes([4, flags]) + struct.pack(">H", 600)
        body += _text(("homelab-" + settings["device"]).encode())
        body += b"".join(_text(part.encode()) for part in (user, password) if part)
        self.send(0x10, body)
        kind, answer = self.receive()
        if kind != 2 or len(answer) != 2 or answer[1] != 0:
            reasons = {4: "the broker does not know this user and password", 5: "the broker does not allow this client"}
            raise Refused(reasons.get(answer[1] if len(answer) == 2 else -1, "the broker refused the connection"))

    def send(self, head, body):
        size, length = len(body), b""
        while True:
            size, digit = divmod(size, 128)
            length += bytes([digit | (0x80 if size else 0)])
            if not size:
                break
        self.socket.sendall(bytes([head]) + length + body)

    def receive(self):
        head, size, shift = self.exactly(1)[0], 0, 0
        while True:
            digit = self.exactly(1)[0]
            size |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return head >> 4, self.exactly(size)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the broker closed the connection")
            data += part
        return data

    def deliver(self, bodies):
        """Publish, and return once each of them is acknowledged."""
        open_ids = set()
        for body in bodies:
            self.next = self.next % 65_535 + 1
            open_ids.add(self.next)
            self.send(0x32, _text(self.topic) + struct.pack(">H", self.next) + body)
        while open_ids:
            kind, answer = self.receive()
            if kind == 4:
                open_ids.discard(struct.unpack(">H", answer[:2])[0])

    def close(self):
        try:
            self.send(0xE0, b"")
        except OSError:
            pass
        self.socket.close()


def _text(data):
    return struct.pack(">H", len(data)) + data


class Http:
    """Posts NDJSON; whatever is not 2xx was not taken."""

    def __init__(self, settings):
        import http.client  # a third of the memory, which those who publish by MQTT need not pay

        self.errors = http.client.HTTPException
        address = urllib.parse.urlsplit(settings["to"])
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self.path = (address.path or "/") + ("?" + address.query if address.query else "")
        self.connection = kind(address.hostname, address.port, timeout=TIMEOUT)

    def deliver(self, bodies):
        """Post all of them in one request, and return once they are taken."""
        try:
            self.connection.request("POST", self.path, b"".join(bodies), {"Content-Type": "application/x-ndjson"})
            answer = self.connection.getresponse()
            reason = answer.read(200).decode("utf-8", "replace").strip()
        except self.errors as error:
            raise Refused(str(error) or type(error).__name__) from None
        if not 200 <= answer.status < 300:
            raise Refused("HTTP %d %s" % (answer.status, reason))

    def close(self):
        self.connection.close()


class Collector:
    """Samples on the beat and delivers what waits."""

    def __init__(self, settings, spool, machine):
        self.settings, self.spool, self.machine = settings, spool, machine
        self.way = None
        self.trouble = ""
        self.stop = threading.Event()

    def take(self):
        now = datetime.now(UTC)
        values = list(self.machine.sample())
        self.spool.add(lines(values, self.settings["device"], self.settings.get("site", ""), now), now)

    def flush(self):
        """Deliver what waits, oldest first; whether all of it was."""
        try:
            while True:
                files = self.spool.waiting()[:BURST]
                if not files:
                    break
                if self.way is None:
                    self.way = (Mqtt if self.settings["to"].startswith("mqtt:") else Http)(self.settings)
                self.way.deliver([file.read_bytes() for file in files])
                for file in files:
                    file.unlink()
        except (OSError, Refused) as error:
            self.drop()
            if str(error) != self.trouble:
                self.trouble = str(error)
                log("readings wait here: %s: %s" % (self.settings["to"], error))
            return False
        if self.trouble:
            log("delivering again")
            self.trouble = ""
        return True

    def drop(self):
        if self.way is not None:
            self.way.close()
            self.way = None

    def run(self):
        every = float(self.settings["every"])
        self.take()
        self.stop.wait(1.0)
        due = time.monotonic()
        while not self.stop.is_set():
            try:
                self.take()
            except OSError as error:
                log("a sample is lost: %s" % error)
            self.flush()
            due += every * max(1, int((time.monotonic() - due) // every) + 1)
            self.stop.wait(max(0.0, due - time.monotonic()))
        self.flush()
        self.drop()


def log(text):
    print(text, file=sys.stderr, flush=True)


def main(argv):
    """The command: the settings' file, and `--once` for two samples and one delivery."""
    settings = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    folder = os.environ.get("STATE_DIRECTORY") or settings.get("spool") or "/var/lib/homelab-collector"
    collector = Collector(settings, Spool(folder), Machine())
    if "--once" in argv[2:]:
        collector.take()
        time.sleep(1.0)
        collector.take()
        done = collector.flush()
        collector.drop()
        return 0 if done else 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: collector.stop.set())
    collector.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

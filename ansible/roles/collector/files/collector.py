#!/usr/bin/python3
"""Readings of this machine for the lab: sample /proc and /sys, keep on disk, publish over MQTT or post over HTTP.

One file and the standard library alone (Python 3.7 and later), so that it runs as it is on an armv6 Raspberry Pi:
14 MiB of memory. Its settings are JSON: `to` (mqtt://host:port or http://…), `topic`, `device`, `site`, `every`
(seconds), and for a broker that asks `user` or `user_file` and `password_file` (a plain name is a credential of its
unit).

A sample is a file in the spool until the broker said that it has it and that somebody reads that topic (MQTT 5.0, QoS
1; HTTP 2xx). A broker acknowledges before it saves, so a kill of it may cost what it acknowledged last: therefore the
newest samples are kept and sent once more over a new connection; whoever reads them knows them by device, sensor and
time. A broker that is away costs nothing; the oldest samples go when the spool is full.
"""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

SPOOL_FILES = 20_000  # 28 hours at one sample in 5 seconds, some 80 MB
KEPT_SECONDS = 300.0  # for which a sample is kept after its acknowledgement: longer than a broker takes to save
KEPT_FEWEST = 10
TIMEOUT = 10.0
BURST = 20  # samples on the way at once, unless the broker wants fewer; Mosquitto's own number
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between tries while nobody takes the samples
CLOCK_SLACK = 60.0  # seconds by which the clock may differ from the time that passed before the sample says so
MOST_DISKS = 16
PSEUDO_DISKS = ("loop", "ram", "zram", "sr", "fd")
VIRTUAL_NETS = ("lo", "veth", "br-", "docker", "cni", "flannel", "cali", "virbr", "ifb", "dummy")
PROCESSOR_CHIPS = ("cpu", "coretemp", "k10temp", "zenpower", "soc", "acpitz", "x86")
UTC = timezone.utc


def text_of(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def fit(text):
    """A name that keys may hold: letters, digits, `_`, `.` and `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:100] or "unnamed"


class Machine:
    """What this machine says of itself, in /proc and /sys; rates are means since the sample before.

    The names are those that a lab's machine stream lists: `cpu`, `memory`, `disk`, `temperature`, `throttled` ... The
    platform's own machine is measured by this class too.
    """

    def __init__(self, root="/"):
        self.root = Path(root)
        self.before = {}
        self.tool = shutil.which("vcgencmd")

    def read(self, path):
        return text_of(self.root / path)

    def sample(self):
        """(sensor, value, unit) of everything that this machine has."""
        for probe in (self.processor, self.memory, self.room, self.disks, self.network, self.heat, self.firmware):
            try:
                yield from probe()
            except (OSError, ValueError, IndexError, KeyError, ZeroDivisionError):
                continue  # this machine lacks it

    def delta(self, name, *counts):
        """The counts since the sample before, and the seconds since then; None the first time."""
        now = time.monotonic()
        last = self.before.get(name)
        self.before[name] = (now, counts)
        if last is None or now <= last[0] or any(new < old for new, old in zip(counts, last[1])):
            return None
        return now - last[0], [new - old for new, old in zip(counts, last[1])]

    def processor(self):
        ticks = [int(n) for n in self.read("proc/stat").splitlines()[0].split()[1:9]]
        moved = self.delta("cpu", sum(ticks), ticks[3] + ticks[4])
        if moved and moved[1][0]:
            yield "cpu", 100.0 * (1 - moved[1][1] / moved[1][0]), "%"
        for minutes, load in zip((1, 5, 15), self.read("proc/loadavg").split()):
            yield "load_%dm" % minutes, float(load), ""
        yield "processes", float(sum(name.isdigit() for name in os.listdir(str(self.root / "proc")))), ""
        yield "uptime", float(self.read("proc/uptime").split()[0]), "s"

    def memory(self):
        rows = (line.split() for line in self.read("proc/meminfo").splitlines())
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
        yield "memory", 100.0 * (1 - kib["MemAvailable"] / kib["MemTotal"]), "%"
        yield "memory_available", kib["MemAvailable"] * 1024.0, "B"
        if kib.get("SwapTotal"):
            yield "swap", 100.0 * (1 - kib["SwapFree"] / kib["SwapTotal"]), "%"

    def room(self):
        """How full each disk is: the one of / as `disk`, others by where they are mounted first."""
        first = {}
        for line in self.read("proc/mounts").splitlines():
            device, place = line.split()[:2]
            if device.startswith("/dev/") and not device.startswith("/dev/loop"):
                first.setdefault(device, place.replace("\\040", " "))
        for place in sorted({"/"}.union(first.values()))[:MOST_DISKS]:
            there = self.root / place.lstrip("/")
            try:
                sizes = os.statvfs(str(there))
            except OSError:
                continue  # it went away, or we may not look into it
            used = sizes.f_blocks - sizes.f_bfree
            if there.is_dir() and used + sizes.f_bavail:
                yield "disk" if place == "/" else "disk." + fit(place), 100.0 * used / (used + sizes.f_bavail), "%"

    def disks(self):
        for line in self.read("proc/diskstats").splitlines():
            fields = line.split()
            name = fields[2]
            if name.startswith(PSEUDO_DISKS) or not (self.root / "sys/block" / name).exists():
                continue
            moved = self.delta("disk " + name, int(fields[5]), int(fields[9]))
            if moved:
                yield "disk_read." + fit(name), moved[1][0] * 512 / moved[0], "B/s"
                yield "disk_written." + fit(name), moved[1][1] * 512 / moved[0], "B/s"

    def network(self):
        for line in self.read("proc/net/dev").splitlines()[2:]:
            name, _, rest = line.strip().partition(":")
            if name.startswith(VIRTUAL_NETS):
                continue
            counts = rest.split()
            moved = self.delta("net " + name, int(counts[0]), int(counts[8]))
            if moved:
                yield "network_received." + fit(name), moved[1][0] / moved[0], "B/s"
                yield "network_sent." + fit(name), moved[1][1] / moved[0], "B/s"

    def heat(self):
        """Each thermometer, and as `temperature` the processor's: of a chip known to be one, else the first."""
        found = self.chips() or self.zones()
        ordered = sorted(found, key=lambda name: (not name.startswith(PROCESSOR_CHIPS), name))
        if ordered:
            yield "temperature", found[ordered[0]], "°C"
        for name in sorted(found):
            yield "temperature." + name, found[name], "°C"

    def chips(self):
        files = {}
        for file in sorted((self.root / "sys/class/hwmon").glob("hwmon*/temp*_input")):
            files.setdefault(text_of(file.parent / "name") or file.parent.name, []).append(file)
        found = {}
        for chip, inputs in files.items():
            for number, file in enumerate(inputs):
                label = text_of(file.with_name(file.name.replace("_input", "_label")))
                label = label or (str(number) if len(inputs) > 1 else "")
                value = text_of(file)
                if value.lstrip("-").isdigit():
                    found[fit("-".join(part for part in (chip, label) if part))] = int(value) / 1000.0
        return found

    def zones(self):
        zones = sorted((self.root / "sys/class/thermal").glob("thermal_zone*"))
        said = [(text_of(zone / "type") or zone.name, text_of(zone / "temp")) for zone in zones]
        return {fit(kind): int(value) / 1000.0 for kind, value in said if value.lstrip("-").isdigit()}

    def firmware(self):
        """Bits of the Raspberry Pi's firmware: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit."""
        text = self.read("sys/devices/platform/soc/soc:firmware/get_throttled")
        text = text or self.asked("get_throttled").replace("throttled=", "")
        if text:
            flags = int(text, 16)
            yield "throttled_flags", float(flags), ""
            for bit, name in enumerate(("under_voltage", "frequency_capped", "throttled", "soft_limit")):
                yield name, float(flags >> bit & 1), ""
        volts = self.asked("measure_volts", "core")
        if volts.startswith("volt="):
            yield "core_voltage", float(volts[len("volt=") :].rstrip("V")), "V"

    def asked(self, *question):
        """What the firmware's tool answers; one that fails once is not asked again."""
        if self.tool is None:
            return ""
        try:
            done = subprocess.run([self.tool, *question], stdout=subprocess.PIPE, timeout=2, check=True)
        except (OSError, subprocess.SubprocessError):
            self.tool = None
            return ""
        return done.stdout.decode("utf-8", "replace").strip()


class Clock:
    """Times of samples, in UTC and never twice the same, and whether the clock was set since the sample before.

    A clock that goes back a little (NTP) gives the last time plus a microsecond. One that is set by more than a minute,
    to either side, is believed, and the sample is marked: the old time was wrong, or the new one is.
    """

    def __init__(self, wall=time.time, passed=time.monotonic):
        self.wall, self.passed = wall, passed
        self.last = None

    def now(self):
        """Microseconds since 1970, and the seconds by which the clock was set; 0.0 for none."""
        wall, passed = int(self.wall() * 1_000_000), self.passed()
        jump = 0.0
        if self.last is not None:
            jump = (wall - self.last[0]) / 1e6 - (passed - self.last[1])
            jump = jump if abs(jump) > CLOCK_SLACK else 0.0
            if not jump:
                wall = max(wall, self.last[0] + 1)
        self.last = (wall, passed)
        return wall, jump


def lines(values, device, site, micros, quality="ok"):
    """NDJSON of a sample, as the platform's raw objects have it."""
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
    head = {"ts": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "device": device, "quality": quality}
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
    """Samples on disk, one file each, made whole before it has its name: `*.ndjson` waits, `*.sent` was acknowledged.

    Names are numbers that only grow: a clock that is set back changes no order. Used by two threads.
    """

    def __init__(self, folder, keep=KEPT_FEWEST):
        self.folder, self.keep = Path(folder), keep
        self.lock = threading.Lock()
        self.dropped = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*.part"):
            left.unlink()
        self.names = sorted(file.stem for file in self.folder.glob("*.ndjson"))
        self.sent = sorted(file.stem for file in self.folder.glob("*.sent"))
        known = [int(name) for name in self.names + self.sent if name.isdigit()]
        self.number = max(known, default=0)

    def file(self, name, kind="ndjson"):
        return self.folder / (name + "." + kind)

    def add(self, data):
        """Put a sample on the disk; the oldest go when there are too many. Raises OSError when the disk is full."""
        with self.lock:
            self.number += 1
            name = "%012d" % self.number
        part = self.file(name, "part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.file(name))
        with self.lock:
            self.names.append(name)
            while len(self.names) > SPOOL_FILES:
                self.remove(self.names.pop(0), "ndjson")
                if not self.dropped:
                    log("the spool is full (%d samples): the oldest are given up" % SPOOL_FILES)
                self.dropped += 1

    def remove(self, name, kind):
        try:
            self.file(name, kind).unlink()
        except FileNotFoundError:
            pass

    def waiting(self):
        """Names of the samples that wait, oldest first."""
        with self.lock:
            return list(self.names)

    def read(self, name):
        """A sample; empty if it was given up meanwhile."""
        try:
            return self.file(name).read_bytes()
        except FileNotFoundError:
            return b""

    def done(self, name, keep):
        """It was acknowledged: `keep` it for a while, or let it go."""
        with self.lock:
            if name not in self.names:
                return
            self.names.remove(name)
            if not keep:
                self.remove(name, "ndjson")
                return
            self.file(name).rename(self.file(name, "sent"))
            self.sent.append(name)
            while len(self.sent) > self.keep:
                self.remove(self.sent.pop(0), "sent")

    def again(self):
        """What was acknowledged last waits once more."""
        with self.lock:
            for name in self.sent:
                self.file(name, "sent").rename(self.file(name))
            self.names = sorted(self.names + self.sent)
            self.sent = []


class Refused(Exception):
    """The other side said no; the text says what."""


CONNECT_REFUSALS = {
    0x01: "the broker does not speak MQTT 5",
    0x84: "the broker does not speak MQTT 5",
    0x85: "the broker does not allow this client's name",
    0x86: "the broker does not know this user and password",
    0x87: "the broker does not let this user and password in",
}
PUBLISH_REFUSALS = {
    0x10: "nobody reads this topic at the broker yet",
    0x87: "the broker does not let this user write to this topic",
    0x97: "the broker has no room",
}
# Bytes of each property that a CONNACK may carry (MQTT 5.0, section 2.2.2.2); None: a length goes before it.
PROPERTIES = {0x11: 4, 0x12: None, 0x13: 2, 0x15: None, 0x16: None, 0x1A: None, 0x1C: None, 0x1F: None, 0x21: 2,
              0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}  # fmt: skip
RECEIVE_MAXIMUM = 0x21


class Mqtt:
    """As much of MQTT 5.0 as publishing with QoS 1 needs (OASIS standard, sections 2, 3.1 to 3.4, 3.14).

    5.0 and not 3.1.1, because only there the broker says that it did not keep a message: no right, no room, no reader.
    """

    keeps = True  # its acknowledgement comes before the sample is safe

    def __init__(self, settings):
        address = urllib.parse.urlsplit(settings["to"])
        self.topic = settings["topic"].encode()
        self.socket = socket.create_connection((address.hostname, address.port or 1883), timeout=TIMEOUT)
        try:
            self.open(settings)
        except (OSError, Refused):
            self.socket.close()
            raise

    def open(self, settings):
        self.next = 0
        user = settings.get("user") or secret_of(settings, "user_file")
        password = secret_of(settings, "password_file")
        flags = 0x02 | (0x80 if user else 0) | (0x40 if password else 0)
        body = _text(b"MQTT") + bytes([5, flags]) + struct.pack(">H", 600) + b"\0"
        # two collectors of one machine, as a service and as a pod, must not throw each other out
        body += _text("-".join(part for part in ("homelab", settings["device"], user) if part).encode())
        body += b"".join(_text(part.encode()) for part in (user, password) if part)
        self.send(0x10, body)
        kind, answer = self.receive()
        code = answer[1] if kind == 2 and len(answer) > 1 else -1
        if code != 0:
            raise Refused(CONNECT_REFUSALS.get(code, "the broker refused the connection (%#04x)" % code))
        self.burst = min(BURST, receive_maximum(answer[2:]))

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

    def deliver(self, bodies, taken):
        """Publish, and call `taken` with the place of each that the broker took. Raises Refused if one was not."""
        refused = 0
        for start in range(0, len(bodies), self.burst):
            open_ids = {}
            for place in range(start, min(start + self.burst, len(bodies))):
                self.next = self.next % 65_535 + 1
                open_ids[self.next] = place
                self.send(0x32, _text(self.topic) + struct.pack(">H", self.next) + b"\0" + bodies[place])
            while open_ids:
                kind, answer = self.receive()
                if kind == 14:
                    raise ConnectionError("the broker ended the connection (%#04x)" % (answer[0] if answer else 0))
                if kind != 4:
                    continue
                place = open_ids.pop(struct.unpack(">H", answer[:2])[0], None)
                code = answer[2] if len(answer) > 2 else 0
                if code:
                    refused = code
                elif place is not None:
                    taken(place)
            if refused:
                reason = PUBLISH_REFUSALS.get(refused, "the broker did not take it (%#04x)" % refused)
                raise Refused("%s: %s" % (self.topic.decode(), reason))

    def close(self):
        try:
            self.send(0xE0, b"")
        except OSError:
            pass
        self.socket.close()


def secret_of(settings, name):
    """A word from a file, or from a credential of the unit (systemd.exec(5), LoadCredential=); empty if not named."""
    said = settings.get(name, "")
    return text_of(Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), said)) if said else ""


def receive_maximum(properties):
    """How many messages the broker wants on the way at once; 65535 if it does not say."""
    place = 1
    while place < len(properties):
        kind, place = properties[place], place + 1
        if kind == RECEIVE_MAXIMUM:
            return max(1, struct.unpack(">H", properties[place : place + 2])[0])
        if kind == 0x26:  # a pair of texts
            place += 2 + struct.unpack(">H", properties[place : place + 2])[0]
        size = PROPERTIES.get(kind)
        place += size if size is not None else 2 + struct.unpack(">H", properties[place : place + 2])[0]
    return 65_535


def _text(data):
    return struct.pack(">H", len(data)) + data


class Http:
    """Posts NDJSON; whatever is not 2xx was not taken."""

    keeps = False

    def __init__(self, settings):
        import http.client  # a third of the memory, which those who publish by MQTT need not pay

        self.errors = http.client.HTTPException
        address = urllib.parse.urlsplit(settings["to"])
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self.path = (address.path or "/") + ("?" + address.query if address.query else "")
        self.connection = kind(address.hostname, address.port, timeout=TIMEOUT)

    def deliver(self, bodies, taken):
        """Post all of them in one request, and call `taken` for each once they are."""
        try:
            self.connection.request("POST", self.path, b"".join(bodies), {"Content-Type": "application/x-ndjson"})
            answer = self.connection.getresponse()
            reason = answer.read(200).decode("utf-8", "replace").strip()
        except self.errors as error:
            raise Refused(str(error) or type(error).__name__) from None
        if not 200 <= answer.status < 300:
            raise Refused("HTTP %d %s" % (answer.status, reason))
        for place in range(len(bodies)):
            taken(place)

    def close(self):
        self.connection.close()


class Collector:
    """Samples on the beat, and beside that delivers what waits: a broker that does not answer holds up no sample."""

    def __init__(self, settings, spool, machine, clock=None):
        self.settings, self.spool, self.machine = settings, spool, machine
        self.clock = clock or Clock()
        self.way = None
        self.trouble, self.full = "", False
        self.stop, self.fresh = threading.Event(), threading.Event()

    def take(self):
        """One sample into the spool; a disk that is full costs the sample, not the loop."""
        micros, jump = self.clock.now()
        if jump:
            log("the clock was set by %+.0f s: this sample is marked clock_changed" % jump)
        values = list(self.machine.sample())
        quality = "clock_changed" if jump else "ok"
        try:
            self.spool.add(lines(values, self.settings["device"], self.settings.get("site", ""), micros, quality))
        except OSError as error:
            if not self.full:
                log("samples are lost: %s" % error)
            self.full = True
            return
        if self.full:
            log("samples are kept again")
        self.full = False
        self.fresh.set()

    def flush(self):
        """Deliver what waits, oldest first; whether all of it was."""
        try:
            while True:
                if self.way is None and self.spool.waiting():
                    self.way = self.connect()
                names = self.spool.waiting()[:BURST]
                if not names:
                    break
                self.burst(self.way, names)
                if self.trouble:
                    self.recovered()
        except (OSError, Refused) as error:
            self.drop()
            if str(error) != self.trouble:
                self.trouble = str(error)
                log("readings wait here: %s: %s" % (self.settings["to"], error))
            return False
        return True

    def burst(self, way, names):
        bodies = [self.spool.read(name) for name in names]
        way.deliver(bodies, lambda place: self.spool.done(names[place], way.keeps))

    def connect(self):
        """A new connection: whatever ended the old one may have cost the other side what it acknowledged last."""
        way = (Mqtt if self.settings["to"].startswith("mqtt:") else Http)(self.settings)
        if way.keeps:
            self.spool.again()
        return way

    def recovered(self):
        lost, self.spool.dropped = self.spool.dropped, 0
        waited = len(self.spool.waiting())
        log("delivering again: %d samples wait%s" % (waited, ", %d were given up" % lost if lost else ""))
        self.trouble = ""

    def drop(self):
        if self.way is not None:
            self.way.close()
            self.way = None

    def deliver(self):
        """Deliver until stopped, with growing pauses while nobody takes anything."""
        tries = 0
        while not self.stop.is_set():
            self.fresh.wait()
            self.fresh.clear()
            if self.stop.is_set():
                break
            if self.flush():
                tries = 0
            else:
                self.stop.wait(PAUSES[min(tries, len(PAUSES) - 1)])
                self.fresh.set()
                tries += 1
        self.flush()
        self.drop()

    def end(self):
        """Stop both; safe from a signal handler."""
        self.stop.set()
        self.fresh.set()

    def run(self):
        """Until `end`; what waits then is delivered once more if somebody takes it."""
        every = float(self.settings["every"])
        worker = threading.Thread(target=self.deliver)
        worker.start()
        self.take()
        self.stop.wait(min(1.0, every))
        due = time.monotonic()
        while not self.stop.is_set():
            self.take()
            due += every * max(1, int((time.monotonic() - due) // every) + 1)
            self.stop.wait(max(0.0, due - time.monotonic()))
        worker.join()


def log(text):
    print(text, file=sys.stderr, flush=True)


def main(argv):
    """The command: the settings' file, and `--once` for two samples and one delivery."""
    settings = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    folder = os.environ.get("STATE_DIRECTORY") or settings.get("spool") or "/var/lib/homelab-collector"
    keep = max(KEPT_FEWEST, int(KEPT_SECONDS / float(settings["every"])))
    collector = Collector(settings, Spool(folder, keep), Machine())
    if "--once" in argv[2:]:
        collector.take()
        time.sleep(1.0)
        collector.take()
        done = collector.flush()
        collector.drop()
        return 0 if done else 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: collector.end())
    collector.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""What this machine says about itself: processor, memory, disks, temperatures, network; on a Raspberry Pi its power.

The plain names (`cpu`, `memory`, `disk`, `temperature`, `throttled`) are the ones that a lab's machine stream lists.

Belongs here: one probe per kind of value. Not here: when to sample and where readings go (main.py). A probe whose
value this machine lacks gives nothing; it never fails the sample.

The throttling bits are those of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"): bit 0
under-voltage, bit 1 frequency capped, bit 2 throttled, bit 3 soft temperature limit; bits 16 to 19 the same since boot.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from homelab_platform.wire.reading import Reading, safe_name

THROTTLE_BITS: Mapping[str, int] = {"under_voltage": 0, "frequency_capped": 1, "throttled": 2, "soft_limit": 3}
_PSEUDO_DISKS = ("loop", "ram", "zram", "sr", "fd")
_VIRTUAL_NETS = ("lo", "veth", "br-", "docker", "cni", "flannel", "cali", "virbr", "ifb", "dummy")
_PROCESSOR_CHIPS = ("cpu", "coretemp", "k10temp", "zenpower", "soc", "acpitz")
_MOST_DISKS = 16
_ABSENT = (OSError, psutil.Error, ValueError, NotImplementedError, AttributeError, RuntimeError)


class Value(NamedTuple):
    """A sensor's name, value and unit."""

    sensor: str
    value: float
    unit: str


class Telemetry:
    """Samples this machine. Rates are means since the sample before, over the monotonic clock."""

    def __init__(self, *, device: str | None = None, site: str = "", root: Path = Path("/")) -> None:
        """`device` defaults to the host's name; `root` is where sysfs is looked for."""
        self.device = safe_name(device or socket.gethostname().split(".")[0].lower())
        self.site = site
        self._root = root
        self._vcgencmd = shutil.which("vcgencmd")
        self._counters: dict[str, tuple[float, int]] = {}
        psutil.cpu_percent(None)  # the first call only sets the mark that the next one measures from

    def sample(self, now: datetime) -> list[Reading]:
        """All values of this machine as readings at `now`."""
        probes: tuple[Callable[[], Iterator[Value]], ...] = (
            _processor,
            _memory,
            _disk_space,
            self._disk_traffic,
            self._network_traffic,
            _temperatures,
            _uptime,
            self._raspberry_pi,
        )
        return [
            Reading(now, self.device, value.sensor, round(float(value.value), 4), value.unit, self.site)
            for probe in probes
            for value in _safely(probe)
        ]

    def _rate(self, name: str, count: int) -> float | None:
        """Counts per second since the last look; None on the first look and after a counter was reset."""
        at = time.monotonic()
        before = self._counters.get(name)
        self._counters[name] = (at, count)
        if before is None or count < before[1] or at <= before[0]:
            return None
        return (count - before[1]) / (at - before[0])

    def _disk_traffic(self) -> Iterator[Value]:
        disks = psutil.disk_io_counters(perdisk=True, nowrap=True) or {}
        whole = [name for name in sorted(disks) if self._is_whole_disk(name)]
        for name in whole[:_MOST_DISKS]:
            for what, count in (("read", disks[name].read_bytes), ("written", disks[name].write_bytes)):
                sensor = f"disk_{what}.{safe_name(name)}"
                rate = self._rate(sensor, count)
                if rate is not None:
                    yield Value(sensor, rate, "B/s")

    def _is_whole_disk(self, name: str) -> bool:
        blocks = self._root / "sys/block"
        return not name.startswith(_PSEUDO_DISKS) and (not blocks.is_dir() or (blocks / name).exists())

    def _network_traffic(self) -> Iterator[Value]:
        nets = psutil.net_io_counters(pernic=True, nowrap=True)
        for name in sorted(nets):
            if name.startswith(_VIRTUAL_NETS):
                continue
            for what, count in (("received", nets[name].bytes_recv), ("sent", nets[name].bytes_sent)):
                sensor = f"network_{what}.{safe_name(name)}"
                rate = self._rate(sensor, count)
                if rate is not None:
                    yield Value(sensor, rate, "B/s")

    def _raspberry_pi(self) -> Iterator[Value]:
        flags = self._throttled()
        if flags is not None:
            yield Value("throttled_flags", flags, "")
            for name, bit in THROTTLE_BITS.items():
                yield Value(name, flags >> bit & 1, "")
        volts = self._firmware("measure_volts", "core")
        if volts.startswith("volt="):
            yield Value("core_voltage", float(volts.removeprefix("volt=").removesuffix("V")), "V")

    def _throttled(self) -> int | None:
        file = self._root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        if file.is_file():
            return int(file.read_text().strip(), 16)
        answer = self._firmware("get_throttled")
        return int(answer.removeprefix("throttled="), 16) if answer.startswith("throttled=") else None

    def _firmware(self, *question: str) -> str:
        if self._vcgencmd is None:
            return ""
        try:
            done = subprocess.run([self._vcgencmd, *question], capture_output=True, text=True, timeout=2, check=False)
        except subprocess.SubprocessError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""


def _safely(probe: Callable[[], Iterator[Value]]) -> list[Value]:
    """What the probe yields until this machine says that it has no such thing."""
    found: list[Value] = []
    with suppress(*_ABSENT):
        found.extend(probe())  # what came before the refusal is kept
    return found


def _processor() -> Iterator[Value]:
    yield Value("cpu", psutil.cpu_percent(None), "%")
    for minutes, load in zip((1, 5, 15), os.getloadavg(), strict=True):
        yield Value(f"load_{minutes}m", load, "")
    yield Value("processes", len(psutil.pids()), "")


def _memory() -> Iterator[Value]:
    memory = psutil.virtual_memory()
    yield Value("memory", memory.percent, "%")
    yield Value("memory_available", memory.available, "B")
    swap = psutil.swap_memory()
    if swap.total:
        yield Value("swap", swap.percent, "%")


def _disk_space() -> Iterator[Value]:
    mounts = {part.device: part.mountpoint for part in reversed(psutil.disk_partitions(all=False))}
    for mount in sorted({"/", *mounts.values()})[:_MOST_DISKS]:
        try:
            usage = psutil.disk_usage(mount)
        except OSError:
            continue  # a mount that went away, or that we may not look into
        if usage.total and Path(mount).is_dir():
            yield Value("disk" if mount == "/" else f"disk.{safe_name(mount)}", usage.percent, "%")


def _temperatures() -> Iterator[Value]:
    """Each thermometer, and as `temperature` the processor's: of a chip known to be one, else the first there is."""
    found: dict[str, float] = {}
    for chip, entries in psutil.sensors_temperatures().items():
        for number, entry in enumerate(entries):
            label = entry.label or (str(number) if len(entries) > 1 else "")
            if entry.current is not None:
                found[safe_name("-".join(filter(None, (chip, label))))] = entry.current
    ordered = sorted(found, key=lambda name: (not name.startswith(_PROCESSOR_CHIPS), name))
    if ordered:
        yield Value("temperature", found[ordered[0]], "°C")
    for name in sorted(found):
        yield Value(f"temperature.{name}", found[name], "°C")


def _uptime() -> Iterator[Value]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        yield Value("uptime", time.clock_gettime(time.CLOCK_BOOTTIME), "s")
    else:
        yield Value("uptime", time.time() - psutil.boot_time(), "s")

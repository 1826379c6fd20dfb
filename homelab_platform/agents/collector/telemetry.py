"""What this machine says of itself, as readings.

Belongs here: the device and times of its samples. Not here: what is measured, and how: that is the class Machine of the
collector that hosts get as one file (ansible/roles/collector/files/collector.py), so that every machine says the same.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Protocol

from homelab_platform import paths
from homelab_platform.wire.reading import Reading, safe_name


class Machine(Protocol):
    """What the collector's class gives: rates are means since the sample before."""

    def sample(self) -> Iterable[tuple[str, float, str]]:
        """Each sensor's name, value and unit; what this machine lacks is left out."""


class Telemetry:
    """Samples this machine. Rates, the processor's among them, come with the second sample."""

    def __init__(self, *, device: str | None = None, site: str = "", root: Path = Path("/")) -> None:
        """`device` defaults to the host's name; below `root` /proc and /sys are looked for."""
        self.device = safe_name(device or socket.gethostname().split(".")[0].lower())
        self.site = site
        self._machine: Machine = _collector().Machine(root)

    def sample(self, now: datetime) -> list[Reading]:
        """All values of this machine as readings at `now`."""
        return [
            Reading(now, self.device, sensor, round(float(value), 4), unit, self.site)
            for sensor, value, unit in self._machine.sample()
        ]


class _Collector(Protocol):
    def Machine(self, root: Path) -> Machine: ...  # noqa: N802  # the class of the collector's file


@cache
def _collector() -> _Collector:
    file = paths.project_path("ansible", "roles", "collector", "files", "collector.py")
    spec = importlib.util.spec_from_file_location("homelab_hosts_collector", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Which of the lab's streams this machine's own readings belong to.

Belongs here: finding the stream `from: machine` in the resolved lab that the site keeps. The collector stays small:
it reads `lab.json` as plain JSON, and where there is none yet it has the lab resolved by a child process
(`python -m homelab_platform.agents.collector.stream LAB`), whose memory goes with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from homelab_platform.paths import LAB_JSON

MODULE = "homelab_platform.agents.collector.stream"
STREAM = "machine"  # of a lab that has no machine stream of its own
EVERY = 10.0


@dataclass(frozen=True)
class MachineStream:
    """Name of the stream, seconds between samples, and the place that readings carry as `site`."""

    name: str = STREAM
    every: float = EVERY
    place: str = ""


def machine_stream(lab: Mapping[str, Any]) -> MachineStream:
    """The machine stream of a resolved lab given as JSON data; the first by name if there are several."""
    place = str(lab.get("name") or "")
    streams: Mapping[str, Any] = lab.get("streams") or {}
    for name in sorted(streams):
        stream = streams[name]
        if stream.get("source") == "machine":
            settings = stream.get("source_settings") or {}
            paces = [s["every"] for s in (stream.get("sensors") or {}).values() if s.get("every")]
            every = settings.get("every") or min(paces, default=EVERY)
            return MachineStream(name, max(1.0, float(every)), str(settings.get("site") or place))
    return MachineStream(place=place)


class StreamOfLab:
    """The machine stream of a site's lab, looked up again when the lab has changed."""

    def __init__(self, root: Path) -> None:
        self._file = root / LAB_JSON
        self._seen: tuple[int, int] | None = None
        self._found: MachineStream | None = None
        self._fallback = MachineStream(place=root.name)

    def __call__(self) -> MachineStream:
        """The stream as the lab says now; the last known one while the lab cannot be read."""
        try:
            stat = self._file.stat()
            if (stat.st_mtime_ns, stat.st_size) != self._seen:
                self._found = machine_stream(orjson.loads(self._file.read_bytes()))
                self._seen = (stat.st_mtime_ns, stat.st_size)
        except (OSError, orjson.JSONDecodeError):
            if self._found is None:
                self._found = _ask_child() or self._fallback
        return self._found or self._fallback


def _ask_child() -> MachineStream | None:
    """Have the lab file resolved elsewhere; None if it is not known, or has errors that others report."""
    lab = os.environ.get("HOMELAB_LAB")
    if not lab:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE, lab], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
        return MachineStream(**orjson.loads(done.stdout)) if done.returncode == 0 else None
    except (OSError, subprocess.SubprocessError, orjson.JSONDecodeError, TypeError):
        return None


def main(lab: Path) -> int:
    """Resolve a lab file and print its machine stream as JSON; 1 if the lab has errors."""
    from homelab_platform.catalog.lab import read_lab
    from homelab_platform.errors import HomelabError

    try:
        resolved = read_lab(lab)
    except HomelabError:
        return 1
    sys.stdout.buffer.write(orjson.dumps(machine_stream(resolved.model_dump(mode="json"))))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

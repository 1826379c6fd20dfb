"""A real node exporter for tests: from this system or from its distribution's package, and running for a while.

Belongs here: getting and running the program. Run as a program, it gets it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homelab_platform.names import Say, silent
from homelab_platform.servers.install import apt, shared
from homelab_platform.servers.supervise import ports

PACKAGE = "prometheus-node-exporter"
PROGRAM = f"usr/bin/{PACKAGE}"
RECIPE = shared.Recipe(PACKAGE, "1", f"the distribution's package {PACKAGE} and libraries that it lacks; 1")


def installed() -> Path:
    """The folder below which the program lies."""
    if shutil.which(PACKAGE):
        return Path("/")

    def build(folder: Path, progress: Say) -> None:
        apt.unpack(PACKAGE, [folder / PROGRAM], folder, progress)

    return shared.install(RECIPE, build, silent)


@contextmanager
def node_exporter() -> Iterator[str]:
    """The address of a running one: `127.0.0.1:port`."""
    root = installed()
    address = f"127.0.0.1:{ports.choose(1)[0]}"
    command = [str(root / PROGRAM), f"--web.listen-address={address}", "--log.level=error", "--no-collector.systemd"]
    with subprocess.Popen(command, env=os.environ | apt.libraries(root)) as process:
        try:
            _wait(f"http://{address}/metrics")
            yield address
        finally:
            process.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

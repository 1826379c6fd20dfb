"""S3 servers of a test's own that may be killed: SeaweedFS and MinIO as a site runs them, and rclone.

Belongs here: starting, killing and starting again. rclone is here because it must fail: a suite that nothing fails
says nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from homelab_platform.servers import minio, seaweedfs
from homelab_platform.servers.supervise import child, ports, processes
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec
from homelab_platform.tools.endpoints import ObjectsEndpoint

ACCESS, SECRET = "conformance1", "a-secret-of-the-conformance-suite"


class Served:
    """A server that this process starts and kills."""

    def __init__(self, spec: ProcessSpec, log: Path) -> None:
        self.spec = spec
        self.endpoint = ObjectsEndpoint(f"http://127.0.0.1:{spec.port}", ACCESS, SECRET)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.spec.command,
                cwd=self.spec.folder,
                env=os.environ | self.spec.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert processes.wait_until(lambda: child.is_healthy(self.spec.health), 60), self._log.read_text()[-2000:]

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        if self._process is not None:
            processes.send(self._process.pid, signal.SIGKILL, group=True)
            self._process.wait()
            self._process = None
        for file in self.spec.litter:
            Path(file).unlink(missing_ok=True)


def seaweedfs_spec(folder: Path) -> ProcessSpec:
    """SeaweedFS as a site runs it."""
    seaweedfs.prepare(folder, ACCESS, SECRET)
    return seaweedfs.process(folder, seaweedfs.SeaweedPorts.choose())


def minio_spec(folder: Path) -> ProcessSpec:
    """MinIO as a site runs it."""
    minio.installed()
    minio.prepare(folder, ACCESS, SECRET)
    return minio.process(folder, ports.choose(1)[0])


def rclone_spec(folder: Path) -> ProcessSpec:
    """`rclone serve s3` over a folder."""
    program = Path(sysconfig.get_path("scripts")) / "rclone"
    data = folder / "data"
    data.mkdir(parents=True)
    port = ports.choose(1)[0]
    options = ("--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS},{SECRET}", "--vfs-cache-mode", "off")
    config = ("--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache"))
    return ProcessSpec(
        name="objects",
        command=(str(program), "serve", "s3", str(data), *options, *config),
        folder=str(folder),
        environment={"HOME": str(folder)},
        port=port,
        health=Health((Answer(port, ""),)),
    )


SERVERS: dict[str, Callable[[Path], ProcessSpec]] = {
    "SeaweedFS": seaweedfs_spec,
    "MinIO": minio_spec,
    "rclone": rclone_spec,
}


@contextmanager
def served(name: str, folder: Path) -> Iterator[Served]:
    """A server of this name in `folder`, killed and removed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Served(SERVERS[name](folder), folder.with_suffix(".log"))
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)

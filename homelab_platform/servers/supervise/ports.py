"""Ports of this machine's loopback address: which are free, choosing some, claiming one until a server listens there.

Belongs here: looking, choosing, claiming. Not here: remembering a choice (site.py).
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path

import psutil

from homelab_platform.errors import HomelabError

LOWEST, HIGHEST = 15000, 22000  # below what systems hand out to outgoing connections, +10000 included
TRIES = 500


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def claim(port: int) -> bool:
    """Claim a port for this process; False while another one has claimed it, which lasts as long as that process does.

    Two sites that start at once would else both find a port free, long before either of them listens there: the second
    page would never come up, and the first one's would answer in its place.
    """
    folder = Path(tempfile.gettempdir()) / f"homelab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    own = folder / f"{port}.{os.getpid()}"
    own.touch()
    others = (file for file in folder.glob(f"{port}.*") if file != own)
    for other in others:
        if psutil.pid_exists(int(other.suffix[1:])):
            own.unlink()
            return False
        other.unlink(missing_ok=True)
    return True


def choose(count: int, *, also: int = 0, avoid: Collection[int] = ()) -> list[int]:
    """`count` free ports; with `also`, port + also is free too (SeaweedFS puts gRPC on port + 10000).

    Raises HomelabError when this machine has none left.
    """
    chosen: list[int] = []
    for _ in range(TRIES):
        if len(chosen) == count:
            return chosen
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311  a port number is no secret
        if port in chosen or port in avoid:
            continue
        if is_free(port) and (not also or is_free(port + also)):
            chosen.append(port)
    raise HomelabError.of(
        "127.0.0.1", f"found no {count} free ports between {LOWEST} and {HIGHEST}", "Stop what listens there."
    )

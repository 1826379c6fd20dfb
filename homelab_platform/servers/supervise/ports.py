"""Ports of this machine's loopback address: which are free, and choosing some.

Belongs here: looking and choosing. Not here: remembering a choice (site.py).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

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

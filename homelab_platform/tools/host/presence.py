"""Whether a machine is there at all: does its kernel answer at one of some TCP ports, refusals included.

Belongs here: asking without speaking. Not here: what answers (tools/ssh/client.py).
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Sequence
from typing import cast

_ANSWERS = {0, errno.ECONNREFUSED}


def answering_port(address: str, ports: Sequence[int], seconds: float) -> int | None:
    """The first of `ports` at which the machine answers within `seconds`, asked all at once; None if none does.

    A refused connection is an answer: somebody is there. A name that leads nowhere is none.
    """
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as waiting:
        try:
            for port in ports:
                if _begin(waiting, address, port) in _ANSWERS:
                    return port
            return _first(waiting, until)
        finally:
            for key in list(waiting.get_map().values()):
                cast(socket.socket, key.fileobj).close()


def _begin(waiting: selectors.BaseSelector, address: str, port: int) -> int:
    """Begin to connect; the error number at once, EINPROGRESS while the answer is out."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return errno.EHOSTUNREACH
    one = socket.socket(family, kind, protocol)
    one.setblocking(False)
    code = one.connect_ex(place)
    if code == errno.EINPROGRESS:
        waiting.register(one, selectors.EVENT_WRITE, port)
    else:
        one.close()
    return code


def _first(waiting: selectors.BaseSelector, until: float) -> int | None:
    while waiting.get_map() and (rest := until - time.monotonic()) > 0:
        for key, _ in waiting.select(rest):
            one = cast(socket.socket, key.fileobj)
            code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            waiting.unregister(one)
            one.close()
            if code in _ANSWERS:
                return int(key.data)
    return None

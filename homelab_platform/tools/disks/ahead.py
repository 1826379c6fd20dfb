"""Working ahead: a thread fills buffers while the caller empties them, so that reading and writing overlap.

Belongs here: the hand-over of buffers. Not here: what they hold.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from homelab_platform.tools.disks.medium import aligned

DEPTH = 4
Fill = Callable[[memoryview], int]
"""Fills a buffer from its beginning; how many bytes it holds now, 0 at the end."""


@contextmanager
def filled_ahead(fill: Fill, length: int) -> Iterator[Iterator[memoryview]]:
    """Aligned buffers of `length` bytes that a thread fills by `fill`, in order; each is valid until the next is taken.

    What `fill` raises is raised where the buffer would have come. The thread has ended when the block is left.
    """
    free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[memoryview, int] | BaseException] = queue.SimpleQueue()
    for _ in range(DEPTH):
        free.put(aligned(length))

    def work() -> None:
        while (buffer := free.get()) is not None:
            try:
                got = fill(buffer)
            except BaseException as error:  # noqa: BLE001  # goes to whoever takes the buffer
                full.put(error)
                return
            full.put((buffer, got))
            if got == 0:
                return

    thread = threading.Thread(target=work, name="filled-ahead", daemon=True)
    thread.start()
    try:
        yield _taken(free, full)
    finally:
        _empty(free)  # the thread stops after the buffer that it fills now
        free.put(None)
        thread.join()


def _empty(free: queue.SimpleQueue[memoryview | None]) -> None:
    with suppress(queue.Empty):
        while True:
            free.get_nowait()


def _taken(
    free: queue.SimpleQueue[memoryview | None], full: queue.SimpleQueue[tuple[memoryview, int] | BaseException]
) -> Iterator[memoryview]:
    while True:
        found = full.get()
        if isinstance(found, BaseException):
            raise found
        buffer, got = found
        if got == 0:
            return
        yield buffer[:got]
        free.put(buffer)

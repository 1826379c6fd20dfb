"""Questions about writes that break off: a client that goes away, a server that is killed.

Belongs here: whether an object is ever torn, and whether what was acknowledged is there afterwards. A killed process is
not a power cut: whether the disk was told to keep it is another question (docs/object-stores.md).
"""

from __future__ import annotations

import os
import threading
import time

from homelab_platform.tools.objects.conformance.questions import Bench, NotTried, demand, question

MIB = 1 << 20
LENGTH = 16 * MIB
SETTLE = 1.0  # seconds that a server gets to notice
RECOVERY_SECONDS = 30.0
"""How long a server that answers again may take until it finds what it holds: lost is what is not there after that."""


@question("a client that goes away in the middle of a PUT leaves no torn object")
def client_abort(bench: Bench) -> None:
    """The object is absent, or the older one is whole."""
    bench.put("abort/old", b"older")
    for key in ("abort/new", "abort/old"):
        bench.wire.begin_put(bench.bucket, key, LENGTH, os.urandom(LENGTH // 2)).close()
    time.sleep(SETTLE)
    new = bench.wire.ask("GET", bench.bucket, "abort/new")
    demand(new.status == 404, f"half an object is there: {len(new.body):,} of {LENGTH:,} bytes")
    demand(bench.get("abort/old") == b"older", "half a write replaced the older object")


@question("a server killed in the middle of a PUT leaves no torn object")
def killed_mid_put(bench: Bench) -> None:
    """kill -9 while the body is on its way, at a quarter and at three quarters."""
    control = bench.control
    if control is None:
        raise NotTried("this needs power over the server's process")
    bench.put("killed/old", b"older")
    for number in (1, 3):
        half = os.urandom(LENGTH * number // 4)
        keys = (f"killed/new-{number}", "killed/old")
        open_puts = [bench.wire.begin_put(bench.bucket, key, LENGTH, half) for key in keys]
        control.kill()
        for connection in open_puts:
            connection.close()
        control.start()
        new = bench.wire.ask("GET", bench.bucket, keys[0])
        demand(new.status == 404, f"half an object is there: {len(new.body):,} of {LENGTH:,} bytes")
        demand(bench.get("killed/old") == b"older", "half a write replaced the older object")


@question("what was acknowledged is there after kill -9")
def acknowledged(bench: Bench) -> None:
    """Writers run, the server is killed under them, and every write that was answered with 2xx is read back."""
    control = bench.control
    if control is None:
        raise NotTried("this needs power over the server's process")
    written: dict[str, bytes] = {}
    for turn in range(2):
        stop = threading.Event()
        writers = [
            threading.Thread(target=write_until, args=(bench, f"acked/{turn}-{number}", written, stop))
            for number in range(4)
        ]
        for writer in writers:
            writer.start()
        time.sleep(1.0)
        control.kill()
        stop.set()
        for writer in writers:
            writer.join()
        control.start()
    demand(len(written) > 20, f"only {len(written)} writes were acknowledged")
    lost = list(written)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while lost and time.monotonic() < deadline:
        lost = [key for key in lost if bench.wire.ask("GET", bench.bucket, key).body != written[key]]
        if lost:
            time.sleep(SETTLE)
    demand(not lost, f"{len(lost)} of {len(written)} acknowledged writes are lost or changed")


def write_until(bench: Bench, prefix: str, written: dict[str, bytes], stop: threading.Event) -> None:
    """Write small and middling objects one after the other, and note those that were acknowledged."""
    from urllib3.exceptions import HTTPError

    number = 0
    while not stop.is_set():
        number += 1
        key, body = f"{prefix}-{number}", os.urandom(200_000 if number % 5 == 0 else 700)
        try:
            found = bench.wire.ask("PUT", bench.bucket, key, body=body)
        except (HTTPError, OSError):
            return
        if found.ok:
            written[key] = body

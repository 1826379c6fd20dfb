"""The collector of this machine's own telemetry: sample, spool to disk, upload, delete from the spool.

Belongs here: the loop, its clocks and its command (`python -m homelab_platform.agents.collector.main`). Not here:
what is measured (telemetry.py) or how the spool survives a crash (spool.py). It stays small: nothing here imports
pyarrow, pandas or dagster.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from homelab_platform.agents.collector.stream import MachineStream, StreamOfLab
from homelab_platform.agents.collector.telemetry import Telemetry
from homelab_platform.agents.drop.watch import DropWatch
from homelab_platform.agents.spool import Spool, content_name, day_of, whole_lines
from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.durability import settle
from homelab_platform.wire.reading import Reading, object_key, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from homelab_platform.tools.objects.client import ObjectStore

FLUSH_EVERY = 60.0
FIRST_PAUSE = 1.0  # between the first two samples, so that rates exist and the first readings come soon
UPLOAD_TIMEOUT = 8.0
CLOCK_SLACK = timedelta(seconds=60)


def sample(now: datetime, *, device: str | None = None, site: str = "") -> list[Reading]:
    """One sample of this machine without rates, which need two: see Telemetry for a series."""
    return Telemetry(device=device, site=site).sample(now)


class WallClock:
    """Times of samples: strictly increasing while the wall clock errs by less than a minute.

    A clock that is set back a little (NTP slewing) yields the last time plus a millisecond, so that no two readings of
    a sensor share a time. A clock set back by more than a minute is believed, and said so: the old time was wrong.
    """

    def __init__(self, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = read
        self._last: datetime | None = None

    def now(self) -> datetime:
        """The time of the next sample, in UTC."""
        moment = self._read()
        if self._last is not None and moment <= self._last:
            if self._last - moment > CLOCK_SLACK:
                log(f"the clock was set back by {self._last - moment}; readings go on with the new time")
            else:
                moment = self._last + timedelta(milliseconds=1)
        self._last = moment
        return moment


class Collector:
    """Samples, spools and uploads until stopped.

    `lakehouse` is asked for anew after each failure (ports may move), `stream` before each upload (the lab may change).
    """

    def __init__(
        self,
        lakehouse: Callable[[], Lakehouse],
        spool: Spool,
        telemetry: Telemetry,
        *,
        stream: Callable[[], MachineStream] = MachineStream,
        flush_every: float = FLUSH_EVERY,
        clock: WallClock | None = None,
    ) -> None:
        self._lakehouse = lakehouse
        self._spool = spool
        self._telemetry = telemetry
        self._ask_stream = stream
        self._stream = stream()
        telemetry.site = self._stream.place
        self._flush_every = flush_every
        self._clock = clock or WallClock()
        self._store: tuple[Lakehouse, ObjectStore] | None = None
        self._waiting_since: float | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """End `run` after a last flush; safe from a signal handler."""
        self._stop.set()

    def take_sample(self) -> int:
        """Sample once and put the readings on disk; returns how many. A full disk costs the sample, not the loop."""
        readings = self._telemetry.sample(self._clock.now())
        try:
            self._spool.append(b"".join(reading.line() for reading in readings))
        except OSError as error:
            log(f"a sample of {len(readings)} readings is lost: {self._spool.folder}: {error.strerror}")
            return 0
        return len(readings)

    def flush(self) -> int:
        """Upload everything that is spooled; returns the number of objects the bucket acknowledged.

        A file is deleted only after that. Raises HomelabError if the bucket cannot be reached; the spool keeps all.
        """
        if not self._spool.closed_files():
            self._spool.rotate()  # else the current file goes on: it grows instead of leaving a crumb each minute
        files = self._spool.closed_files()
        for path in files:
            self._upload(path)
        if self._store is not None:
            settle(self._store[0].objects_folder)
        for path in files:
            path.unlink()
        sent = len(files)
        if self._spool.size and sent:
            self._spool.rotate()
            sent += self.flush()
        return sent

    def _upload(self, path: Path) -> None:
        from homelab_platform.tools.objects.client import AlreadyExists

        data = whole_lines(path)
        if data:
            lakehouse, store = self._connected()
            key = object_key(self._stream.name, day_of(path), self._telemetry.device, content_name(path, data))
            try:
                store.put(
                    lakehouse.raw_bucket, key, pack(data), if_none_match=True, content_type="application/x-ndjson"
                )
            except AlreadyExists:
                pass  # the key holds the content's hash: an earlier try wrote it and its answer was lost
            except HomelabError:
                self.close()
                raise

    def _connected(self) -> tuple[Lakehouse, ObjectStore]:
        from homelab_platform.tools.objects.client import ObjectStore

        if self._store is None:
            lakehouse = self._lakehouse()
            self._store = (lakehouse, ObjectStore(lakehouse.objects, retries=1, timeout=UPLOAD_TIMEOUT))
        return self._store

    def close(self) -> None:
        """Close the connection to the bucket; the next upload opens another."""
        if self._store is not None:
            self._store[1].close()
            self._store = None

    def run(self) -> None:
        """Sample and flush until `stop`; then flush once more. Never fails for a bucket that is away."""
        self.take_sample()
        self._stop.wait(FIRST_PAUSE)
        self.take_sample()
        self._try_flush()
        next_sample = time.monotonic() + self._stream.every
        next_flush = time.monotonic() + self._flush_every
        while not self._stop.wait(max(0.0, min(next_sample, next_flush) - time.monotonic())):
            now = time.monotonic()
            if now >= next_sample:
                self.take_sample()
                next_sample = _after(next_sample, self._stream.every, now)
            if now >= next_flush:
                done = self._try_flush()
                next_flush = _after(next_flush, self._flush_every if done else self._stream.every, now)
        self.take_sample()
        self._try_flush()
        self.close()

    def _try_flush(self) -> bool:
        self._stream = self._ask_stream()
        self._telemetry.site = self._stream.place
        try:
            self.flush()
        except HomelabError as error:
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
                log(f"cannot upload, readings wait in {self._spool.folder}: {error.problems[0].what}")
            return False
        if self._waiting_since is not None:
            log(f"uploading again after {time.monotonic() - self._waiting_since:.0f} s; the spool is empty")
            self._waiting_since = None
        return True


def _after(due: float, every: float, now: float) -> float:
    """The next time on the beat of `every` seconds that is still to come; missed ones are left out."""
    return due + every * max(1, int((now - due) // every) + 1)


def log(text: str) -> None:
    """One line to the log of this background process."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} collector: {text}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _stopped_by_signals(collector: Collector) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        collector.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped or done, 1 nothing could be uploaded (`--once`), 2 wrong arguments."""
    options = _arguments(argv)
    root: Path = options.site
    if not root.is_dir():
        log(f"{root} is not a site's folder; start the site with `homelab up`")
        return 2
    from homelab_platform.servers.site.site import open_site

    def own_lakehouse() -> Lakehouse:
        site = open_site(root)
        return replace(site.lakehouse, objects=site.access_for("collector"))

    try:
        with Spool(root / "spool" / "machine") as spool:
            collector = Collector(
                own_lakehouse,
                spool,
                Telemetry(device=options.device),
                stream=_stream(options),
                flush_every=options.flush,
            )
            with _stopped_by_signals(collector):
                return _once(collector) if options.once else _forever(collector, root)
    except HomelabError as error:
        log(str(error))
        return 1


def _stream(options: argparse.Namespace) -> Callable[[], MachineStream]:
    """The lab's machine stream, with what the options say instead."""
    of_lab = StreamOfLab(options.site)
    given = {"name": options.stream, "every": options.every, "place": options.place}
    said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return lambda: replace(of_lab(), **said)


def _once(collector: Collector) -> int:
    count = collector.take_sample()
    time.sleep(FIRST_PAUSE)
    count += collector.take_sample()
    objects = collector.flush()
    collector.close()
    log(f"{count} readings, {objects} objects uploaded")
    return 0


def _forever(collector: Collector, root: Path) -> int:
    log("started")
    watch = DropWatch(root, log)
    watch.start()
    collector.run()
    watch.stop()
    log("stopped")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="homelab-collector", description="Readings of this machine into the lake.")
    parser.add_argument("--site", type=Path, required=True, help="the site's data folder")
    parser.add_argument("--once", action="store_true", help="two samples, one upload, done")
    parser.add_argument("--every", type=_seconds, help="seconds between samples (as the lab says, else 10)")
    parser.add_argument("--flush", type=_seconds, default=FLUSH_EVERY, help="seconds between uploads (60)")
    parser.add_argument("--stream", help="stream that the readings belong to (the lab's machine stream)")
    parser.add_argument("--device", help="name of this machine (its host name)")
    parser.add_argument("--place", help="column `site` of the readings (as the lab says)")
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("between 0.1 and 86400 seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())

"""The bridge from MQTT to the raw bucket: `python -m homelab_platform.agents.bridge.main --site ROOT`.

Belongs here: one thread for each MQTT stream of the site's lab, begun and ended as the lab changes. Not here: what a
stream's thread does (stream.py). NiFi's own MQTT processors are in a bundle that a slim NiFi lacks, and
they acknowledge a message once NiFi has it, not once the bucket has.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO

from homelab_platform.agents.bridge.lab_streams import LabStreams
from homelab_platform.agents.bridge.machines import MachineBridge
from homelab_platform.agents.bridge.outlets import BucketOutlet, EntranceOutlet, Outlet
from homelab_platform.agents.bridge.settings import FOLDER, streams_of
from homelab_platform.agents.bridge.stream import BridgeStream, StreamBridge
from homelab_platform.agents.drop.watch import DropWatch
from homelab_platform.errors import HomelabError
from homelab_platform.files import lock_or_none
from homelab_platform.plan.sites import SiteKind, kind_here
from homelab_platform.tools.endpoints import Lakehouse

LOOK_EVERY = 2.0
"""Seconds between looks at what the lab says."""
STOP_WITHIN = 12.0


@dataclass
class _Running:
    """A stream that is carried now."""

    stream: BridgeStream
    bridge: StreamBridge
    thread: threading.Thread


class Bridge:
    """Carries the streams that `ask` names until stopped. `lakehouse` is asked anew after each failure."""

    def __init__(
        self, ask: Callable[[], dict[str, BridgeStream]], lakehouse: Callable[[], Lakehouse], folder: Path
    ) -> None:
        self._ask = ask
        self._lakehouse = lakehouse
        self._folder = folder
        self._running: dict[str, _Running] = {}
        self._stop = threading.Event()
        self._said = ""

    def stop(self) -> None:
        """End `run`; safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Follow the lab until stopped. A lab that cannot be read leaves everything as it is."""
        try:
            while not self._stop.is_set():
                try:
                    self._follow(self._ask())
                    self._said = ""
                except HomelabError as error:
                    if str(error) != self._said:
                        self._said = str(error)
                        log(self._said)
                self._stop.wait(LOOK_EVERY)
        finally:
            self._follow({})

    def _follow(self, wanted: dict[str, BridgeStream]) -> None:
        dead = [name for name, now in self._running.items() if not now.thread.is_alive()]
        over = [name for name, now in self._running.items() if wanted.get(name) != now.stream or name in dead]
        for name in dead:
            log(f"{name}: its thread ended with an error (above); it begins again")
        for name in over:
            self._running[name].bridge.stop()
        for name in over:
            self._running.pop(name).thread.join(STOP_WITHIN)
        for name, stream in wanted.items():
            if name not in self._running:
                self._running[name] = self._begin(stream)

    def _begin(self, stream: BridgeStream) -> _Running:
        rejects = BucketOutlet(self._lakehouse, stream.name, "mqtt-refused")
        bucket = BucketOutlet(self._lakehouse, stream.name)
        if stream.machines:
            bridge: StreamBridge = MachineBridge(stream, self._folder, bucket, rejects, log)
        else:
            out: Outlet = bucket if stream.entrance is None else EntranceOutlet(stream.entrance, stream.token)
            bridge = StreamBridge(stream, self._folder, out, rejects, log)
        thread = threading.Thread(target=bridge.run, name=stream.name, daemon=True)
        thread.start()
        return _Running(stream, bridge, thread)


def log(text: str) -> None:
    """One line to the log of this background process."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} bridge: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _only_one(folder: Path) -> IO[bytes]:
    """The lock that keeps a second bridge from this site's sessions. Raises HomelabError when another holds it."""
    lock = lock_or_none(folder / ".lock")
    if lock is None:
        raise HomelabError.of(str(folder), "another bridge carries this site's streams", "Stop it first.")
    return lock


def _asking(root: Path) -> Callable[[], dict[str, BridgeStream]]:
    """What says which streams to carry: those at the site's own broker, or at that of the lab which it steers."""
    from homelab_platform.servers.site.site import open_site

    if kind_here(os.environ) is SiteKind.LAB:  # such a site has no broker of its own
        return LabStreams(root)
    return lambda: streams_of(root, open_site(root).engines.mqtt)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped, 1 it cannot run here, 2 wrong arguments."""
    parser = argparse.ArgumentParser(prog="homelab-mqtt-bridge", description="MQTT messages into the lake.")
    parser.add_argument("--site", type=Path, required=True, help="the site's data folder")
    root: Path = parser.parse_args(argv).site
    if not root.is_dir():
        log(f"{root} is not a site's folder; start the site with `homelab up`")
        return 2
    from homelab_platform.servers.site.site import open_site

    try:
        with _only_one(root / FOLDER):
            bridge = Bridge(_asking(root), lambda: open_site(root).lakehouse, root / FOLDER)

            def stop(_number: int, _frame: FrameType | None) -> None:
                bridge.stop()

            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            log("started")
            if kind_here(os.environ) is SiteKind.LAB:  # such a site has no collector that would look into its folders
                DropWatch(root, log).start()
            bridge.run()
            log("stopped")
    except HomelabError as error:
        log(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

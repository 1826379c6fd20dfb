"""The servers that are installed once for this user before anything can start them, and installing several at once.

Belongs here: which there are, what installing each costs, and `python -m homelab_platform.servers.engines [NAME …]`.
Not here: how each is fetched or built (one module per server), or which a site runs (servers/site/engines.py).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.names import Say
from homelab_platform.servers.install import shared


@dataclass(frozen=True)
class Engine:
    """A server to install. `cost` says what it takes the first time; `memory` is what it may hold, in words."""

    name: str
    title: str
    cost: str
    memory: str
    present: Callable[[], bool]
    install: Callable[[Say], Any]


def _mosquitto_present() -> bool:
    from homelab_platform.servers import mosquitto

    return mosquitto.of_this_system() or shared.find(mosquitto.RECIPE) is not None


def _mosquitto(say: Say) -> Path:
    from homelab_platform.servers import mosquitto

    return mosquitto.installed(say)


def _java_present() -> bool:
    from homelab_platform.servers.install import java

    return shared.find(java.RECIPE) is not None


def _trino_present() -> bool:
    from homelab_platform.servers.trino import RECIPE

    return shared.find(RECIPE) is not None and _java_present()


def _trino(say: Say) -> object:
    from homelab_platform.servers.install.java import java_binary
    from homelab_platform.servers.trino import installed

    java_binary(say)
    return installed(say)


def _nifi_present() -> bool:
    from homelab_platform.servers import nifi

    return shared.find(nifi.recipe()) is not None and _java_present()


def _nifi(say: Say) -> object:
    from homelab_platform.servers import nifi

    return nifi.installed(say)


def _minio_present() -> bool:
    from homelab_platform.servers import minio

    return shared.find(minio.RECIPE) is not None


def _minio(say: Say) -> Path:
    from homelab_platform.servers import minio

    return minio.installed(say)


JAVA = "35 MB of Java"
ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "mqtt", "Mosquitto 2", "its Debian package, 1 MB", "256 MiB of messages", _mosquitto_present, _mosquitto
        ),
        Engine("trino", "Trino 476", f"821 MB from Maven Central, {JAVA}", "1 GiB of heap", _trino_present, _trino),
        Engine("nifi", "NiFi 2.3.0", f"233 MB from Maven Central, {JAVA}", "1 GiB of heap", _nifi_present, _nifi),
        Engine("minio", "MinIO", "a build of five CPU-minutes by Go", "400 MiB", _minio_present, _minio),
    )
}
"""In the order in which they are ready soonest."""


def missing(names: Iterable[str]) -> list[Engine]:
    """Those of these engines that are not installed yet."""
    return [ENGINES[name] for name in ENGINES if name in set(names) and not ENGINES[name].present()]


def install(names: Iterable[str], say: Say) -> None:
    """Install what is missing of these engines, all at once. Raises HomelabError with every one that failed.

    Whatever succeeded stays installed. An installation that another process is at is waited for, not repeated.
    """
    wanted = missing(names)
    if not wanted:
        return
    say("installing " + "; ".join(f"{engine.title} ({engine.cost})" for engine in wanted))
    problems: list[Problem] = []
    speaking = threading.Lock()

    def in_turn(text: str) -> None:
        with speaking:
            say(text)

    with ThreadPoolExecutor(len(wanted)) as pool:
        for future in [pool.submit(_timed, engine, in_turn) for engine in wanted]:
            try:
                future.result()
            except HomelabError as error:
                problems.extend(error.problems)
    if problems:
        raise HomelabError(problems)


def _timed(engine: Engine, say: Say) -> None:
    began = time.monotonic()
    engine.install(lambda text: say(f"{engine.name}: {text}"))
    say(f"{engine.name}: installed in {time.monotonic() - began:.0f} s")


def main(names: list[str]) -> int:
    """Install the named engines, or all; prints a line for each step. 1 when one failed."""
    unknown = [name for name in names if name not in ENGINES]
    try:
        if unknown:
            raise HomelabError.of(", ".join(unknown), "no such server", f"There are: {', '.join(ENGINES)}.")
        install(names or ENGINES, _print)
    except HomelabError as error:
        _print(str(error))
        return 1
    _print("every server is installed")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

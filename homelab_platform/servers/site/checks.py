"""What must hold before a site is started: room on the disk, a folder of our own, nobody else at it, free ports.

Belongs here: checks that refuse before anything is changed, and choosing ports. Not here: starting (site.py).
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.servers import postgres
from homelab_platform.servers.seaweedfs import GRPC_OFFSET
from homelab_platform.servers.site.files import Layout, SiteFile
from homelab_platform.servers.supervise import ports
from homelab_platform.servers.supervise.spec import LOCK_FILE, load_state

LEAST_FREE = 512 << 20  # bytes
FOREIGN_PATIENCE = 90.0  # seconds; a supervisor touches its lock every 15
UI_PORT = 3000
WITH_GRPC = ("s3", "master", "volume", "filer")
NAMES = ("postgres", *WITH_GRPC, "ui", "code")
FULL_NAMES = (*NAMES, "mqtt", "trino", "trino_internal", "nifi", "nifi_management")


def port_names(site: SiteFile) -> tuple[str, ...]:
    """The servers of a site that need a port."""
    names = FULL_NAMES if site.full else NAMES
    return (*names, "console") if site.objects == "minio" else names


def check_machine(layout: Layout) -> None:
    """Refuse a full disk, a foreign folder or data that these servers cannot read. Changes nothing."""
    root = layout.root
    if root.exists() and os.geteuid() not in (0, root.stat().st_uid):
        raise HomelabError.of(
            str(root),
            "this site's data folder belongs to another user",
            "Start it as that user, or set HOMELAB_DATA to a folder of your own.",
        )
    free = shutil.disk_usage(_existing(root)).free
    if free < LEAST_FREE:
        raise HomelabError.of(
            str(root),
            f"only {free >> 20} MiB are free on this disk; a site needs {LEAST_FREE >> 20} MiB to start",
            "Make room, or set HOMELAB_DATA to a folder on another disk.",
        )
    postgres.check(layout.postgres)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def check_objects(layout: Layout, site: SiteFile) -> None:
    """Refuse another S3 server than the one that holds the site's objects. Changes nothing."""
    others = {"seaweedfs": layout.minio, "minio": layout.objects}[site.objects]
    own = {"seaweedfs": layout.objects, "minio": layout.minio}[site.objects]
    if _holds_data(others) and not _holds_data(own):
        other = "minio" if site.objects == "seaweedfs" else "seaweedfs"
        raise HomelabError.of(
            str(layout.root),
            f"this site's objects lie in {other}, and {site.objects} would start without them",
            f"Go on with `homelab up --objects {other}`, or copy them first: `homelab down`, then "
            f"`homelab up --objects {site.objects} --move`. Nothing was changed.",
        )


def _holds_data(folder: Path) -> bool:
    data = folder / "data"
    return data.is_dir() and any(data.iterdir())


def check_nobody_else(layout: Layout) -> None:
    """Refuse while a supervisor on another machine keeps this folder (a network disk). Its lock is stale when old."""
    state = load_state(layout.run)
    lock = layout.run / LOCK_FILE
    if state is None or state.host == socket.gethostname() or not lock.exists():
        return
    age = time.time() - lock.stat().st_mtime
    if age < FOREIGN_PATIENCE and not state.stopped:
        raise HomelabError.of(
            str(layout.root),
            f"is in use on the machine {state.host} (process {state.pid}, seen {age:.0f} s ago)",
            f"Run `homelab down` there. If that machine is gone, try again in {FOREIGN_PATIENCE - age:.0f} s.",
        )


def choose_ports(
    known: dict[str, int], wanted_ui: int | None, say: Callable[[str], None], names: tuple[str, ...] = NAMES
) -> dict[str, int]:
    """The ports to use: the known ones where they are free, others where they are taken (and says so).

    Known ones that are not among `names` stay known: they belong to another profile of the site.
    Raises HomelabError when the port that the user asked for is taken.
    """
    chosen = {name: port for name, port in known.items() if name not in names}
    if wanted_ui is not None:
        if not 1024 <= wanted_ui <= 65535:
            raise HomelabError.of(f"port {wanted_ui}", "is not between 1024 and 65535", "Choose another one.")
        if not ports.is_free(wanted_ui):
            raise HomelabError.of(
                f"127.0.0.1:{wanted_ui}", "another process listens there", "Choose another port with --port."
            )
        known = known | {"ui": wanted_ui}
    for name in names:
        also = GRPC_OFFSET if name in WITH_GRPC else 0
        port = known.get(name) or (UI_PORT if name == "ui" else 0)
        if port and _usable(port, also) and (name in known or ports.claim(port)):
            chosen[name] = port
            continue
        chosen[name] = ports.choose(1, also=also, avoid=[*chosen.values(), *known.values()])[0]
        if name in known:
            say(f"port {port} of {name} is taken by another process; using {chosen[name]} from now on")
    return chosen


def _usable(port: int, also: int) -> bool:
    return ports.is_free(port) and (not also or ports.is_free(port + also))

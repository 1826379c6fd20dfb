"""Labs of this machine as files: which there are, who uses each, who guards it.

Belongs here: the folder of a lab and what is read from it. Not here: starting and clearing away (lab.py, guardian.py).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from homelab_platform import paths
from homelab_platform.servers.supervise import processes
from homelab_platform_tests.testlab.addresses import Addresses
from homelab_platform_tests.testlab.hosts import HostSpec, Place

LAB_FILE, OWNERS, GUARDIAN, KEPT = "lab.json", "owners", "guardian", "kept"
YOUNG = 60.0
"""Seconds for which a lab without a guardian counts as being started."""


def home() -> Path:
    """The folder of all labs."""
    return paths.cache_home() / "labs"


def save(place: Place) -> None:
    """Write down what a lab is."""
    (place.folder / OWNERS).mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "id": place.id,
        "number": place.addresses.number,
        "hosts": [asdict(host) for host in place.hosts],
    }
    scratch = place.folder / f".{LAB_FILE}.new"
    scratch.write_text(json.dumps(content, indent=1))
    scratch.replace(place.folder / LAB_FILE)


def load(folder: Path) -> Place:
    """The lab of a folder. Raises OSError or ValueError when there is none."""
    content = json.loads((folder / LAB_FILE).read_text())
    hosts = tuple(HostSpec(**host) for host in content["hosts"])
    return Place(content["id"], folder, Addresses(content["number"]), hosts)


def all_labs() -> list[Place]:
    """Every lab that is written down, running or not."""
    found = []
    for file in sorted(home().glob(f"*/{LAB_FILE}")):
        try:
            found.append(load(file.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is going away while we look
    return found


def claim(folder: Path) -> None:
    """Say that this process guards the lab."""
    (folder / GUARDIAN).write_text(f"{os.getpid()} {processes.start_of(os.getpid())}")


def guardian_of(folder: Path) -> int | None:
    """The living guardian of a lab."""
    try:
        pid, _, start = (folder / GUARDIAN).read_text().partition(" ")
    except OSError:
        return None
    return int(pid) if pid and processes.is_running(int(pid), start) else None


def abandoned(folder: Path) -> bool:
    """Whether a lab without a guardian is older than a start takes, or nobody is there who starts it."""
    try:
        age = time.time() - (folder / LAB_FILE).stat().st_mtime
    except OSError:
        return False
    return (folder / GUARDIAN).exists() or age > YOUNG or not used(folder)


def use(folder: Path, *, keep: bool = False) -> None:
    """Say that this process uses the lab; with `keep`, that it stays until it is stopped."""
    name = KEPT if keep else str(os.getpid())
    (folder / OWNERS / name).write_text("" if keep else processes.start_of(os.getpid()) or "")


def leave(folder: Path) -> None:
    """Say that this process uses it no more."""
    (folder / OWNERS / str(os.getpid())).unlink(missing_ok=True)


def used(folder: Path) -> bool:
    """Whether anyone uses the lab; users that are dead are forgotten."""
    try:
        entries = list((folder / OWNERS).iterdir())
    except OSError:
        return False
    for entry in entries:
        if entry.name == KEPT:
            return True
        try:
            start = entry.read_text()
        except OSError:
            continue
        if processes.is_running(int(entry.name), start):
            return True
        entry.unlink(missing_ok=True)
    return False

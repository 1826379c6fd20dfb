"""Looking into the drop folders of a site, and having new files taken.

Belongs here: which file is ready, and the record of the looks that says that somebody watches. Not here: what becomes
of a file (take.py), which runs in a process of its own: reading a foreign file must not stop or swell who watches.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from homelab_platform.agents.drop.folders import FLOWS, DropFolder, drop_folders
from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.names import Say

LOOK_EVERY = 5.0
"""Seconds between looks, and for which a file must lie unchanged."""
RECORD = ".looks.json"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", "~")
MOST_AT_ONCE = 50
_TAKER = "homelab_platform.agents.drop.take"

State = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """One look into a folder: at a Unix time, how many files lay there, and why it could not be read, if so."""

    folder: str
    at: float
    files: int
    trouble: str = ""


class DropWatch:
    """Watches the drop folders of the site in `root`; `take` takes files of one stream and returns at their end."""

    def __init__(self, root: Path, say: Say, take: Callable[[Path, str, Sequence[Path]], None] | None = None) -> None:
        self._root = root
        self._say = say
        self._take = take or take_in_a_process
        self._seen: dict[Path, State] = {}
        self._stop = threading.Event()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop.wait(LOOK_EVERY):
            self.look()

    def start(self) -> threading.Thread:
        """Look beside the caller's own work until `stop`."""
        thread = threading.Thread(target=self.run, name="drop", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End `run` after the look that is under way."""
        self._stop.set()

    def look(self) -> None:
        """Look once into every folder, have the files taken that lie unchanged since the last look, and record it."""
        looks: dict[str, Look] = {}
        seen: dict[Path, State] = {}
        try:
            folders = drop_folders(self._root)
        except HomelabError as error:
            self._say(str(error))
            return
        for folder in folders:
            looks[folder.stream], states = _look(folder)
            seen |= states
            ready = [file for file, state in sorted(states.items()) if self._seen.get(file) == state]
            if ready:
                self._take(self._root, folder.stream, ready[:MOST_AT_ONCE])
        self._seen = seen
        text = orjson.dumps({stream: asdict(look) for stream, look in looks.items()})
        try:
            write_whole(self._root / FLOWS / RECORD, text, durable=False)
        except OSError as error:
            self._say(f"cannot record the looks into the drop folders: {error.strerror}")


def last_look(root: Path, stream: str) -> Look | None:
    """The last look into a stream's folder; None if there never was one."""
    try:
        return Look(**orjson.loads((root / FLOWS / RECORD).read_bytes())[stream])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _look(folder: DropFolder) -> tuple[Look, dict[Path, State]]:
    states: dict[Path, State] = {}
    try:
        folder.folder.mkdir(parents=True, exist_ok=True)
        for file in folder.folder.iterdir():
            if not file.name.startswith(".") and not file.name.endswith(UNFINISHED) and file.is_file():
                found = file.stat()
                states[file] = (found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        trouble = f"{folder.folder} cannot be read: {error.strerror}"
        return Look(str(folder.folder), time.time(), len(states), trouble), states
    return Look(str(folder.folder), time.time(), len(states)), states


def take_in_a_process(root: Path, stream: str, files: Sequence[Path]) -> None:
    """Take files in a process of its own, whose log is ours."""
    command = [sys.executable, "-m", _TAKER, "--site", str(root), "--stream", stream, *map(str, files)]
    subprocess.run(command, check=False)

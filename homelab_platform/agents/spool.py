"""The spool: readings on disk until the bucket has them.

Belongs here: appending durably, cutting what a crash left half written, bounding the size, one owner at a time. Not
here: what is written or where it goes (agents/collector/main.py).

A file is written by one run of one collector only, and is never touched again once it was offered to the bucket. So
its bytes, and with them the object's key, are the same at every retry, after a crash as well.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from homelab_platform.errors import HomelabError
from homelab_platform.files import lock_or_none

SUFFIX = ".ndjson"
MOST_BYTES = 64 * 1024 * 1024  # about a day of one machine
FILE_BYTES = 4 * 1024 * 1024  # a file that grew to this is closed even while the bucket is away


class Spool:
    """A folder of NDJSON files, oldest first by name. Take it with `with`: it is locked against a second owner."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, file_bytes: int = FILE_BYTES) -> None:
        self.folder = folder
        self._most = most_bytes
        self._file_bytes = file_bytes
        self._open: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._newest = ""
        self.dropped = 0  # files deleted unsent because the spool was full

    def __enter__(self) -> Spool:
        self._lock = lock_or_none(self.folder / ".lock")
        if self._lock is None:
            raise HomelabError.of(
                str(self.folder), "another collector writes into this spool", "Stop it first, or name another folder."
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.rotate()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def append(self, data: bytes) -> None:
        """Add whole lines, on the disk when this returns. Raises OSError when the disk is full or gone.

        What a failed write left behind is cut off again, so that no later line joins a torn one.
        """
        if self._open is None:
            self._open = (self.folder / self._next_name()).open("xb")
            _sync_folder(self.folder)
        start = self._open.tell()
        try:
            self._open.write(data)
            self._open.flush()
            os.fsync(self._open.fileno())
        except OSError:
            self._abandon(self._open, start)
            raise
        if start + len(data) >= self._file_bytes:
            self.rotate()
        self._bound()

    def _abandon(self, file: IO[bytes], length: int) -> None:
        """Close the file after a failed write, at the length it had before it; the next write starts another one."""
        self._open = None
        with suppress(OSError):
            file.close()  # its buffer still holds what could not be written
        os.truncate(file.name, length)

    def rotate(self) -> None:
        """Close the current file; what comes next goes into another one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def size(self) -> int:
        """Bytes in the current file."""
        return 0 if self._open is None else self._open.tell()

    def closed_files(self) -> list[Path]:
        """Every file but the current one, oldest first."""
        current = None if self._open is None else Path(self._open.name)
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if path != current)

    def _next_name(self) -> str:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        while name <= self._newest or (self.folder / (name + SUFFIX)).exists():
            name = f"{max(name, self._newest)}x"  # the clock stood still or went back: keep the order of writing
        self._newest = name
        return name + SUFFIX

    def _bound(self) -> None:
        files = self.closed_files()
        total = self.size + sum(path.stat().st_size for path in files)
        while total > self._most and files:
            oldest = files.pop(0)
            total -= oldest.stat().st_size
            oldest.unlink()
            self.dropped += 1
            print(f"collector: spool is full ({self._most} bytes), dropped {oldest.name} unsent", file=sys.stderr)  # noqa: T201 - the log of a background process


def whole_lines(path: Path) -> bytes:
    """The file's complete lines: what a power cut left of the last one is not a reading."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def content_name(path: Path, data: bytes) -> str:
    """A name for the object made of the file's name and its content: the same at every retry."""
    return f"{path.name.removesuffix(SUFFIX)}-{digest_name(data)}"


def digest_name(data: bytes) -> str:
    """What in an object's name stands for its content."""
    return hashlib.sha256(data).hexdigest()[:16]


def day_of(path: Path) -> date:
    """The day on which the file was begun, from its name."""
    return datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=UTC).date()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

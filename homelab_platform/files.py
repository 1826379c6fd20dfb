"""Files that are whole or not there, and locks that end with the process that holds them.

Belongs here: the one way to write a file in one step and to lock one. Not here: what is in the files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

OWNER_ONLY = 0o600
EVERYONE_READS = 0o644


def write_whole(file: Path, content: bytes | str, *, mode: int = OWNER_ONLY, durable: bool = True) -> bool:
    """Replace `file` in one step: a reader sees the old content or the new, never a part. Makes its folder.

    Returns False, and writes nothing, where the file has this content already. `durable` makes it survive a power cut.
    Raises OSError, and leaves the old file, if there is no room or no right to write.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if file.read_bytes() == data:
            return False
    except OSError:
        pass  # absent, or unreadable and about to be replaced
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            os.fchmod(stream.fileno(), mode)  # whatever the umask, which is that of a process of a site
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        scratch.replace(file)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(file.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of `file`, which is made, for the length of the block; waits for whoever holds it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # the kernel frees it when this process dies
        yield


def lock_or_none(file: Path) -> IO[bytes] | None:
    """Take the lock of `file`, which is made; held until the stream is closed. None while another process has it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    stream = file.open("ab")
    if not try_lock(stream.fileno()):
        stream.close()
        return None
    return stream


def try_lock(descriptor: int) -> bool:
    """Whether this open file has, or now got, its lock. The lock belongs to the open file: who inherits it holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

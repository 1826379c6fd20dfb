"""Making sure that objects survive a power cut before something else says that they exist.

Belongs here: flushing a file system. SeaweedFS acknowledges an object once the operating system has it; PostgreSQL's
commit goes to the disk itself. Without a flush in between, a power cut could keep a table's pointer and lose the files
that it points to. A kill of any process needs none of this.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from homelab_platform.errors import HomelabError


def settle(folder: Path | None) -> None:
    """Flush the file system that holds `folder`, where an S3 server here keeps its objects; None does nothing.

    Call it after the last object was acknowledged and before the commit that refers to it (syncfs(2): returns when all
    data and metadata of the file system are on the disk). Raises HomelabError when the disk reports an error.
    """
    if folder is None:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _syncfs(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HomelabError.of(
            str(folder),
            f"what was written cannot be flushed to the disk: {error.strerror or error}",
            "Nothing was committed. Look at the disk: `dmesg`, `df -h`, its SMART values.",
        ) from None


def _syncfs(descriptor: int) -> None:
    """syncfs(2) of the file system that holds an open file; where the C library lacks it, sync(2)."""
    flush = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if flush is None:
        os.sync()
    elif flush(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

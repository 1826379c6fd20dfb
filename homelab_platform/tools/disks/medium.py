"""A disk as bytes: reading and writing past the page cache, whole blocks at a time.

Belongs here: the one type that touches a device node. Not here: what is written (write.py, capacity.py), or what the
disk is and holds (probe.py).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from homelab_platform.errors import HomelabError

ALIGNMENT = 4096
"""What every direct transfer is a multiple of: no disk has a larger logical sector."""
_BLKSSZGET, _BLKFLSBUF, _BLKGETSIZE64, _BLKRRPART = 0x1268, 0x1261, 0x80081272, 0x125F
_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM)


class Medium(Protocol):
    """What a disk can do. `size` in bytes; `sector` is what it writes as one: a reader sees all of it or nothing."""

    path: str
    size: int
    sector: int

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write all of `data`, aligned memory whose length is a multiple of `sector`, at the byte `offset`."""

    def read_at(self, offset: int, into: memoryview) -> None:
        """Fill all of `into` from the byte `offset`, from the disk itself once `sync` was called."""

    def sync(self) -> None:
        """Return when everything written is on the disk; nothing of it is answered from memory afterwards."""


def aligned(length: int) -> memoryview:
    """Zeroed memory that direct transfers take: it begins at a page."""
    return memoryview(mmap.mmap(-1, length))


class DirectMedium:
    """A block device, or a file in its place, opened for this process alone."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        self._device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        self.size = self._ask(_BLKGETSIZE64, "Q") if self._device else os.fstat(descriptor).st_size
        self.sector = self._ask(_BLKSSZGET, "I") if self._device else ALIGNMENT

    def _ask(self, request: int, form: str) -> int:
        answer = fcntl.ioctl(self._descriptor, request, bytes(struct.calcsize(form)))
        (number,) = struct.unpack(form, answer)
        return int(number)

    def write_at(self, offset: int, data: memoryview) -> None:
        """See Medium. Raises HomelabError for a disk that fails or was pulled out."""
        with self._failures(offset):
            while data:
                written = os.pwrite(self._descriptor, data, offset)
                data, offset = data[written:], offset + written

    def read_at(self, offset: int, into: memoryview) -> None:
        """See Medium. Raises HomelabError for a disk that fails or was pulled out."""
        with self._failures(offset):
            while into:
                got = os.preadv(self._descriptor, [into], offset)
                if not got:
                    raise OSError(errno.EIO, "the disk ends here")
                into, offset = into[got:], offset + got

    def sync(self) -> None:
        """See Medium. Raises HomelabError for a disk that fails or was pulled out."""
        with self._failures(None):
            os.fsync(self._descriptor)
            if self._device:
                fcntl.ioctl(self._descriptor, _BLKFLSBUF)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def read_partitions(self) -> None:
        """Have the kernel read the partition table anew; kernels that read none, and files, are left as they are."""
        if self._device:
            try:
                fcntl.ioctl(self._descriptor, _BLKRRPART)
            except OSError:
                return  # the next plug reads it

    @contextmanager
    def _failures(self, offset: int | None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            at = "" if offset is None else f" at byte {offset:,}"
            if error.errno in _GONE:
                raise HomelabError.of(
                    self.path, f"was pulled out{at}; what is on it does not start", "Plug it in and flash it again."
                ) from None
            raise HomelabError.of(
                self.path,
                f"input/output failed{at}: {error.strerror}",
                "The card, disk or reader is damaged. Try another reader, then another card.",
            ) from None


@contextmanager
def open_medium(path: str) -> Iterator[DirectMedium]:
    """Open a disk for writing, exclusively: while it is open nobody mounts it.

    Raises HomelabError if it is in use, write-protected, absent, or not ours to write.
    """
    try:
        descriptor = _open(path)
    except OSError as error:
        raise _cannot_open(path, error) from None
    try:
        yield DirectMedium(path, descriptor)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    exclusive = os.O_EXCL if stat.S_ISBLK(Path(path).stat().st_mode) else 0
    try:
        return os.open(path, os.O_RDWR | os.O_DIRECT | exclusive)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without direct transfers
            raise
        return os.open(path, os.O_RDWR | exclusive)


def _cannot_open(path: str, error: OSError) -> HomelabError:
    remedies = {
        errno.EBUSY: ("is in use", "Unmount it, swapoff it, or export its pool; then flash again."),
        errno.EROFS: ("is write-protected", "Move the card's lock, or take another reader."),
        errno.ENOENT: ("does not exist", "lsblk lists the disks of this machine."),
        errno.EACCES: ("may not be written by this account", f"sudo chown $USER {path}, until it is pulled out."),
        errno.ENOMEDIUM: ("holds no card", "Put the card in."),
    }
    what, remedy = remedies.get(error.errno or 0, (f"cannot be opened: {error.strerror}", ""))
    return HomelabError.of(path, what, remedy)

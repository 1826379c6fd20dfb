"""An image file as a stream of bytes, compressed or not.

Belongs here: opening, counting and checking an image file. Not here: where its bytes go (write.py).
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from homelab_platform.errors import HomelabError

SUFFIXES = (".img", ".iso", ".img.xz", ".img.gz", ".img.zst", ".iso.xz", ".iso.gz", ".iso.zst")
_CHUNK = 4 << 20
DAMAGED = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)
"""What the readers raise for a file that ends early or is damaged."""


@dataclass(frozen=True)
class Image:
    """An image file: `size` of its content in bytes, `sha256` of the file as it lies there if that was asked for."""

    path: Path
    size: int
    sha256: str = ""


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        """Fill `into`; how many bytes there were."""
        got = self._stream.readinto(into)  # type: ignore[attr-defined]
        self.digest.update(into[:got])
        return int(got)


def survey(path: Path, expected: str | None = None) -> Image:
    """Read an image once from end to end: its size, and that it is whole, before any disk is touched.

    `expected` is the SHA-256 of the file; else the one in `<file>.sha256` beside it counts, if there is one. An
    uncompressed file without either is only measured.

    Raises HomelabError for a file that is absent, damaged, of an unknown kind or not the expected one.
    """
    _check_kind(path)
    wanted = (expected or written_sum(path)).lower()
    plain = path.suffix in (".img", ".iso")
    try:
        if plain and not wanted:
            size, digest = path.stat().st_size, ""
        else:
            size, digest = _read_through(path)
    except DAMAGED as error:
        raise damaged(path, error) from None
    if wanted and digest != wanted:
        raise HomelabError.of(
            str(path),
            f"has the SHA-256 {digest}, not {wanted}",
            "Download it again, or take its sum from where the image comes from.",
        )
    if not size:
        raise HomelabError.of(str(path), "is empty", "Download or build it again.")
    return Image(path, size, digest)


def _check_kind(path: Path) -> None:
    if not path.name.endswith(SUFFIXES):
        listed = ", ".join(SUFFIXES)
        raise HomelabError.of(str(path), "is no image of a known kind", f"Known are {listed}; unpack a .zip first.")


def written_sum(path: Path) -> str:
    """The SHA-256 in the file `<path>.sha256`, as sha256sum writes it; empty if there is none."""
    beside = path.with_name(f"{path.name}.sha256")
    try:
        text = beside.read_text()
    except FileNotFoundError:
        return ""
    found = re.match(r"\s*([0-9a-fA-F]{64})\b", text)
    if found is None:
        raise HomelabError.of(str(beside), "holds no SHA-256", "Remove it, or download it again.")
    return found[1]


def _read_through(path: Path) -> tuple[int, str]:
    """Size of the content, SHA-256 of the file."""
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        hashed = _Hashed(file)
        size = 0
        with opened(path, hashed) as content:
            while got := fill(content, buffer):
                size += got
        while hashed.read(_CHUNK):
            pass  # whatever follows the last compressed frame belongs to the sum
    return size, hashed.digest.hexdigest()


def opened(path: Path, file: IO[bytes] | io.RawIOBase) -> IO[bytes]:
    """The content of an image whose bytes are read from `file`."""
    if path.suffix == ".xz":
        return lzma.LZMAFile(file)  # type: ignore[arg-type]
    if path.suffix == ".gz":
        return _gzip(file)
    return _zstandard(file) if path.suffix == ".zst" else file  # type: ignore[return-value]


def _gzip(file: IO[bytes] | io.RawIOBase) -> IO[bytes]:
    from isal import igzip

    return igzip.open(file)  # type: ignore[no-any-return,no-untyped-call]


def _zstandard(file: IO[bytes] | io.RawIOBase) -> IO[bytes]:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")  # type: ignore[no-any-return]


def fill(content: IO[bytes], buffer: memoryview) -> int:
    """Read until `buffer` is full or the content ends; how many bytes there are."""
    got = 0
    while got < len(buffer):
        more = content.readinto(buffer[got:])  # type: ignore[attr-defined]
        if not more:
            break
        got += more
    return got


def damaged(path: Path, error: BaseException) -> HomelabError:
    """The error for a file that cannot be read to its end."""
    return HomelabError.of(str(path), f"cannot be read to its end: {error}", "Download or build it again.")


def file_sum(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

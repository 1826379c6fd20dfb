"""What an object holds: its format, its bytes as UTF-8, how its table is written. One look, for guess and ingest alike.

Belongs here: decompression, encoding, telling formats apart. Not here: lines (lines.py), tables (wire/tabular.py),
records (files.py, foreign.py).
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from isal import isal_zlib

from homelab_platform.readings.decode.foreign import SUFFIXES, Kind, kind_of
from homelab_platform.readings.decode.lines import GZIP_MAGIC, PARQUET_MAGIC, BrokenObject, LongLine, blocks
from homelab_platform.wire import tabular
from homelab_platform.wire.tabular import HEAD_BYTES, Form, Options

PIECE = 1 << 16
_TABLES = (".csv", ".tsv", ".txt")


class _Rewinding(io.RawIOBase):
    """A stream made from another, which can be read again from its start and from nowhere else."""

    _stream: BinaryIO

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """To the start only."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Back to the start."""
        if offset or whence:
            raise io.UnsupportedOperation("only to the start")
        self._stream.seek(0)
        self._begin()
        return 0

    def _begin(self) -> None:
        """Forget what was read."""
        raise io.UnsupportedOperation("made from nothing")


class Gunzip(_Rewinding):
    """The plain bytes of gzip members one after the other; it can be wound back to its start.

    Bytes behind the last member that are neither gzip nor padding are counted in `trailing` and left out. Raises
    EOFError and zlib errors as the standard library's reader does.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.seek(0)

    def _begin(self) -> None:
        self._member: Any = isal_zlib.decompressobj(wbits=31)
        self._fed = False
        self._rest = b""
        self._ready = b""
        self.trailing = 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; less than its size only at the end."""
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            if not self._ready:
                self._ready = self._next(len(view) - filled)
                if not self._ready:
                    break
            count = min(len(self._ready), len(view) - filled)
            view[filled : filled + count] = self._ready[:count]
            self._ready = self._ready[count:]
            filled += count
        return filled

    def _next(self, most: int) -> bytes:
        """The next plain bytes; empty at the end."""
        while True:
            if self._member.eof and not self._next_member():
                return b""
            piece = self._rest or self._member.unconsumed_tail or self._stream.read(PIECE)
            if not piece:
                if self._fed:
                    raise EOFError("it breaks off")
                return b""
            self._rest = b""
            self._fed = True
            found: bytes = self._member.decompress(piece, max(most, PIECE))
            if found:
                return found

    def _next_member(self) -> bool:
        """Begin the member behind the one that ended; False when there is none."""
        if isinstance(self._member, _Ended):
            return False
        rest = self._member.unused_data.lstrip(b"\0")
        while len(rest) < 2 and (more := self._stream.read(PIECE)):
            rest = (rest + more).lstrip(b"\0")
        if rest[:2] != GZIP_MAGIC:
            self.trailing = len(rest) + sum(len(more) for more in iter(lambda: self._stream.read(PIECE), b""))
            self._fed = False
            self._member, self._rest = _Ended(), b""
            return False
        self._member, self._rest, self._fed = isal_zlib.decompressobj(wbits=31), rest, False
        return True


class _Ended:
    """In place of a decompressor behind the last member."""

    eof = True
    unused_data = b""
    unconsumed_tail = b""


class Recoded(_Rewinding):
    """A text in another encoding as UTF-8; bytes that the encoding does not have become U+FFFD."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._encoding = encoding
        self.seek(0)

    def _begin(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        self._ready = b""
        self._ended = False

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; less than its size only at the end."""
        view, filled = memoryview(buffer), 0
        while filled < len(view):
            if not self._ready:
                if self._ended:
                    break
                piece = self._stream.read(PIECE)
                self._ended = not piece
                self._ready = self._decoder.decode(piece, final=self._ended).encode("utf-8", "replace")
                continue
            count = min(len(self._ready), len(view) - filled)
            view[filled : filled + count] = self._ready[:count]
            self._ready = self._ready[count:]
            filled += count
        return filled


@dataclass(frozen=True)
class Content:
    """An object's format and its bytes, plain and in UTF-8; `form` for a table, `encoding` as it was found."""

    kind: Kind
    stream: BinaryIO
    compressed: bool
    form: Form | None = None
    encoding: str = "utf-8"
    notes: tuple[str, ...] = ()
    gunzip: Gunzip | None = None

    def lines(self) -> Iterator[str]:
        """Its lines of text, each with its end. Raises BrokenObject for one over 1 MiB."""
        for piece in blocks(self.stream):
            if isinstance(piece, LongLine):
                raise BrokenObject(f"a line of {piece.length} bytes: more than 1 MiB")
            for line in piece.tobytes().splitlines(keepends=True):
                yield line.decode("utf-8", "surrogateescape")

    @property
    def trailing(self) -> int:
        """Bytes behind the end of gzip data that were left out, once all of it was read."""
        return 0 if self.gunzip is None else self.gunzip.trailing


def open_content(stream: BinaryIO, suffix: str, options: Options = Options()) -> Content:  # noqa: B008 - immutable
    """Look into a seekable stream. `suffix` (of an object's key, without `.gz`) settles the format where it is one of
    foreign.SUFFIXES; for a table, or with an empty suffix, the content decides. Raises BrokenObject with the reason.
    """
    start = stream.read(4)
    stream.seek(0)
    if start == PARQUET_MAGIC or suffix == ".parquet":
        return Content("parquet", stream, False)
    gunzip = Gunzip(stream) if start[:2] == GZIP_MAGIC else None
    plain: BinaryIO = stream if gunzip is None else gunzip  # type: ignore[assignment]
    asked = SUFFIXES.get(suffix, "ndjson" if suffix not in ("", *_TABLES) else None)
    if asked == "ndjson" and not options.encoding:
        return Content("ndjson", plain, gunzip is not None, gunzip=gunzip)
    return _text_content(plain, gunzip, asked, options)


def _text_content(plain: BinaryIO, gunzip: Gunzip | None, asked: Kind | None, options: Options) -> Content:
    head, whole = _head(plain)
    try:
        encoding, note = tabular.encoding_of(head, whole, options.encoding)
        text = _decoded(head, encoding, whole)
        kind = asked or kind_of(text)
        if not text.strip("\0 \t\r\n"):
            raise tabular.Unreadable("holds nothing but blank")
        form = tabular.form_of(text.splitlines(keepends=True), options) if kind == "csv" else None
    except tabular.Unreadable as error:
        raise BrokenObject(str(error)) from None
    utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    stream: BinaryIO = plain if utf8 else Recoded(plain, encoding)  # type: ignore[assignment]
    return Content(kind, stream, gunzip is not None, form, encoding, (note,) if note else (), gunzip)


def _head(plain: BinaryIO) -> tuple[bytes, bool]:
    """The first bytes, and whether that is all. Raises BrokenObject for damaged gzip."""
    try:
        data = plain.read(HEAD_BYTES + 1)
        while len(data) <= HEAD_BYTES and (more := plain.read(HEAD_BYTES + 1 - len(data))):
            data += more
    except (EOFError, zlib.error, isal_zlib.error) as error:  # type: ignore[misc]
        raise BrokenObject(f"damaged gzip: {error}") from None
    plain.seek(0)
    return data[:HEAD_BYTES], len(data) <= HEAD_BYTES


def _decoded(head: bytes, encoding: str, whole: bool) -> str:
    """The head's whole lines as text, as the lines of the content will be."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = decoder.decode(head, final=whole).removeprefix("\ufeff")
    if whole or "\n" not in text:
        return text.replace("\u2028", " ").replace("\u2029", " ").replace("\x85", " ")
    return text[: text.rfind("\n") + 1].replace("\u2028", " ").replace("\u2029", " ").replace("\x85", " ")

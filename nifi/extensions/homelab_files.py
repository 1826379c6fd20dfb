"""A file that somebody dropped, unchanged into the raw bucket: what it is, its columns, sending it, where it goes then.

Belongs here: everything of a file drop but NiFi (TakeFile.py). Not here: reading the file, which ingest does; here only
what makes a file unfit as a whole is found, so that its sender sees it beside the file. Sizes do not matter: a file is
read in pieces, twice. Standard library only, Python 3.9 or later: it runs inside NiFi, also in upstream's image.
"""

from __future__ import annotations

import codecs
import hashlib
import http.client
import json
import os
import re
import ssl
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

try:
    import homelab_tabular as tabular
except ImportError:  # in the project itself, where it has another name
    from homelab_platform.wire import tabular
from homelab_s3 import Target, Unavailable, sign

PIECE = 1 << 20
GZIP_PIECE = 1 << 16
"""Bytes that are unpacked at once: a thousand times as many at most."""
LARGEST = 5 << 30
"""Bytes that S3 takes in one request (PutObject)."""
MOST_METADATA = 1800
MAPPING = "x-amz-meta-homelab-mapping"
OURS = ("ts", "device", "sensor", "value", "site", "unit", "quality")
DONE, REFUSED = "done", "refused"
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet: unpack it, or save it as CSV"),
    (b"\xfd7zXZ\x00", "compressed by xz: unpack it, or use gzip"),
    (b"BZh", "compressed by bzip2: unpack it, or use gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it, or use gzip"),
    (b"SQLite format 3\x00", "an SQLite database: export its table as CSV"),
    (b"%PDF", "a PDF"),
)
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_SUFFIXES = (".gz", ".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", ".parquet")


class Unfit(Exception):
    """The file cannot be ingested as it is; the text says why and what to do."""


class Moved(Exception):
    """The file is not what it was when it was listed: somebody writes it still, or took it away."""


class Known(NamedTuple):
    """What the stream says of its files: format (`any` or one), their columns to ours, its only device and sensor."""

    format: str = "any"
    columns: dict[str, str] = {}
    device: str = ""
    sensor: str = ""


class Look(NamedTuple):
    """What a file is: format, whether gzip, how its columns are to be read (JSON, or empty), hash of its bytes."""

    format: str
    compressed: bool
    mapping: str
    digest: bytes


def look(path: Path, known: Known) -> Look:
    """Read the file once and say what it is. Raises Unfit with the reason, Moved when it changes under our eyes."""
    before = _state(path)
    if before[0] == 0:
        raise Unfit("it is empty")
    if before[0] > LARGEST:
        raise Unfit(f"it holds {before[0]} bytes; {LARGEST} is the most that is taken at once: split it")
    with path.open("rb") as file:
        start = file.read(16)
        for magic, what in _FOREIGN:
            if start.startswith(magic):
                raise Unfit(f"it is {what}")
        file.seek(0)
        digest, head, compressed = _read_through(file)
    if _state(path) != before:
        raise Moved
    found = _format(path, head, before[0])
    if known.format not in ("any", found):
        raise Unfit(f"it is {found}, and the stream takes {known.format}")
    return Look(found, compressed, _mapping(found, head, known), digest)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Moved from None
    return found.st_size, found.st_mtime_ns


def state_ms(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ms, as NiFi's ListFile gives them. Raises Moved when it is gone."""
    size, changed = _state(path)
    return size, changed // 1_000_000


def _read_through(file: IO[bytes]) -> tuple[bytes, bytes, bool]:
    """The hash of all bytes, the first plain ones, whether they are gzip. Raises Unfit for damaged gzip."""
    digest, head, inside = hashlib.sha256(), b"", False
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    member = zlib.decompressobj(wbits=31)
    for piece in iter(lambda: file.read(GZIP_PIECE if compressed else PIECE), b""):
        digest.update(piece)
        rest = piece if compressed else b""
        head = head or (b"" if compressed else piece)
        try:
            while rest:
                plain = member.decompress(rest)
                head = head if len(head) >= PIECE else head + plain
                rest, inside = member.unused_data.lstrip(b"\0"), not member.eof
                member = member if inside else zlib.decompressobj(wbits=31)
        except zlib.error as error:
            raise Unfit(f"its gzip is damaged: {error}") from None
    if inside:
        raise Unfit("its gzip breaks off: it was not written to its end")
    return digest.digest(), head, compressed


def _format(path: Path, head: bytes, size: int) -> str:
    if head.startswith(b"PAR1"):
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise Unfit("it is a gzipped Parquet file: unpack it")
            file.seek(max(0, size - 4))
            if size < 12 or file.read(4) != b"PAR1":
                raise Unfit("its Parquet breaks off: it was not written to its end")
        return "parquet"
    first = head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1]
    if not first:
        raise Unfit("it holds nothing but blank")
    if first == b"[":
        raise Unfit("it is one JSON array: write one object per line, e.g. with `jq -c '.[]'`")
    if first == b"<":
        raise Unfit("it is HTML or XML")
    if first != b"{" and tabular.is_binary(head[: tabular.HEAD_BYTES]):
        raise Unfit("it is neither text nor Parquet")
    return "ndjson" if first == b"{" else "csv"


def _mapping(found: str, head: bytes, known: Known) -> str:
    """How the columns are to be read, as the object's metadata says it; empty when they are the table's own."""
    header = _header(head) if found == "csv" else None
    has = set(header or ())
    missing = [column for column in known.columns if header is not None and column not in has]
    if missing:
        raise Unfit(f"it has no column {', '.join(missing)} (it has {', '.join(sorted(has))})")
    fields: dict[str, Any] = {ours: {"column": theirs} for theirs, ours in known.columns.items() if ours in OURS}
    measured = {theirs: ours for theirs, ours in known.columns.items() if ours not in OURS}
    if len(measured) == 1 and "value" not in fields:
        ((theirs, ours),) = measured.items()
        fields |= {"sensor": {"const": ours}, "value": {"column": theirs}}
    if header is not None:
        for name, text in (("device", known.device), ("sensor", known.sensor)):
            if text and name not in has and name not in fields and (name == "device" or len(measured) <= 1):
                fields[name] = {"const": text}
        melted = ("sensor", "value") if len(measured) > 1 else ()
        lacks = [name for name in ("ts", "device", "sensor", "value") if name not in {*has, *fields, *melted}]
        if lacks:
            raise Unfit(
                f"it has no column {', '.join(lacks)} (it has {', '.join(header)}): say in the lab file what its"
                " columns are (from: {files: {path: …, columns: {theirs: ours}}})"
            )
    mapping: dict[str, Any] = dict(fields)
    if len(measured) > 1:
        mapping |= {
            "melt": list(measured),
            "names": {theirs: ours for theirs, ours in measured.items() if theirs != ours},
        }
        if not mapping["names"]:
            del mapping["names"]
    text = json.dumps(mapping, sort_keys=True, separators=(",", ":")) if mapping else ""
    if len(text) > MOST_METADATA:
        raise Unfit("its columns are too many to describe: split it")
    return text


def _header(head: bytes) -> list[str]:
    """The columns of a table of text, found as ingest finds them. Raises Unfit with the cause and the way out."""
    try:
        encoding, _ = tabular.encoding_of(head, len(head) < PIECE)
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\ufeff")
        form = tabular.form_of(text[: tabular.HEAD_BYTES].splitlines(keepends=True))
    except tabular.Unreadable as error:
        raise Unfit(f"it {error}") from None
    return [name for name in form.names if name]


def key_of(stream: str, path: Path, found: Look) -> str:
    """The object's key: the same for the same bytes read in the same way, whoever sends them."""
    stem = path.name
    for suffix in _SUFFIXES:
        stem = stem[: -len(suffix)] if stem.endswith(suffix) else stem
    digest = hashlib.sha256(found.digest + found.mapping.encode()).hexdigest()[:24]
    name = _UNFIT.sub("-", stem).strip("-.")[:100] or "unnamed"
    return f"{stream}/files/{digest}-{name}.{found.format}{'.gz' if found.compressed else ''}"


def send(target: Target, path: Path, key: str, found: Look, timeout: float = 60) -> bool:
    """Put the file's bytes under the key; False when they were there already.

    Raises Unavailable when the bucket does not take them, Moved when they are not those that were looked at: then no
    object is made.
    """
    place = urlsplit(target.url)
    address = f"{place.path.rstrip('/')}/{quote(target.bucket)}/{quote(key, safe='/-_.~')}"
    size = _state(path)[0]
    headers = {"Host": place.netloc, **({MAPPING: found.mapping} if found.mapping else {})}
    signed = sign(target, address, headers, found.digest.hex(), datetime.now(timezone.utc))
    signed |= {"content-length": str(size), "If-None-Match": "*"}
    make: Any = http.client.HTTPConnection
    more = {}
    if place.scheme == "https":
        make, more = http.client.HTTPSConnection, {"context": ssl.create_default_context()}
    connection = make(place.hostname or "", place.port, timeout=timeout, **more)
    try:
        with path.open("rb") as file:
            connection.request("PUT", address, _Watched(file, size, found.digest), signed)
        answer = connection.getresponse()
        said = answer.read(2000).decode("utf-8", "replace")
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise Unavailable(f"cannot reach the bucket: {type(error).__name__}: {error}") from None
    finally:
        connection.close()
    if answer.status in (200, 201, 204):
        return True
    if answer.status == 412:
        return False
    code = said.partition("<Code>")[2].partition("</Code>")[0]
    raise Unavailable(f"the bucket answers {answer.status} {code or answer.reason}")


class _Watched:
    """The file while it is sent. Its last piece is held back until all of it has been seen to be what was looked at."""

    def __init__(self, file: IO[bytes], size: int, digest: bytes) -> None:
        self._file, self._left, self._digest = file, size, digest
        self._hash = hashlib.sha256()

    def read(self, _size: int = -1) -> bytes:
        """The next piece. Raises Moved instead of the last one of a file that changed."""
        piece = self._file.read(min(PIECE, self._left))
        self._hash.update(piece)
        self._left -= len(piece)
        ended = self._left == 0 or not piece
        if ended and (self._left or (piece and (self._file.read(1) or self._hash.digest() != self._digest))):
            raise Moved
        return piece


def put_away(path: Path, folder: str, digest: bytes, reason: str = "") -> Path:
    """Move the file into a folder beside it, with the reason, if any, in a text file. Nothing there is overwritten."""
    goal = path.parent / folder
    goal.mkdir(exist_ok=True)
    target = goal / path.name
    if target.exists() and _digest(target) != digest:
        target = goal / f"{path.stem}-{digest.hex()[:12]}{path.suffix}"
    if reason:
        (goal / f"{target.name}.reason.txt").write_text(f"{path.name}: {reason}\n", encoding="utf-8")
    os.replace(path, target)  # noqa: PTH105 - as in Python's own words: one step, or none
    return target


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            digest.update(piece)
    return digest.digest()


def digest_of(path: Path) -> bytes:
    """The hash of a file's bytes."""
    return _digest(path)

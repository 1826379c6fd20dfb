"""What a copy holds, written last: a hash for each file, counts and checksums of rows. A drill compares with it.

Belongs here: the typed manifest, its hash tree, and comparing a folder with it. Not here: how an item is copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole

FILE = "manifest.json"
CHUNK = 1 << 20


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Frozen):
    """One file of a copy. `name` is what it was (an object's address, a path), `path` where it lies in the copy.

    `etag` is the server's, for objects: what has the same etag and size need not be fetched again.
    """

    name: str
    path: str
    size: int
    sha256: str
    etag: str = ""


class Rows(_Frozen):
    """Rows of a table: how many, and a checksum that does not depend on their order (a sum of hashes, as text)."""

    count: int
    checksum: str = ""


class LakeTable(_Frozen):
    """An Iceberg table at the moment of the copy; `files` are its data files with their rows, by address."""

    metadata: str
    snapshot: int | None
    rows: Rows
    files: dict[str, Rows] = {}


class Manifest(_Frozen):
    """A copy of one item. `root` is the hash over all files; `tables` are rows of databases by `database.table`."""

    format: int = 1
    item: str
    method: str
    run: str
    made: datetime
    files: tuple[FileEntry, ...]
    root: str
    tables: dict[str, Rows] = {}
    lake: dict[str, LakeTable] = {}
    ledger: Rows | None = None
    engine: str = ""  # whose row checksums the lake's are

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def save(self, folder: Path) -> None:
        """Write it into the copy's folder, whole or not at all."""
        write_whole(folder / FILE, self.model_dump_json(indent=1))


class Named(Protocol):
    """An item, as far as a manifest names it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def method(self) -> str:
        """How it is saved."""


def write_manifest(
    folder: Path,
    *,
    item: Named,
    run: str,
    files: Iterable[FileEntry],
    tables: Mapping[str, Rows] | None = None,
    lake: Mapping[str, LakeTable] | None = None,
    ledger: Rows | None = None,
    engine: str = "",
) -> Manifest:
    """Complete the copy in `folder`: write down, last of all, what it holds."""
    ordered = tuple(sorted(files, key=lambda entry: entry.name))
    made = Manifest(
        item=item.name,
        method=item.method,
        run=run,
        made=datetime.now(UTC),
        files=ordered,
        root=root_of(ordered),
        tables=dict(tables or {}),
        lake=dict(lake or {}),
        ledger=ledger,
        engine=engine,
    )
    made.save(folder)
    return made


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a copy. Raises HomelabError if there is none, or if it cannot be understood."""
    try:
        return Manifest.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise HomelabError.of(str(folder), f"holds no {FILE}: the copy was never completed", "") from None
    except ValidationError as error:
        raise HomelabError.of(str(folder / FILE), f"cannot be read: {error.errors()[0]['msg']}", "") from None


def previous_files(folder: Path) -> dict[str, FileEntry]:
    """The files of the copy that was made here before, by name; none where there is no copy."""
    try:
        return {entry.name: entry for entry in load_manifest(folder).files}
    except HomelabError:
        return {}


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def root_of(files: Iterable[FileEntry]) -> str:
    """The hash over names, sizes and hashes of all files, in the order of their names."""
    lines = sorted(f"{entry.sha256} {entry.size} {entry.name}\n" for entry in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare_files(manifest: Manifest, folder: Path) -> list[str]:
    """Where the files below `folder` are not those of the manifest, a line each; reads every byte."""
    found: list[str] = []
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file():
            found.append(f"{entry.name}: is missing")
        elif path.stat().st_size != entry.size:
            found.append(f"{entry.name}: {path.stat().st_size} bytes, saved were {entry.size}")
        elif hash_file(path) != entry.sha256:
            found.append(f"{entry.name}: its bytes changed")
    if root_of(manifest.files) != manifest.root:
        found.append("the manifest's own hash does not fit its files")
    return found


def compare_rows(expected: Mapping[str, Rows], found: Mapping[str, Rows]) -> list[str]:
    """Where tables do not hold the rows that were saved, a line each."""
    lines: list[str] = []
    for name, rows in sorted(expected.items()):
        got = found.get(name)
        if got is None:
            lines.append(f"{name}: the table is missing")
        elif got.count != rows.count:
            lines.append(f"{name}: {got.count} rows, saved were {rows.count}")
        elif rows.checksum and got.checksum != rows.checksum:
            lines.append(f"{name}: {got.count} rows, and their checksum is another")
    return lines

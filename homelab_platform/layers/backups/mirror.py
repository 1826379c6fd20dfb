"""Objects of an S3 server as files of a folder, fetched once: objects that did not change are not fetched again.

Belongs here: file names for keys, fetching with hashes, dropping what is no longer wanted. Not here: which objects
belong to a copy (lake.py, bucket.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.manifest import CHUNK, FileEntry, Manifest
from homelab_platform.tools.objects.client import ObjectInfo, ObjectStore

FOLDER = "objects"
LEAST_SHARE = 0.8
"""Of a bucket's objects in the copy before, at least this share must still be there."""
LONGEST = 200  # bytes of a part of a file name; file systems allow 255
_SAFE = " !#$&'()+,-=@^_~"


def stored_path(bucket: str, key: str) -> str:
    """Where an object lies in a copy. Keys that no file system takes are stored by their hash."""
    parts = [quote(part, safe=_SAFE) for part in key.split("/")]
    if any(part in ("", ".", "..") or len(part) > LONGEST for part in parts) or len(key) > 8 * LONGEST:
        return f"{FOLDER}/{bucket}/{_by_hash(key)}"
    return f"{FOLDER}/{bucket}/{'/'.join(parts)}"


def _by_hash(key: str) -> str:
    return f"%/{hashlib.sha256(key.encode()).hexdigest()}"  # no quoted key begins with a bare %


class Mirror:
    """The objects of one copy below `folder`; `known` are the entries of the copy that was made there before."""

    def __init__(self, store: ObjectStore, folder: Path, known: Mapping[str, FileEntry]) -> None:
        self._store = store
        self.folder = folder
        self._known = known
        self.entries: dict[str, FileEntry] = {}
        self.fetched = 0

    def take(self, bucket: str, info: ObjectInfo) -> FileEntry:
        """Have the object in the folder. Raises what the store raises if it cannot be read."""
        name = f"s3://{bucket}/{info.key}"
        entry = self._known.get(name)
        if entry is None or (entry.etag, entry.size) != (info.etag, info.size) or not self._lies_there(entry):
            entry = self._fetch(name, bucket, info)
        self.entries[name] = entry
        return entry

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """What the server knows of an object; None when it is not there."""
        return self._store.head(bucket, key)

    def _lies_there(self, entry: FileEntry) -> bool:
        path = self.folder / entry.path
        return path.is_file() and path.stat().st_size == entry.size

    def _fetch(self, name: str, bucket: str, info: ObjectInfo) -> FileEntry:
        path, stored = self._place(bucket, info.key)
        digest, size = hashlib.sha256(), 0
        scratch = path.with_name(f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.new")
        with self._store.open(bucket, info.key) as stream, scratch.open("wb") as out:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += out.write(chunk)
        moment = info.last_modified.timestamp()
        os.utime(scratch, (moment, moment))  # the same file again is then seen to be unchanged
        scratch.replace(path)
        self.fetched += 1
        return FileEntry(name=name, path=stored, size=size, sha256=digest.hexdigest(), etag=info.etag)

    def _place(self, bucket: str, key: str) -> tuple[Path, str]:
        """The object's file, by its hash where another object's file or folder is in the way (`a` and `a/b`)."""
        stored = stored_path(bucket, key)
        path = self.folder / stored
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                return path, stored
        except (FileExistsError, NotADirectoryError):
            pass
        stored = f"{FOLDER}/{bucket}/{_by_hash(key)}"
        path = self.folder / stored
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, stored

    def keep_only(self, names: Iterable[str]) -> None:
        """Leave out of the copy what is not among these objects."""
        wanted = set(names)
        self.entries = {name: entry for name, entry in self.entries.items() if name in wanted}

    def drop_others(self) -> int:
        """Delete files that are no part of this copy; returns how many."""
        wanted = {self.folder / entry.path for entry in self.entries.values()}
        gone = 0
        for path in sorted((self.folder / FOLDER).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in wanted:
                path.unlink()
                gone += 1
        return gone


def refuse_shrunk(bucket: str, found: int, before: Manifest | None, *, shrunk: bool) -> None:
    """Raise HomelabError if a bucket lost more than a fifth of its objects since the copy `before`, unless a person
    knows (`shrunk`).
    """
    known = sum(entry.name.startswith(f"s3://{bucket}/") for entry in before.files) if before else 0
    if before and found < known * LEAST_SHARE and not shrunk:
        raise HomelabError.of(
            f"bucket {bucket}",
            f"holds {found} objects, the backup before {known}",
            f"Nothing was saved. If they were deleted on purpose: homelab backup run {before.item} --shrunk.",
        )


def upload(store: ObjectStore, folder: Path, entries: Iterable[FileEntry]) -> int:
    """Put a copy's objects where they were, but for those that are there already with their size and etag.

    Returns how many were written. Raises what the store raises.
    """
    written = 0
    listed: dict[str, dict[str, ObjectInfo]] = {}
    for entry in entries:
        bucket, _, key = entry.name.removeprefix("s3://").partition("/")
        if bucket not in listed:
            listed[bucket] = {info.key: info for info in store.list(bucket)}
        there = listed[bucket].get(key)
        if there is not None and (there.size, there.etag) == (entry.size, entry.etag):
            continue
        with (folder / entry.path).open("rb") as stream:
            store.put(bucket, key, stream.read() if entry.size <= CHUNK else stream)
        written += 1
    return written

"""Folders of a host as one item, fetched over SSH: its files at one moment, its SQLite databases by their own backup.

Belongs here: the copy, its check against what the host itself counted and hashed, and laying one down at the host. Not
here: the commands that are run there (host_commands.py), which folders a host has (sites/host_backups.py).

The copy is made here and not at the host: a host's restic is mostly too old to be believed (0.18 and older end with 0
although sources were missing), and small processors have none. It is staged, as all items are, so that every target
gets the same moment and the copy is compared before a byte is saved.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.host_commands import Entry, HostFiles, read_sums, write_sums
from homelab_platform.layers.backups.manifest import (
    CHUNK,
    FileEntry,
    Manifest,
    Rows,
    compare_rows,
    hash_file,
    write_manifest,
)
from homelab_platform.names import Say
from homelab_platform.tools.ssh.client import Ssh

FILES, DATABASES, SUMS = "files.tar", "databases.tar", "sha256sums"
ATTEMPTS = 3
"""How often files are fetched that change meanwhile."""
SHOWN = 3
SPARE_BYTES = 64 << 20
"""What stays free on this machine's disk beside a copy."""
Opening = Callable[[], AbstractContextManager[Ssh]]


@dataclass(frozen=True)
class HostFilesItem:
    """`folders` of a host and single `files`, absolute. `opening` connects to it."""

    name: str
    folders: tuple[str, ...]
    opening: Opening
    method: str = "host-files"
    must_have: tuple[str, ...] = (FILES, SUMS, "manifest.json")
    may_be_empty: bool = False
    files: tuple[str, ...] = ()

    def capture(self, stage: Path, run: str, say: Say, *, shrunk: bool = False) -> Manifest:
        """Fetch the folders into `stage`. Their files have stood still meanwhile, and are what the host says they are.

        Raises HomelabError that names a folder which is missing or holds no file, what does not stand still, a
        damaged database, or a lack of room here.
        """
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True, mode=0o700)
        with self.opening() as ssh:
            host = HostFiles(ssh, self.folders, self.files)
            for attempt in range(1, ATTEMPTS + 1):
                sums, changed = self._fetch(host, stage)
                if not changed:
                    break
                say(f"{len(changed)} files changed while they were copied, such as {changed[0]} (attempt {attempt})")
            else:
                fault = f"files change while they are copied: {', '.join(changed[:SHOWN])}"
                raise self._fault(fault, "Stop what writes there meanwhile, or leave the item out of the plan (but:).")
        write_sums(stage / SUMS, sums)
        tables = tree_rows((*self.folders, *self.files), sums) | database_rows(stage / DATABASES, stage / "look")
        say(f"copied {len(sums)} files of {ssh.target.where}")
        made = (stage / name for name in (FILES, DATABASES, SUMS))
        entries = [FileEntry(name=f.name, path=f.name, size=f.stat().st_size, sha256=hash_file(f)) for f in made]
        return write_manifest(stage, item=self, run=run, files=entries, tables=tables)

    def release(self, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
        """A copy holds nothing at the host once it was made."""
        return []

    def _fetch(self, host: HostFiles, stage: Path) -> tuple[dict[str, str], list[str]]:
        """Hashes of all files by path, as the host says them, and what changed while it was fetched."""
        before = host.entries()
        self._require(before, stage)
        databases = host.databases(before)
        plain = [entry for entry in before if not _of_database(entry.path, databases)]
        sums = host.sums([entry.path for entry in plain if entry.is_file])
        host.fetch_files([entry.path for entry in plain], stage / FILES)
        said = host.fetch_databases(databases, stage / DATABASES)
        after = [entry for entry in host.entries() if not _of_database(entry.path, databases)]
        changed = [entry.path for entry in set(after) ^ set(plain)]
        changed += differing(sums, tar_sums(stage / FILES))
        torn = differing(said, tar_sums(stage / DATABASES))
        if torn:
            raise self._fault(f"copies of databases arrived otherwise: {', '.join(torn[:SHOWN])}", "Run it again.")
        return sums | said, sorted(set(changed))

    def _require(self, entries: Iterable[Entry], stage: Path) -> None:
        files = [entry for entry in entries if entry.is_file]
        for folder in self.folders:
            if not any(_below(entry.path, folder) for entry in files):
                raise self._fault(f"{folder} holds no file", "Nothing was saved. Is its disk mounted?")
        need, room = sum(entry.size for entry in files) + SPARE_BYTES, shutil.disk_usage(stage).free
        if need > room:
            fault = f"its files take {need >> 20} MiB with what must stay free; {room >> 20} MiB are free in {stage}"
            raise self._fault(fault, "Make room on this machine, or leave the item out of the plan (but:).")

    def _fault(self, what: str, remedy: str) -> HomelabError:
        return HomelabError.of(self.name, what, remedy)


def _below(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _of_database(path: str, databases: Iterable[str]) -> bool:
    """Whether a file is a database or what SQLite keeps beside one."""
    known = set(databases)
    stems = (path.removesuffix(end) for end in ("", "-wal", "-shm", "-journal"))
    return any(stem in known for stem in stems)


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Paths whose hashes are not equal, or that only one side has."""
    return sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))


def tar_sums(file: Path) -> dict[str, str]:
    """SHA-256 of the files in an archive by their absolute paths; a second name of a file has the first one's.

    Raises HomelabError for one that ended early.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                path = f"/{member.name.removeprefix('./')}"
                if member.islnk():
                    found[path] = found[f"/{member.linkname.removeprefix('./')}"]
                elif member.isfile() and (stream := archive.extractfile(member)) is not None:
                    digest = hashlib.sha256()
                    while piece := stream.read(CHUNK):
                        digest.update(piece)
                    found[path] = digest.hexdigest()
    except (tarfile.TarError, KeyError) as error:
        raise HomelabError.of(str(file), f"the archive ended early: {error}", "Run the backup again.") from error
    return found


def tree_rows(folders: Iterable[str], sums: Mapping[str, str]) -> dict[str, Rows]:
    """For each folder how many files it holds, and the hash over their paths and hashes."""
    found: dict[str, Rows] = {}
    for folder in folders:
        lines = sorted(f"{value}  {path}\0" for path, value in sums.items() if _below(path, folder))
        digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
        found[folder] = Rows(count=len(lines), checksum=digest)
    return found


def database_rows(archive: Path, scratch: Path) -> dict[str, Rows]:
    """Rows of each table of the SQLite databases in an archive, by `path table`; unpacked in `scratch`, which goes.

    Raises HomelabError for a database that SQLite calls damaged.
    """
    found: dict[str, Rows] = {}
    try:
        with tarfile.open(archive, "r:") as opened:
            for number, member in enumerate(entry for entry in opened if entry.isfile()):
                scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
                file, stream = scratch / str(number), opened.extractfile(member)
                if stream is None:
                    continue
                with file.open("wb") as copy:
                    shutil.copyfileobj(stream, copy, CHUNK)
                path = f"/{member.name.removeprefix('./')}"
                found |= {f"{path} {table}": Rows(count=count) for table, count in _tables(file, path).items()}
                file.unlink()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _tables(file: Path, path: str) -> dict[str, int]:
    try:
        # Immutable: the copy's header may ask for a write-ahead log, and there is none beside it.
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)) as database:
            verdict = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if verdict != "ok":
                raise HomelabError.of(path, f"SQLite finds it damaged: {verdict}", "Restore it from an older backup.")
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            ).fetchall()
            quoted = [(str(name), str(name).replace('"', '""')) for (name,) in names]
            return {
                name: int(database.execute(f'SELECT count(*) FROM "{safe}"').fetchone()[0])  # noqa: S608 (quoted)
                for name, safe in quoted
            }
    except sqlite3.Error as error:
        raise HomelabError.of(path, f"SQLite cannot read it: {error}", "Restore it from an older backup.") from error


def rehearse_host_files(restored: Path, manifest: Manifest, scratch: Path, say: Say) -> list[str]:
    """A copy of a host's files read anew: each file of the archives is what the host hashed, each database is whole and
    holds the rows that were saved.
    """
    sums = read_sums((restored / SUMS).read_bytes())
    found = tar_sums(restored / FILES) | tar_sums(restored / DATABASES)
    findings = [f"{path}: is not as the host had it" for path in differing(sums, found)]
    folders = [name for name, rows in manifest.tables.items() if rows.checksum]
    try:
        rows = tree_rows(folders, found) | database_rows(restored / DATABASES, scratch)
    except HomelabError as error:
        return [*findings, str(error.problems[0])]
    findings += compare_rows(manifest.tables, rows)
    say(f"{len(found)} files read, {len(manifest.tables) - len(folders)} tables of SQLite counted")
    return findings


def lay_down(restored: Path, manifest: Manifest, run: str, say: Say, *, opening: Opening) -> list[str]:
    """Unpack a copy at the host into a folder of its own, with owners and modes, and have the host hash it.

    The live folders stay as they are: what runs there keeps writing to them. Raises HomelabError if the host's hashes
    are not those of the backup.
    """
    sums = read_sums((restored / SUMS).read_bytes())
    with opening() as ssh:
        host = HostFiles(ssh, ())
        place = host.unpack(run, [restored / FILES, restored / DATABASES])
        found = {
            path.removeprefix(place): value for path, value in host.sums([f"{place}{path}" for path in sums]).items()
        }
        where = ssh.target.where
    wrong = differing(sums, found)
    if wrong:
        raise HomelabError.of(where, f"what was unpacked in {place} is not what was saved: {wrong[0]}", "")
    say(f"{len(sums)} files lie in {place} of {where}, all compared")
    return [
        f"the files lie in {place} on {where}, as of {manifest.made:%Y-%m-%d %H:%M:%S} UTC",
        "to use them: stop the service, move its folder aside, move the restored one in its place, start the service",
    ]

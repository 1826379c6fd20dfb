"""What a backup asks of a host over SSH: the names of its files, their hashes, archives, copies of SQLite databases.

Belongs here: the commands and reading their answers. Not here: whether the answers fit together (host_files.py). A host
needs GNU find, tar and sha256sum; and, if it holds SQLite databases, sqlite3 or Python.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.tools.ssh.client import Ssh

LOGS = ("*.log", "*.log.[0-9]*", "*.pid")
"""Files that are not saved: they are written without end, and nothing is lost with them."""
RESTORED, WORK = "/var/lib/homelab-restored", "/var/lib/homelab-backup"
"""Where a restored copy lies at a host, and where copies of databases are made for the time of a backup."""
LOOK_SECONDS, COPY_SECONDS = 1800.0, 6 * 3600.0
SQLITE_PAGE = 512
"""The size of a SQLite database is a multiple of its page size, which is one of this (sqlite.org/fileformat2.html)."""
_MISSING, NO_SQLITE = 3, 4

_IS_SQLITE = """
xargs -0 -r sh -c 'for f; do
  [ "$(head -c 15 -- "$f" | tr -d "\\0")" != "SQLite format 3" ] || printf "%s\\0" "$f"
done' sh
"""
_COPY_ONE = f"""
set -eu
for f; do
  copy="{WORK}/tree$f"
  mkdir -p "$(dirname "$copy")"
  if command -v sqlite3 >/dev/null; then
    sqlite3 -readonly -cmd ".timeout 60000" "$f" ".backup {WORK}/copy" </dev/null >&2
  else
    python3 -I - "$f" "{WORK}/copy" >&2 <<'END'
import sqlite3, sys, urllib.parse
source = sqlite3.connect("file:" + urllib.parse.quote(sys.argv[1]) + "?mode=ro", uri=True, timeout=60)
copy = sqlite3.connect(sys.argv[2])
source.backup(copy)
copy.close()
END
  fi
  mv "{WORK}/copy" "$copy"
  chown --reference="$f" "$copy"
  chmod --reference="$f" "$copy"
done
"""
COPY = f"""
set -eu
umask 077
command -v sqlite3 >/dev/null || command -v python3 >/dev/null || exit {NO_SQLITE}
rm -rf {WORK}
mkdir -p {WORK}/tree
cat >{WORK}/names
xargs -0 -r sh -c {shlex.quote(_COPY_ONE)} sh <{WORK}/names
cd {WORK}/tree
find . -type f -printf '%P\\0' | xargs -0 -r sha256sum --zero --
"""
"""Copies the SQLite databases whose names it is given, and prints the hashes of the copies."""
_TAR = "tar --create --file=- --numeric-owner --no-recursion --null --verbatim-files-from --files-from=-"
_TAR_CHANGED = 1
"""The exit code by which tar says that a file changed as it was read; its hash tells whether one did."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or link of a host. `changed` is when it was last changed (ctime, seconds); a folder has none."""

    kind: str
    size: int
    changed: str
    inode: int
    path: str

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == "f"


class HostFiles:
    """The files below `folders` of a host, and single `files` beside them."""

    def __init__(self, ssh: Ssh, folders: Sequence[str], files: Sequence[str] = ()) -> None:
        self.ssh = ssh
        self.folders = tuple(folders)
        self.files = tuple(files)

    def entries(self) -> list[Entry]:
        """Everything below the folders but logs, sockets and pipes, and the single files.

        Raises HomelabError for a folder or file that is missing, and for another file system below a folder.
        """
        folders = shlex.join(f"{folder}/" for folder in self.folders)  # the slash: a link's folder, not the link
        files = shlex.join(self.files)
        logs = " -o ".join(f"-name {shlex.quote(pattern)}" for pattern in LOGS)
        script = (
            f'for d in {folders}; do [ -d "$d" ] || {{ echo "${{d%/}} is missing" >&2; exit {_MISSING}; }}; done\n'
            f'for f in {files}; do [ -f "$f" ] || {{ echo "$f is missing" >&2; exit {_MISSING}; }}; done\n'
            f"find {folders} {files} -xdev ! \\( -type f \\( {logs} \\) \\) \\( -type f -o -type d -o -type l \\) "
            "-printf '%y %s %C@ %i %D %p\\0'"
        )
        done = self.ssh.run(script, timeout=LOOK_SECONDS, may_fail=(_MISSING,), doing="listing files")
        if done.code == _MISSING:
            raise HomelabError.of(self.ssh.target.where, done.errors, "Nothing was saved. `homelab apply` makes it.")
        rows = [line.split(" ", 5) for line in done.output.decode("utf-8", "surrogateescape").split("\0") if line]
        devices = {row[5]: row[4] for row in rows if row[0] == "d"}  # files of an overlay have another one
        started = {devices.get(f"{folder}/") for folder in self.folders}
        mounts = sorted(path for path, device in devices.items() if device not in started)
        if mounts:
            raise HomelabError.of(
                self.ssh.target.where,
                f"another file system is mounted at {mounts[0]}: its files would be left out",
                "Nothing was saved. Unmount it there, or leave the item out of the plan (but:).",
            )
        return [
            Entry(kind, 0, "", int(inode), path) if kind == "d" else Entry(kind, int(size), changed, int(inode), path)
            for kind, size, changed, inode, _device, path in rows
        ]

    def databases(self, entries: Iterable[Entry]) -> list[str]:
        """Which of these files are SQLite databases, by what they begin with."""
        candidates = [e.path for e in entries if e.is_file and e.size and e.size % SQLITE_PAGE == 0]
        done = self.ssh.run(_IS_SQLITE, data=_names(candidates), timeout=LOOK_SECONDS, doing="looking for databases")
        return sorted(name for name in done.output.decode("utf-8", "surrogateescape").split("\0") if name)

    def sums(self, paths: Sequence[str]) -> dict[str, str]:
        """SHA-256 of these files, computed there."""
        done = self.ssh.run(
            "xargs -0 -r sha256sum --zero --", data=_names(paths), timeout=COPY_SECONDS, doing="hashing files"
        )
        return read_sums(done.output)

    def fetch_files(self, paths: Sequence[str], archive: Path) -> None:
        """Write an archive of these files, folders and links, with owners and modes."""
        names = _names(path.lstrip("/") for path in paths)
        script = f"cd / && {_TAR}"
        self.ssh.fetch(
            script, archive, data=names, timeout=COPY_SECONDS, may_fail=(_TAR_CHANGED,), doing="fetching files"
        )

    def fetch_databases(self, paths: Sequence[str], archive: Path) -> dict[str, str]:
        """Write an archive of copies of these SQLite databases, made by SQLite; returns the hashes of the copies.

        Raises HomelabError if the host has no means to copy one, or if SQLite cannot.
        """
        found: dict[str, str] = {}
        try:
            if paths:
                done = self.ssh.run(
                    COPY, data=_names(paths), timeout=COPY_SECONDS, may_fail=(NO_SQLITE,), doing="copying databases"
                )
                if done.code == NO_SQLITE:
                    raise HomelabError.of(
                        self.ssh.target.where,
                        f"has neither sqlite3 nor Python, and {paths[0]} is a SQLite database",
                        "Nothing was saved. Install sqlite3 there.",
                    )
                found = {f"/{path}": value for path, value in read_sums(done.output).items()}
            script = f"mkdir -p -m 700 {WORK}/tree && cd {WORK}/tree && {_TAR}"
            names = _names(path.lstrip("/") for path in paths)
            self.ssh.fetch(script, archive, data=names, timeout=COPY_SECONDS, doing="fetching databases")
        finally:
            self.ssh.run(f"rm -rf {WORK}", timeout=LOOK_SECONDS, doing="clearing up")
        return found

    def unpack(self, run: str, archives: Sequence[Path]) -> str:
        """Unpack archives into a new folder for this run, and return its path; what an attempt before left goes."""
        place = f"{RESTORED}/{run}"
        self.ssh.run(
            f"umask 077 && rm -rf {shlex.quote(place)} && mkdir -p {shlex.quote(place)}",
            timeout=LOOK_SECONDS,
            doing="making room for what is restored",
        )
        for archive in archives:
            script = f"tar --extract --file=- --numeric-owner --same-permissions --directory={shlex.quote(place)}"
            self.ssh.send(script, archive, timeout=COPY_SECONDS, doing="unpacking the backup")
        return place


def _names(paths: Iterable[str]) -> bytes:
    return "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")


def write_sums(file: Path, sums: Mapping[str, str]) -> None:
    """Write hashes as sha256sum writes them with --zero: `HASH  PATH`, each ended by a zero byte."""
    lines = (f"{value}  {path}\0" for path, value in sorted(sums.items()))
    file.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))


def read_sums(text: bytes) -> dict[str, str]:
    """Hashes by path from what `sha256sum --zero` writes."""
    lines = text.decode("utf-8", "surrogateescape").split("\0")
    return {path: value for value, _, path in (line.partition("  ") for line in lines if line)}

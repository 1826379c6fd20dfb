"""A restic repository: probes that read it, changes that write it.

Belongs here: calling the program, its JSON and its exit codes. Not here: which items are saved, or whether a snapshot
may be trusted (layers/backups, operations/). Every exit code but 0 is a failure: 3 means that sources were missing,
10 that there is no repository, 11 that it is locked, 12 that the key is wrong (restic's manual, "Scripting").
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from homelab_platform.errors import HomelabError
from homelab_platform.tools.children import dying_with_parent

INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_KEY = 3, 10, 11, 12
LOCK_PATIENCE = "5m"
"""How long a command waits for another one's lock on the repository."""


class ResticError(HomelabError):
    """Restic failed for a reason that has no class of its own."""


class WrongKey(ResticError):
    """The repository exists and the key does not open it."""


class NoRepository(ResticError):
    """There is no repository at this place."""


class RepositoryLocked(ResticError):
    """Another process works on the repository, or one that died there left its lock."""


class IncompleteBackup(ResticError):
    """Sources were missing or could not be read: a snapshot exists, and it must not count as a backup."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BackupSummary(_Message):
    """What one backup did, in files and bytes; `data_added_packed` is what the repository grew by."""

    snapshot_id: str
    total_files_processed: int
    total_bytes_processed: int
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    data_added_packed: int = 0


class Snapshot(_Message):
    """A snapshot as the repository lists it."""

    id: str
    time: datetime
    hostname: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Entry(_Message):
    """A file, folder or link within a snapshot; `path` is absolute from the snapshot's root."""

    path: str
    type: str
    size: int = 0


_M = TypeVar("_M", bound=_Message)


class _Renamed(_Message):
    new_snapshot_id: str


class _Totals(_Message):
    total_size: int = 0


class _Error(_Message):
    message: str = ""
    code: int = 0


@dataclass(frozen=True)
class Repository:
    """A repository at `location` (as restic writes it), opened with `password` by the program `program`.

    `host` is the fixed name in every snapshot: with a name that changes, restic finds no parent and no stale lock.
    `cache` is the folder of restic's cache; `environment` holds the credentials of the storage behind it, `options` its
    extended options (`name=value`).
    """

    program: Path
    location: str
    host: str
    cache: Path
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: tuple[str, ...] = ()

    def exists(self) -> bool:
        """Whether there is a repository that this key opens. Raises WrongKey, or ResticError for anything else."""
        try:
            self._run("cat", "config", "--no-lock")
        except NoRepository:
            return False
        return True

    def initialise(self) -> None:
        """Make an empty repository. Raises ResticError if there is one already or the place cannot be written."""
        self._run("init")

    def backup(self, folder: Path, tags: Sequence[str]) -> BackupSummary:
        """Save what lies in `folder`, as the root of a new snapshot.

        Raises IncompleteBackup when something in it could not be read.
        """
        words = ["backup", "--quiet", "--no-scan", "--host", self.host]
        said = self._run(*words, *_tagged(tags), ".", cwd=folder)
        return _parse(BackupSummary, _last(said), self.location)

    def backup_output(self, command: Sequence[str], file: str, tags: Sequence[str]) -> BackupSummary:
        """Save the standard output of `command` as the file `file`.

        Raises ResticError, without a snapshot, when the command fails: its exit code counts.
        """
        words = ["backup", "--quiet", "--host", self.host, "--stdin-from-command", "--stdin-filename", file]
        said = self._run(*words, *_tagged(tags), "--", *command)
        return _parse(BackupSummary, _last(said), self.location)

    def snapshots(self, tags: Sequence[str] = ()) -> list[Snapshot]:
        """The snapshots that carry all of `tags`, oldest first."""
        wanted = ["--tag", ",".join(tags)] if tags else []
        found = orjson.loads(self._run("snapshots", "--no-lock", *wanted) or b"[]")
        return sorted((Snapshot.model_validate(entry) for entry in found or ()), key=lambda s: s.time)

    def entries(self, snapshot: str) -> list[Entry]:
        """Everything within a snapshot."""
        lines = self._run("ls", "--no-lock", snapshot).splitlines()
        return [Entry.model_validate_json(line) for line in lines if b'"message_type":"node"' in line]

    def restore(self, snapshot: str, target: Path, include: Sequence[str] = ()) -> None:
        """Write a snapshot's content below `target`, and read it back; only the paths `include` if given."""
        chosen = [word for path in include for word in ("--include", path)]
        self._run("restore", snapshot, "--no-lock", "--quiet", "--verify", "--target", str(target), *chosen)

    def dump(self, snapshot: str, path: str) -> bytes:
        """The content of one file of a snapshot."""
        return self._run("dump", "--no-lock", snapshot, path, plain=True)

    def tag(self, snapshot: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> str:
        """Change the tags of a snapshot; returns its id, which is another one if a tag changed.

        Raises ResticError if the storage refuses: the snapshot may then be there twice, with the old tags and the new.
        """
        words = [word for flag, tags in (("--add", add), ("--remove", remove)) for tag in tags for word in (flag, tag)]
        lines = self._run("tag", "--retry-lock", LOCK_PATIENCE, *words, snapshot).splitlines()
        renamed = [line for line in lines if b'"message_type":"changed"' in line]
        return _parse(_Renamed, renamed[-1], self.location).new_snapshot_id if renamed else snapshot

    def forget(self, snapshots: Iterable[str]) -> None:
        """Give up these snapshots; their data goes with the next prune. Raises ResticError if the storage refuses."""
        chosen = list(snapshots)
        if chosen:
            self._run("forget", "--retry-lock", LOCK_PATIENCE, *chosen)

    def prune(self) -> None:
        """Delete data that no snapshot needs."""
        self._run("prune", "--quiet", "--retry-lock", LOCK_PATIENCE)

    def check(self, read: str = "") -> list[str]:
        """What is damaged, a line each; none if all is well.

        `read` says how much of the data is read back: nothing, `all`, or a part such as `3/7`.
        """
        depth = {"": (), "all": ("--read-data",)}.get(read, ("--read-data-subset", read))
        command = self._command("check", "--retry-lock", LOCK_PATIENCE, "--no-cache", *depth)
        done = self._start(command)
        if done.returncode in (NO_REPOSITORY, LOCKED, WRONG_KEY):
            self._fail(done.returncode, done.stderr, "check")
        if done.returncode == 0:
            return []
        return _errors(done.stderr) or [f"restic check ended with {done.returncode}"]

    def unlock(self) -> None:
        """Remove the locks that dead processes of this host left."""
        self._run("unlock")

    def size(self) -> int:
        """Bytes that the repository's data takes, as stored."""
        said = self._run("stats", "--no-lock", "--mode", "raw-data")
        return _parse(_Totals, said, self.location).total_size

    def _command(self, *words: str) -> list[str]:
        return [str(self.program), "--json", *self._further(), *words]

    def _further(self) -> list[str]:
        return [word for option in self.options for word in ("-o", option)]

    def _start(self, command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")},
            **self.environment,
            "RESTIC_REPOSITORY": self.location,
            "RESTIC_PASSWORD": self.password,
            "RESTIC_CACHE_DIR": str(self.cache),
        }
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            check=False,
            preexec_fn=dying_with_parent(),
        )

    def _run(self, *words: str, cwd: Path | None = None, plain: bool = False) -> bytes:
        command = [str(self.program), *self._further(), *words] if plain else self._command(*words)
        done = self._start(command, cwd)
        if done.returncode:
            self._fail(done.returncode, done.stderr, words[0])
        return done.stdout

    def _fail(self, code: int, stderr: bytes, word: str) -> NoReturn:
        lines = _errors(stderr)
        reason = lines[-1] if lines else f"restic {word} ended with {code} and no message"
        kind, fault, remedy = _FAULTS.get(code, (ResticError, f"restic {word} failed: {reason}", ""))
        if kind is IncompleteBackup:
            fault = f"{fault}: {'; '.join(lines[:3])}"
        raise kind.of(self.location, fault, remedy)


_FAULTS: Mapping[int, tuple[type[ResticError], str, str]] = {
    INCOMPLETE: (
        IncompleteBackup,
        "sources could not be read",
        "The snapshot does not count. Make them readable, and run the backup again.",
    ),
    NO_REPOSITORY: (
        NoRepository,
        "there is no repository at this place",
        "See that the disk or share is mounted. `homelab apply` makes the repository of a new target.",
    ),
    LOCKED: (
        RepositoryLocked,
        "another process works on this repository",
        "Wait until it is done. The lock of a dead process goes with the next backup from this machine.",
    ),
    WRONG_KEY: (WrongKey, "the key does not open this repository", "Use the key that it was made with."),
}


def _tagged(tags: Sequence[str]) -> list[str]:
    return [word for tag in tags for word in ("--tag", tag)]


def _last(output: bytes) -> bytes:
    lines = [line for line in output.splitlines() if b'"message_type":"summary"' in line]
    return lines[-1] if lines else b""


def _parse(kind: type[_M], text: bytes, place: str) -> _M:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        fault = f"restic's answer was not understood: {error.errors()[0]['msg']}"
        raise ResticError.of(place, fault, "Use the version of restic that the platform fetches.") from None


_ADVICE = (
    "Warning: at least one source",
    "The repository contains damaged",
    "restic repair",
    "Damaged pack files",
    "Fatal: repository contains errors",
)
"""How lines of restic's begin that say nothing of what is wrong."""


def _errors(stderr: bytes) -> list[str]:
    """The lines of what restic complained of, whether as JSON or as text."""
    found: list[str] = []
    for line in stderr.decode(errors="replace").splitlines():
        text = _message(line.strip()).strip()
        if text and not text.startswith(_ADVICE):
            found.append(text.removeprefix("Fatal: ").splitlines()[0])
    return found


def _message(text: str) -> str:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(found, dict) or found.get("message_type") == "summary":
        return ""
    inner = found.get("error")
    said = found.get("message") or (inner.get("message") if isinstance(inner, dict) else inner) or ""
    item = found.get("item", "")
    return f"{item}: {said}" if item and said else str(said)

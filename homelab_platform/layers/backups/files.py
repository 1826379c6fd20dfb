"""Files of this machine as one item: small ones that a person or a start wrote, such as keys and settings.

Belongs here: copying chosen files whole, with their modes. Not here: files that a database writes to (they are never
copied while it runs).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.manifest import FileEntry, Manifest, hash_file, write_manifest

FOLDER = "files"


@dataclass(frozen=True)
class FilesItem:
    """Files below `root`: `required` must be there, those that match `patterns` are taken too; paths are relative."""

    root: Path
    name: str
    required: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    method: str = "files"
    may_be_empty: bool = False

    @property
    def must_have(self) -> tuple[str, ...]:
        """What a snapshot must hold to count."""
        return ("manifest.json", *(f"{FOLDER}/{name}" for name in self.required))

    def capture(self, stage: Path, run: str, say: Callable[[str], None], *, shrunk: bool = False) -> Manifest:
        """Copy the files into `stage`, each read twice: one that changes meanwhile is copied again.

        Raises HomelabError that names a required file which is missing, or one that does not stand still.
        """
        shutil.rmtree(stage, ignore_errors=True)
        entries = tuple(self._copy(name, stage) for name in self._names())
        say(f"copied {len(entries)} files")
        return write_manifest(stage, item=self, run=run, files=entries)

    def release(self, keep: Callable[[str], bool] = lambda _run: False) -> list[str]:
        """A copy holds nothing once it was made."""
        return []

    def _names(self) -> list[str]:
        missing = [name for name in self.required if not (self.root / name).is_file()]
        if missing:
            raise HomelabError.of(str(self.root), f"has no {', '.join(missing)}", "Nothing was saved.")
        return sorted({*self.required, *_matching(self.root, self.patterns)})

    def _copy(self, name: str, stage: Path) -> FileEntry:
        source, path = self.root / name, f"{FOLDER}/{name}"
        target = stage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            for _ in range(5):
                shutil.copy2(source, target)
                sha256 = hash_file(target)
                if hash_file(source) == sha256:
                    return FileEntry(name=name, path=path, size=target.stat().st_size, sha256=sha256)
        except OSError as error:
            raise HomelabError.of(str(source), f"cannot be copied: {error.strerror}", "Nothing was saved.") from error
        raise HomelabError.of(str(source), "changes while it is copied", "Run the backup again in a moment.")


def _matching(root: Path, patterns: Iterable[str]) -> set[str]:
    found = (path for pattern in patterns for path in root.glob(pattern))
    return {path.relative_to(root).as_posix() for path in found if path.is_file() and not path.is_symlink()}


def put_back(folder: Path, manifest: Manifest, root: Path, run: str) -> list[str]:
    """Put the files of a copy in their places below `root`; what lay there stays as `NAME.before-RUN`.

    Returns the names that were written: files that are as they were saved are left alone.
    """
    written: list[str] = []
    for entry in manifest.files:
        target = root / entry.name
        if target.is_file() and hash_file(target) == entry.sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{run}")
        shutil.copy2(folder / entry.path, scratch)
        if target.exists():
            kept = target.with_name(f"{target.name}.before-{run}")
            if not kept.exists():
                os.link(target, kept)
        scratch.replace(target)
        written.append(entry.name)
    return written

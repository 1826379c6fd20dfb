"""Reads the catalogue: the project's `helm/*/workload.yaml`, then those of a lab's own `helm` folder.

Belongs here: finding the files, the cache, and look-ups by name. Not here: what an entry may say (model.py).

Reading YAML costs many times more than JSON, so that the parsed files of a folder are kept in one file below
`cache_home()`, keyed by name, size and time of change of every file. It is replaced atomically: two processes may read
and write it at once. Without a writable cache everything works, only slower.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from homelab_platform.catalog.lock import FILE as LOCK_FILE
from homelab_platform.catalog.model import Bundle, CatalogueEntry
from homelab_platform.catalog.read import FILE, TELLING, ReadEntries, read_entries
from homelab_platform.errors import HomelabError, Problem
from homelab_platform.files import write_whole
from homelab_platform.lab.quantities import nearest
from homelab_platform.paths import cache_home, project_path

CACHE_FORMAT = 2
CODE = ("model.py", "parts.py", "lock.py")
"""What reads an entry: another version of it reads what it kept anew."""
CACHE_DAYS = 90
_ENTRIES = TypeAdapter(dict[str, CatalogueEntry])
_BUNDLES = TypeAdapter(dict[str, Bundle])


@dataclass(frozen=True, repr=False)
class Catalogue(Mapping[str, CatalogueEntry]):
    """All workloads by name, in alphabetical order, with the old names and bundles that lead to them."""

    entries: Mapping[str, CatalogueEntry]
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> CatalogueEntry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Catalogue({len(self.entries)} workloads)"

    def resolve_name(self, name: str) -> str | None:
        """The entry that a name or an old name means; None when nobody knows it."""
        if name in self.entries:
            return name
        found = self.aliases.get(name.strip().lower())
        return found[0] if found else None

    def members(self, name: str) -> tuple[str, ...]:
        """The workloads that a bundle's name stands for; empty for any other name."""
        bundle = self.bundles.get(name)
        return bundle.members if bundle else ()

    def warning(self, name: str) -> str | None:
        """What to tell somebody who used an old name; None for a name of today."""
        if name in self.entries:
            return None
        found = self.aliases.get(name.strip().lower())
        return found[1] if found else None

    def suggest(self, name: str) -> str | None:
        """The name of today that somebody who typed `name` most likely meant; None when nothing is near."""
        near = nearest(name, [*self.entries, *self.aliases, *self.bundles])
        return self.resolve_name(near) or near if near else None

    def providers(self, interface: str) -> tuple[str, ...]:
        """The workloads that provide an interface such as `s3`, `oidc` or `dns`."""
        return tuple(name for name, entry in self.entries.items() if interface in entry.provides)


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """The project's catalogue; entries of the folder `extra` (a lab's own `helm`) are added and win over the project's.

    Raises HomelabError with file, line and column of everything that is wrong in any file.
    """
    entries: dict[str, CatalogueEntry] = {}
    bundles: dict[str, Bundle] = {}
    for folder in [project_path("helm"), *([extra] if extra else [])]:
        added, added_bundles = _load_folder(folder)
        entries |= added
        bundles |= added_bundles
    ordered = {name: entries[name] for name in sorted(entries)}
    return Catalogue(ordered, {name: bundles[name] for name in sorted(bundles)}, _aliases(ordered, bundles))


def _aliases(entries: Mapping[str, CatalogueEntry], bundles: Mapping[str, Bundle]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for name, entry in entries.items():
        for alias, why in entry.aliases.items():
            taken = alias if alias in entries or alias in bundles else found.get(alias, ("",))[0]
            if taken:
                remedy = f"Take {alias} out of the aliases in helm/{name}/{FILE}, or rename the other."
                problems.append(Problem(f"workload {name}", f"its alias {alias} already means {taken}", remedy))
            found[alias] = (name, why)
    if problems:
        raise HomelabError(problems)
    return found


def _load_folder(folder: Path) -> tuple[dict[str, CatalogueEntry], dict[str, Bundle]]:
    files = _files(folder)
    key = _key(folder, files)
    slot = cache_home() / "catalogue" / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    cached = _read_cache(slot, key)
    if cached is not None:
        return cached
    read = read_entries(files)
    _write_cache(slot, key, read)
    return read.entries, read.bundles


def _files(folder: Path) -> dict[str, Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HomelabError.of(str(folder), f"cannot be read: {error.strerror}", "Check the folder's rights.") from error
    return {name: path for name in names if (path := folder / name / FILE).is_file()}


def _key(folder: Path, files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(f"{CACHE_FORMAT} {folder.resolve()}".encode())
    for module in CODE:
        code = Path(__file__).with_name(module).stat()
        digest.update(f" {code.st_mtime_ns} {code.st_size}".encode())
    for name, path in files.items():
        for beside in (path, path.with_name(LOCK_FILE), *(path.parent / name for name in TELLING)):
            with contextlib.suppress(FileNotFoundError):
                stat = beside.stat()
                digest.update(f"\n{name} {stat.st_mtime_ns} {stat.st_size} {stat.st_ino}".encode())
    return digest.hexdigest()


def _read_cache(slot: Path, key: str) -> tuple[dict[str, CatalogueEntry], dict[str, Bundle]] | None:
    try:
        found, entries, bundles = slot.read_bytes().split(b"\n", 2)
        if found != key.encode():
            return None
        return _ENTRIES.validate_json(entries), _BUNDLES.validate_json(bundles)
    except (OSError, ValueError):
        return None  # absent, from another version, or damaged: the files themselves are the truth


def _write_cache(slot: Path, key: str, read: ReadEntries) -> None:
    entries = {name: read.trees[name] for name in read.entries}
    bundles = {name: read.trees[name] for name in read.bundles}
    text = b"\n".join((key.encode(), orjson.dumps(entries), orjson.dumps(bundles)))
    with contextlib.suppress(OSError):
        write_whole(slot, text, durable=False)
        _prune(slot.parent)


def _prune(folder: Path) -> None:
    """Takes away what labs that are gone, or processes that were killed, have left behind."""
    oldest = time.time() - CACHE_DAYS * 86_400
    for entry in os.scandir(folder):
        if entry.stat().st_mtime < oldest:
            Path(entry.path).unlink(missing_ok=True)

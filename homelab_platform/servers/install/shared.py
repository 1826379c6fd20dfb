"""Servers that are installed once for this user and shared by every checkout: downloads and builds in the cache.

Belongs here: one installation at a time per recipe, whole or not at all, and the checksums of what was downloaded.
Not here: how a particular server is fetched or built (trino.py, nifi.py, minio.py, mosquitto.py).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.supervise import launch

DONE = ".installed"
LONGEST_WAIT = 6 * 3600.0
"""Seconds for which one process waits for another that installs the same server: a build on a Pi takes hours, and
its lock ends with whoever holds it."""


@dataclass(frozen=True)
class Recipe:
    """How one server is made. Whatever changes what comes out (a lock file's text, a build step) stands in `text`."""

    name: str
    version: str
    text: str

    @property
    def folder(self) -> Path:
        """Where it lies in the cache: a changed recipe lies elsewhere, so that an older checkout keeps its own."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:12]
        return paths.cache_home() / "servers" / f"{self.name}-{self.version}-{digest}"


def find(recipe: Recipe) -> Path | None:
    """The folder of an installed server; None when it is not installed."""
    return recipe.folder if (recipe.folder / DONE).exists() else None


def install(recipe: Recipe, build: Callable[[Path, Say], None], progress: Say = silent) -> Path:
    """The folder of a server, installed first if need be; `build` fills the empty folder that it is given.

    The folder is moved into place once `build` has returned, so it must not hold its own path. Two processes that ask
    at once install once. Raises whatever `build` raises, and leaves nothing behind then.
    """
    found = find(recipe)
    if found is not None:
        return found
    target = recipe.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    with launch.exclusive(
        lock, lambda: progress(f"another process installs {recipe.name}; waiting for it"), LONGEST_WAIT
    ):
        found = find(recipe)
        if found is None:
            progress(f"installing {recipe.name} {recipe.version}")
            _build(target, build, progress)
    return target


def _build(target: Path, build: Callable[[Path, Say], None], progress: Say) -> None:
    for leftover in target.parent.glob(f".{target.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a killed installation: we hold the lock
    shutil.rmtree(target, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        build(scratch, progress)
        (scratch / DONE).touch()
        scratch.chmod(0o755)  # servers may run as another user
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def verify(file: Path, *known: str) -> None:
    """Compare a downloaded file with the SHA-256 sums that it may have.

    Raises HomelabError, with the file removed, when it has none of them.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found not in known:
        file.unlink()
        expected = " or ".join(f"{digest[:16]}…" for digest in known)
        raise HomelabError.of(
            file.name,
            f"was downloaded with checksum {found[:16]}…, expected {expected}",
            "It was removed and nothing was installed. Try again; if it stays, the mirror serves another file.",
        )

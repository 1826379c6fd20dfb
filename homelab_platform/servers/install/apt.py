"""Programs out of a Debian package, without installing it into the system and without being root.

Belongs here: fetching packages by apt (which checks the distribution's signatures), unpacking them, and finding the
libraries that this system lacks. Not here: what the programs do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say

LIBRARIES = "libraries"
VERSIONS = "packages.txt"
DEPENDS = ("--recurse", *(f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces")))


def libraries(root: Path) -> dict[str, str]:
    """The environment in which a program below `root` finds the libraries that came with it."""
    folder = root / LIBRARIES
    return {"LD_LIBRARY_PATH": str(folder)} if folder.is_dir() else {}


def unpack(package: str, programs: Sequence[Path], folder: Path, progress: Say) -> None:
    """Fetch `package`, unpack it into `folder`, and put beside it the libraries without which `programs` do not start.

    The versions are kept in `packages.txt`. Raises HomelabError when this machine has no apt or apt fails.
    """
    for needed in ("apt-get", "dpkg-deb", "ldd"):
        if shutil.which(needed) is None:
            raise HomelabError.of(
                package,
                f"is not installed, and this machine has no {needed} to fetch its package with",
                f"Install {package} by the means of this system, and run this again.",
            )
    with tempfile.TemporaryDirectory() as scratch:
        session = _Session(package, Path(scratch), progress)
        session.fetch([package], folder)
        (folder / LIBRARIES).mkdir()
        if _missing(programs, folder):
            wanted = session.absent_libraries()
            session.fetch(wanted, Path(scratch) / "tree")
            _take_missing(programs, folder, Path(scratch) / "tree")
        still = _missing(programs, folder)
        if still:
            raise HomelabError.of(
                package, f"needs libraries that its packages do not bring: {', '.join(sorted(still))}"
            )
        (folder / VERSIONS).write_text("".join(f"{line}\n" for line in sorted(session.fetched)))


class _Session:
    """Calls of apt with lists of its own where the system has none."""

    def __init__(self, package: str, scratch: Path, progress: Say) -> None:
        self._package = package
        self._scratch = scratch
        self._say = progress
        self._options: list[str] = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        self.fetched: list[str] = []

    def fetch(self, names: Sequence[str], target: Path) -> None:
        """Download packages and unpack them into `target`."""
        place = Path(tempfile.mkdtemp(dir=self._scratch))
        if names and not self._download(names, place):
            self._refresh_lists()
            if not self._download(names, place):
                raise HomelabError.of(
                    self._package,
                    f"its package could not be fetched: {self._why}",
                    f"Look at this machine's package sources, or install {self._package} by hand, and run this again.",
                )
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(place.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(file), str(target)])
            self.fetched.append(_run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(file)]).stdout)

    def _download(self, names: Sequence[str], place: Path) -> bool:
        self._say(f"fetching {', '.join(names)}")
        done = _run(["apt-get", "-qq", *self._options, "download", *names], cwd=place)
        self._why = (done.stderr.strip().splitlines() or ["apt says nothing"])[-1]
        return done.returncode == 0

    def _refresh_lists(self) -> None:
        """Read the package sources anew, into lists of our own: the system's are root's, and may be empty."""
        self._say("reading the package sources")
        lists, cache = self._scratch / "lists", self._scratch / "cache"
        for folder in (lists / "partial", cache / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        self._options += ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
        _run(["apt-get", "-qq", *self._options, "update"])

    def absent_libraries(self) -> list[str]:
        """The library packages below `package` that this system does not have."""
        said = _run(["apt-cache", *self._options, "depends", *DEPENDS, "--no-enhances", self._package]).stdout
        names = {line for line in said.splitlines() if re.match(r"lib[a-z0-9.+-]+$", line)}
        known = _run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout
        present = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
        return sorted(names - present)


def _take_missing(programs: Sequence[Path], folder: Path, tree: Path) -> None:
    """Copy out of an unpacked tree what the programs lack, and what that lacks in turn."""
    found = {file.name: file for file in tree.rglob("*.so*") if file.is_file()}
    while wanted := [name for name in _missing(programs, folder) if name in found]:
        for name in wanted:
            shutil.copyfile(found[name], folder / LIBRARIES / name)  # a link becomes the file that it means


def _missing(programs: Sequence[Path], folder: Path) -> set[str]:
    """The libraries that the loader does not find for these programs (ldd(1))."""
    said = [_run(["ldd", str(program)], extra=libraries(folder)).stdout for program in programs]
    return {name for text in said for name in re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE)}


def _run(
    command: list[str], cwd: Path | None = None, extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C.UTF-8"} | (extra or {})
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

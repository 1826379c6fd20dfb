"""Trino on this machine: the one tarball of Maven Central, checked, unpacked and made small.

Belongs here: fetching and pruning. Not here: a server's folder, settings and command (trino.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform.servers.install.shared import Recipe

VERSION = "476"
TARBALL = f"trino-server-{VERSION}.tar.gz"
SHA256 = "cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f"
COPY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
PLUGINS = ("geospatial", "iceberg", "memory", "password-authenticators", "postgresql", "resource-group-managers",
           "session-property-managers")  # fmt: skip
"""What a lab uses. Without `geospatial` the server does not start: a type of its own functions is missing then."""
DOWNLOAD_TIMEOUT = 3600.0
RECIPE = Recipe("trino", VERSION, "\n".join(("1", SHA256, *PLUGINS)))


def installed(progress: Say = silent) -> Path:
    """The folder with `lib` and `plugin`, fetched first if need be (821 MB, once for this user).

    Raises HomelabError when Maven is missing, when the tarball cannot be had, or when it is another one.
    """
    return shared.install(RECIPE, _build, progress)


def _build(folder: Path, progress: Say) -> None:
    downloads = folder / "download"
    downloads.mkdir()
    file = _fetch(downloads, progress)
    shared.verify(file, SHA256)
    progress(f"unpacking Trino {VERSION}")
    tree = folder / "tree"
    with tarfile.open(file) as archive:  # whole: many jars are hard links to one of another plugin
        archive.extractall(tree, filter="data")
    (root,) = tree.iterdir()
    shutil.move(root / "lib", folder / "lib")
    (folder / "plugin").mkdir()
    for name in PLUGINS:
        shutil.move(root / "plugin" / name, folder / "plugin" / name)
    shutil.rmtree(tree)
    shutil.rmtree(downloads)


def _fetch(folder: Path, progress: Say) -> Path:
    """The tarball: from Maven's local repository where it lies, else Maven downloads it."""
    target = folder / TARBALL
    local = Path.home() / ".m2" / "repository" / "io" / "trino" / "trino-server" / VERSION / TARBALL
    if local.is_file():
        _link_or_copy(local, target)
        return target
    progress(f"downloading Trino {VERSION} from Maven Central (821 MB, once)")
    maven = shutil.which("mvn")
    if maven is None:
        raise HomelabError.of("Trino", "Maven (mvn) is not installed", "Install it: apt-get install maven")
    artifact = f"-Dartifact=io.trino:trino-server:{VERSION}:tar.gz"
    command = [maven, "-q", "-B", "-ntp", COPY_PLUGIN, artifact, f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise HomelabError.of("Trino", "the download from Maven Central took too long", "Try again.") from None
    if done.returncode or not target.is_file():
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise HomelabError.of(
            "Trino",
            f"Maven could not fetch it: {said[0] if said else f'exit code {done.returncode}'}",
            "Look whether this machine reaches Maven Central (~/.m2/settings.xml may name a mirror), then try again.",
        )
    return target


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

"""The platform's image for the test lab, made on the spot: Debian's Python, our own environment, this checkout.

Belongs here: layers that are the same as long as nothing they hold has changed. Not here: the image for real clusters
(helm/homelab-platform/image), which has the same content from the same lock; its list of what a pod never needs counts
here too.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from homelab_platform.names import Say, silent
from homelab_platform.paths import project_path
from homelab_platform.servers.install import shared
from homelab_platform_tests.testlab.debian_images import debian_image
from homelab_platform_tests.testlab.images import Image

NAME = "localhost/homelab-platform:test"
PACKAGES = "opt/homelab/packages"
PROJECT = "opt/homelab/project"
BYTECODE = "opt/homelab/bytecode"
"""Compiled modules lie apart (PYTHONPYCACHEPREFIX): layers have no `__pycache__`, and a pod may write nothing there."""
ENVIRONMENT = {
    "PYTHONPATH": f"/{PROJECT}:/{PACKAGES}",
    "PYTHONPYCACHEPREFIX": f"/{BYTECODE}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOMELAB_PROJECT": f"/{PROJECT}",
}
COPIED = ("homelab_platform", "helm")
USER = "10001:10001"


def platform_image(progress: Say = silent) -> Image:
    """The image; what of it is not in the cache is made first. Raises HomelabError when that fails."""
    python = debian_image(NAME, ("python3",), entrypoint=(), user=USER, progress=progress)
    libraries = python.layers[1]
    if not isinstance(libraries, Path):
        raise TypeError("the layer with Python is a folder")
    packages = shared.install(_packages(), lambda folder, say: _make_packages(folder, libraries, say), progress)
    project = shared.install(_project(), _make_project, progress)
    layers = (*python.layers, packages / "root", project / "root")
    return Image(NAME, layers, environment=ENVIRONMENT, user=USER, folder="/tmp")


def _packages() -> shared.Recipe:
    steps = "\n".join(inspect.getsource(step) for step in (_make_packages, _distributed_files, _compile))
    text = project_path("requirements.lock").read_text() + _without().read_text() + steps
    return shared.Recipe("image-platform-packages", "1", text)


def _without() -> Path:
    return project_path("helm", "homelab-platform", "image", "without.txt")


def _project() -> shared.Recipe:
    digest = hashlib.sha256((inspect.getsource(_make_project) + inspect.getsource(_compile)).encode())
    for file in _project_files():
        digest.update(f"\n{file}\n".encode() + project_path(str(file)).read_bytes())
    return shared.Recipe("image-platform-project", "1", digest.hexdigest())


def _project_files() -> Iterator[Path]:
    for name in COPIED:
        for file in sorted(project_path(name).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(project_path())


def _make_packages(folder: Path, libraries: Path, progress: Say) -> None:
    progress("copying the environment for the platform's image")
    root = folder / "root"
    for source, name in _distributed_files():
        target = root / PACKAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    shutil.copytree(libraries / "usr/lib/python3.11", folder / "usr/lib/python3.11", symlinks=True)
    _compile(folder, root, root / PACKAGES, f"/{PACKAGES}")
    _compile(folder, root, folder / "usr/lib/python3.11", "/usr/lib/python3.11")
    shutil.rmtree(folder / "usr")


def _distributed_files() -> Iterator[tuple[Path, str]]:
    """The files of our environment that a pod may need, with their place below its packages."""
    left_out = {_plain(line) for line in _without().read_text().splitlines() if line and not line.startswith("#")}
    pinned = re.findall(r"^([\w.-]+)==", project_path("requirements.lock").read_text(), re.MULTILINE)
    wanted = {_plain(name) for name in pinned} - left_out
    for found in importlib.metadata.distributions(path=[entry for entry in sys.path if "site-packages" in entry]):
        if _plain(found.metadata["Name"]) not in wanted:
            continue
        for file in found.files or ():
            source = Path(str(found.locate_file(file)))
            if not ({"__pycache__", "tests", ".."} & set(file.parts)) and file.suffix != ".map" and source.is_file():
                yield source, str(file)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _make_project(folder: Path, progress: Say) -> None:
    root = folder / "root"
    for file in _project_files():
        target = root / PROJECT / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project_path(str(file)), target)
    _compile(folder, root, root / PROJECT / "homelab_platform", f"/{PROJECT}/homelab_platform")


def _compile(folder: Path, root: Path, source: Path, place: str) -> None:
    """Compile the modules below `source` as those of `place` in the image; they are never compared with their source.

    Same Python 3.11 as Debian 12's: the format of compiled modules is one for all of 3.11.
    """
    scratch = folder / "compiled"
    command = [
        sys.executable, "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash",
        "-s", str(source), "-p", place, str(source),
    ]  # fmt: skip
    # files that no Python 3.11 can compile (templates, code for others) do not matter: nothing imports them
    subprocess.run(command, check=False, capture_output=True, env=os.environ | {"PYTHONPYCACHEPREFIX": str(scratch)})
    made = scratch / source.relative_to("/")
    target = root / BYTECODE / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    made.rename(target)
    shutil.rmtree(scratch)

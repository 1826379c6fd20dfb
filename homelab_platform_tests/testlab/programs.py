"""Kubernetes' own programs for the lab, built once into the cache from their locked source.

Belongs here: the two Go modules below `kube/` and how they are built. Not here: how they are run (nodes.py).

`kube` is Kubernetes and etcd in one program; `addons` is CoreDNS and what else a bare cluster lacks. Each module names
every dependency (go.mod) and its checksum (go.sum): Go refuses anything else, whatever a mirror serves.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform.servers.install.build_process import BuildStalled, run_build

VERSION = "1.33.13"
"""The last line of Kubernetes that runs with version 1 of control groups and containerd 1.6, as Debian 12 has them."""
SOURCES = Path(__file__).with_name("kube")
OLDEST_GO = (1, 24)

_MINOR = VERSION.split(".")[1]
_NAMES = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": _MINOR, "gitTreeState": "clean"}
_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_LINK = "-s -w " + " ".join(f"-X {package}.{name}={value}" for package in _PACKAGES for name, value in _NAMES.items())
_BUILD = ("build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-p=2", f"-ldflags={_LINK}")


def _recipe(name: str, version: str) -> shared.Recipe:
    files = sorted(file for file in (SOURCES / name).rglob("*") if file.suffix in {".go", ".mod", ".sum"})
    return shared.Recipe(name, version, "\n".join([*_BUILD, *(file.read_text() for file in files)]))


KUBE = _recipe("kube", VERSION)
ADDONS = _recipe("addons", VERSION)


def kube(progress: Say = silent) -> Path:
    """The program that is every component of Kubernetes and etcd; built first if need be (12 CPU-minutes, once).

    Raises HomelabError when there is no Go, when a module is not the locked one, or when the build fails.
    """
    folder = shared.install(KUBE, lambda target, say: _build("kube", ("kube", "."), target, say), progress)
    return folder / "kube"


def addons(progress: Say = silent) -> Path:
    """The folder with `addons` and `pause`; built first if need be (3 CPU-minutes, once). Raises as `kube` does."""
    return shared.install(ADDONS, lambda target, say: _build("addons", ("", ".", "./pause"), target, say), progress)


def _build(name: str, what: tuple[str, ...], folder: Path, progress: Say) -> None:
    go = _go()
    progress(f"building {name} {VERSION} from its source (some minutes, once)")
    environment = os.environ | {"GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    output, *packages = what
    command = (go, *_BUILD, "-o", f"{folder}/{output}", *packages)
    try:
        done = run_build(command, cwd=SOURCES / name, env=environment)
    except BuildStalled as error:
        raise HomelabError.of(f"the test lab's {name}", f"its build {error}", "Run `make test-lab` again.") from None
    if done.returncode:
        end = "\n      ".join(done.stderr.strip().splitlines()[-6:])
        raise HomelabError.of(f"the test lab's {name}", "could not be built from its source", f"Go says:\n      {end}")


def _go() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    wanted = ".".join(map(str, OLDEST_GO))
    if found is None:
        raise HomelabError.of(
            "test lab", "builds Kubernetes from its source, and there is no Go", f"Install Go {wanted} or newer."
        )
    return found

"""Images of real workloads, out of Debian's packages: a small Debian below, the packages above it.

Belongs here: the two layers, each made once into the cache. Not here: the archive (images.py), what runs in it.

`debian_image("localhost/mosquitto:2", ("mosquitto",), ...)` is what a registry would have given; all such images share
the lower layer on a node. A third layer takes the test's own files: `Files({"etc/app.conf": "…"})`.
"""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say, silent
from homelab_platform.servers.install import shared
from homelab_platform_tests.testlab.debian import SUITE
from homelab_platform_tests.testlab.images import Files, Image
from homelab_platform_tests.testlab.space import CONTAINED

BASE = ("ca-certificates", "netbase", "tzdata")
CLEAN = "rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc usr/share/man usr/share/locale tmp/*"
NO_START = "#!/bin/sh\nexit 101\n"
"""`policy-rc.d`: nothing is started because it is installed (invoke-rc.d(8))."""


def debian_image(
    name: str,
    packages: Sequence[str],
    *,
    entrypoint: Sequence[str],
    without: Sequence[str] = (),
    user: str = "",
    files: Files | None = None,
    progress: Say = silent,
) -> Image:
    """An image `name` with these packages, whose layers are made first if need be (a minute each, once).

    `without` names what of them is left out, as the shell knows it (`usr/bin/promtool`): what nobody needs there.

    Raises HomelabError when a package cannot be had.
    """
    base = shared.install(_base_recipe(), _make_base, progress)
    left = f"{CLEAN} {' '.join(without)}"
    recipe = _packages_recipe(tuple(sorted(packages)), left)
    above = shared.install(recipe, lambda folder, say: _make_packages(base, packages, left, folder, say), progress)
    image = Image(name, (base / "root", above / "upper"), tuple(entrypoint), user=user)
    return image if files is None else replace(image, layers=(*image.layers, files))


def base_image(name: str, layers: tuple[Files, ...], progress: Say = silent) -> Image:
    """An image `name` with nothing but these layers above the small Debian, which is made first if need be.

    Raises HomelabError when it cannot be had.
    """
    return Image(name, (shared.install(_base_recipe(), _make_base, progress) / "root", *layers))


def _base_recipe() -> shared.Recipe:
    return shared.Recipe("image-debian", SUITE, "\n".join((*BASE, CLEAN, NO_START, inspect.getsource(_make_base))))


def _packages_recipe(packages: tuple[str, ...], left: str) -> shared.Recipe:
    steps = inspect.getsource(_make_packages)
    name = f"image-{packages[0]}" if len(packages) == 1 else f"image-{packages[0]}-and-{len(packages) - 1}"
    return shared.Recipe(name, SUITE, "\n".join((*packages, left, steps, _base_recipe().folder.name)))


def _make_base(folder: Path, progress: Say) -> None:
    progress("making the Debian that images of the test lab begin with")
    root = folder / "root"
    options = ("--mode=root", "--variant=minbase", f"--include={','.join(BASE)}")
    _run(["mmdebstrap", *options, SUITE, str(root)], "mmdebstrap")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(NO_START)
    policy.chmod(0o755)
    (root / "etc/resolv.conf").write_text("")
    shutil.rmtree(root / "dev")
    (root / "dev").mkdir()
    _run(["sh", "-ec", f"cd {shlex.quote(str(root))}; {CLEAN}"], "cleaning the base")


def _make_packages(base: Path, packages: Sequence[str], left: str, folder: Path, progress: Say) -> None:
    progress(f"making a layer with {', '.join(packages)}")
    for name in ("upper", "work", "merged"):
        (folder / name).mkdir()
    layers = f"lowerdir={base / 'root'},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    merged = shlex.quote(str(folder / "merged"))
    script = f"""
mount -t overlay overlay -o {shlex.quote(layers)} {merged}
cd {merged}
mount -t proc proc proc; mount --rbind /dev dev; mount --bind /etc/resolv.conf etc/resolv.conf
chroot . apt-get -qq update
chroot . apt-get -qq -y --no-install-recommends install {shlex.join(packages)}
umount -l dev proc etc/resolv.conf
{left}
"""
    _run(["unshare", "--mount", "--propagation=private", "--", "sh", "-ec", script], f"apt-get of {packages[0]}")
    shutil.rmtree(folder / "work")
    (folder / "merged").rmdir()


def _run(command: list[str], what: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [*CONTAINED, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        end = "\n      ".join(done.stderr.strip().splitlines()[-6:])
        raise HomelabError.of("an image of the test lab", f"{what} failed", f"It says:\n      {end}")

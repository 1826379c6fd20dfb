"""scripts/build-image.sh says in one line why it cannot build, before it builds anything."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from homelab_platform import paths

SCRIPT = paths.project_path("scripts", "build-image.sh")
NO_BUILDERS = ("nix", "docker")
NIX = """#!/bin/sh
# A nix that has built already: `show-config`, and `build … --out-link LINK …` with an image as nixpkgs lays it down.
case "$*" in *show-config*) echo 'builders = ssh://builder x86_64-linux,aarch64-linux'; exit ;; esac
while [ "$1" != --out-link ]; do shift; done
flake=${3#path:}; flake=${flake%#*}
grep -q '"name": "{lab}"' "$flake/lab.json" || exit 8
[ -f "$flake/files/collector.py" ] && [ ! -L "$flake/files/collector.py" ] || exit 9
mkdir -p "$2/{folder}" && truncate -s 101M "$2/{folder}/{file}"
"""


@cache
def commands() -> str:
    """A folder with links to this machine's commands, but for those that build."""
    programs = tempfile.mkdtemp(prefix="homelab-commands-")
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            link = Path(programs) / program.name
            if not program.name.startswith(NO_BUILDERS) and not link.is_symlink():
                link.symlink_to(program)
    return programs


def build(tmp_path: Path, *words: str, nix: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """The script on a machine without Docker and with no nix but `nix`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if nix:
        (programs / "nix").write_text(nix)
        (programs / "nix").chmod(0o755)
    search = f"{programs}:{commands()}"
    environment = {**os.environ, "PATH": search, "XDG_CACHE_HOME": str(tmp_path / "cache"), **settings}
    command = ["bash", str(SCRIPT), *words, "--output", str(tmp_path / "out")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def example(name: str) -> str:
    return str(paths.project_path("examples", name))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pi"], "the lab file of . cannot be used"),
        (["nobody", "--lab", "single-pi"], "the lab has no host nobody\n    Its NixOS hosts: pi"),
        (["pi-master", "--lab", "pi-cluster"], "pi-master runs raspios: this builds images of NixOS hosts"),
        (["pi", "--lab", "single-pi"], "nix is not installed here, and Docker does not run it either"),
        (["pi", "--lab", "single-pi", "--builder", "docker"], "Docker does not answer here"),
        (["pi", "--lab", "single-pi", "--builder", "cloud"], "cloud is no builder"),
    ],
    ids=["no lab", "no host", "not NixOS", "no builder", "no Docker", "unknown builder"],
)
def test_what_cannot_be_built_is_refused_with_the_way_out(tmp_path: Path, words: list[str], said: str) -> None:
    words = [example(word) if word in ("single-pi", "pi-cluster") else word for word in words]
    done = build(tmp_path, *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    done = build(tmp_path, "pi", "--lab", example("single-pi"), HOMELAB_IMAGE_GIB="9999999")
    assert done.returncode == 1
    assert "GiB free, an image and its parts need 9999999" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lab", "host", "built", "name"),
    [
        ("single-pi", "pi", "sd-image/nixos-image-rpi5-kernel.img", "pi.img"),
        ("nixos-fleet", "cortex-alpha", "iso/nixos-25.11.20260101.abc-x86_64-linux.iso", "cortex-alpha.iso"),
        ("nixos-fleet", "vbox-image", "nixos-25.11-x86_64-linux.ova", "vbox-image.ova"),
    ],
)
def test_a_finished_image_is_named_after_its_host(tmp_path: Path, lab: str, host: str, built: str, name: str) -> None:
    folder, _, file = built.rpartition("/")
    nix = NIX.replace("{folder}", folder).replace("{file}", file).replace("{lab}", lab)
    done = build(tmp_path, host, "--lab", example(lab), nix=nix, HOMELAB_IMAGE_GIB="1")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [name, f"{name}.sha256"]

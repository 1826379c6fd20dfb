"""scripts/build-image.sh says in one line why it cannot build, before it builds anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from homelab_platform import paths

SCRIPT = paths.project_path("scripts", "build-image.sh")
NO_BUILDERS = ("nix", "docker")


def build(tmp_path: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The script on a machine with neither nix nor Docker: its commands are linked into a folder of their own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            link = programs / program.name
            if not program.name.startswith(NO_BUILDERS) and not link.is_symlink():
                link.symlink_to(program)
    environment = {**os.environ, "PATH": str(programs), "XDG_CACHE_HOME": str(tmp_path / "cache"), **settings}
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

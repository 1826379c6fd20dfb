"""Building NixOS systems and bringing them to hosts, by the `nix` command.

Belongs here: which builder there is, building a host's system or image, copying a closure, its difference. Not here:
what a system consists of (nix/) or switching to it under guard (layers/hosts/nixos.py).

The flake in nix/ reads `lab.json` beside it. It is built from a copy, so that no lab's file gets into the checkout; the
copy's flake.lock stays with the site and pins the inputs from the first build on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.names import Say
from homelab_platform.tools.ssh.client import Ssh

FEATURES = ("--extra-experimental-features", "nix-command flakes", "--accept-flake-config")
KEPT = ("flake.lock", "lab.json")
"""What a flake's folder has of its lab, not of the checkout."""
LONGEST_BUILD = 4 * 3600.0


def find_nix() -> str:
    """The nix command. Raises HomelabError with the ways to get one."""
    found = shutil.which("nix")
    if found is None:
        raise HomelabError.of(
            "nix",
            "is not installed here, and NixOS systems are built by it",
            "Install it (the package nix-bin, or the installer of nixos.org), or build images by Docker: "
            "scripts/build-image.sh.",
        )
    return found


def flake_files(folder: Path) -> list[Path]:
    """The files below `folder` that belong to the flake itself, sorted."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in KEPT)


def flake_of(lab: ResolvedLab, state: Path) -> Path:
    """A copy of nix/ with the lab's lab.json beside flake.nix, in `state`; its flake.lock stays from build to build."""
    folder = state / "nix"
    source = paths.project_path("nix")
    folder.mkdir(parents=True, exist_ok=True)
    for old in flake_files(folder):
        old.unlink()
    for file in flake_files(source):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / "lab.json").write_bytes(lab.to_json())
    return folder


def build_system(lab: ResolvedLab, host: str, state: Path, say: Say) -> str:
    """Build the whole system of a host and return its store path. Raises HomelabError with the builder's last words."""
    flake = flake_of(lab, state)
    attribute = f'path:{flake}#nixosConfigurations."{host}".config.system.build.toplevel'
    done = _nix(["build", "--no-link", "--print-out-paths", "--print-build-logs", attribute], f"host/{host}", say)
    return done.splitlines()[-1].strip()


def copy_closure(system: str, ssh: Ssh, say: Say) -> None:
    """Copy a system with all that it needs to the host of `ssh`."""
    target = ssh.target
    options = shlex.join([*ssh.options(), "-p", str(target.port)])
    store = f"ssh-ng://{target.user}@{target.address}"
    _nix(["copy", "--to", store, "--substitute-on-destination", system], target.where, say, {"NIX_SSHOPTS": options})


def closure_difference(before: str, after: str) -> list[str]:
    """What changes from one system to the other, package by package; empty if `before` is not in our store."""
    if not Path(before).exists():
        return []
    done = subprocess.run(
        [find_nix(), *FEATURES, "store", "diff-closures", before, after], capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _nix(words: Sequence[str], where: str, say: Say, further: dict[str, str] | None = None) -> str:
    """Run nix, show what it builds, return its standard output."""
    process = subprocess.Popen(
        [find_nix(), *FEATURES, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(further or {})},
    )
    last: list[str] = []
    for line in process.stderr or ():
        last = [*last[-19:], line.rstrip()]
        if line.startswith(("building", "copying", "these ")):
            say(line.strip())
    output = process.stdout.read() if process.stdout else ""
    if process.wait() != 0:
        wrong = next((text for text in last if text.startswith("error:")), last[-1] if last else "without a word")
        raise HomelabError.of(where, f"nix {words[0]} failed: {wrong}", "\n    ".join(last[-8:]))
    return output

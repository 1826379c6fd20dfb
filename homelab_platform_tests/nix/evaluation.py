"""Evaluating nix/ without nixpkgs: for one host of a lab, under the stand-in for its module system (stub.nix)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from homelab_platform import paths
from homelab_platform.lab.resolved import ResolvedLab

NIX = paths.project_path("nix")
STUB = Path(__file__).with_name("stub.nix")
EVAL = ("--eval", "--strict", "--json", "--readonly-mode")


def nix_instantiate(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("nix-instantiate")
    if program is None:
        pytest.fail("nix-instantiate is missing: install the package nix-bin (apt-get install nix-bin)", pytrace=False)
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=120)


def evaluate(lab: ResolvedLab, host: str, folder: Path, root: Path = NIX) -> subprocess.CompletedProcess[str]:
    file = folder / "lab.json"
    file.write_bytes(lab.to_json())
    words = ("--eval", "--strict", "--json", "--readonly-mode", str(STUB))
    return nix_instantiate(
        *words, "--argstr", "root", str(root), "--argstr", "lab", str(file), "--argstr", "host", host
    )


def evaluated(lab: ResolvedLab, host: str, folder: Path) -> dict[str, Any]:
    done = evaluate(lab, host, folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found

"""Evaluating nix/ without nixpkgs: for one host of a lab, under the stand-in for its module system (stub.nix)."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from homelab_platform import paths
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform_tests.testlab.requirements import ensure

NIX = paths.project_path("nix")
STUB = Path(__file__).with_name("stub.nix")
EVAL = ("--eval", "--strict", "--json", "--readonly-mode")


def nix_instantiate(*words: str) -> subprocess.CompletedProcess[str]:
    program = ensure("nix-instantiate", "nix-bin")
    if program is None:
        pytest.fail("nix-instantiate is missing: install the package nix-bin (apt-get install nix-bin)", pytrace=False)
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=120)


@cache
def packages() -> tuple[str, ...]:
    """Names of the packages that nix/ takes from nixpkgs, and some that the examples do."""
    text = "".join(file.read_text() for file in sorted(NIX.rglob("*.nix")))
    names = set(re.findall(r"\bpkgs\.([A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)?)", text))
    names |= {name for line in re.findall(r"inherit \(pkgs\) ([^;]+);", text) for name in line.split()}
    functions = {"writeText", "writeShellScript", "writeShellApplication"}
    examples = {"htop", "neovim", "platformio", "gnucap", "obs-studio", "moonlight-qt", "emacs", "k3s_1_33", "k3s_1_34"}
    return tuple(sorted((names | examples | {"postgresql_16"}) - functions))


def evaluate(
    lab: ResolvedLab, host: str, folder: Path, root: Path = NIX, show: str = "config"
) -> subprocess.CompletedProcess[str]:
    """Evaluate nix/ for a host of the lab: what it sets, or with `show` which services there are."""
    file = folder / "lab.json"
    file.write_bytes(lab.to_json())
    arguments = {"root": str(root), "lab": str(file), "host": host, "packages": json.dumps(packages()), "show": show}
    words = (word for name, value in arguments.items() for word in ("--argstr", name, value))
    return nix_instantiate(*EVAL, str(STUB), *words)


def evaluated(lab: ResolvedLab, host: str, folder: Path, show: str = "config") -> dict[str, Any]:
    """What `evaluate` finds."""
    done = evaluate(lab, host, folder, show=show)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found

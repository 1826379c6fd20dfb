"""The same lab is the same bytes: in every process, whatever the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

from homelab_platform.paths import PROJECT

SCRIPT = """
import hashlib, sys
from pathlib import Path
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
for path in sorted(Path("examples").glob("*/lab.yaml")):
    print(path, hashlib.sha256(load_resolved(path, load_catalogue()).to_json()).hexdigest())
"""


def _digests(seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_every_example_resolves_to_the_same_bytes_under_another_hash_seed() -> None:
    first = _digests("0")
    assert first.count("lab.yaml") == 6
    assert _digests("1") == first

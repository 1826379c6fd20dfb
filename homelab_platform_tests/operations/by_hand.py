"""What a person does with the emergency kit: read its blocks, and type them where there is restic and nothing more.

Belongs here: what the tests of the kit share.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path


def blocks(page: str) -> list[str]:
    """What the page says to type, block by block."""
    return [html.unescape(text) for text in re.findall(r'<pre class="run">(.*?)</pre>', page, re.DOTALL)]


def typed(text: str, home: Path, program: Path) -> subprocess.CompletedProcess[str]:
    """What a person types, on a machine that has restic and nothing of ours."""
    (home / "bin").mkdir(parents=True, exist_ok=True)
    if not (home / "bin" / "restic").exists():
        shutil.copy2(program, home / "bin" / "restic")
    path = f"{home}/bin:/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": path}
    return subprocess.run(["bash", "-euc", text], cwd=home, env=environment, capture_output=True, text=True, check=True)

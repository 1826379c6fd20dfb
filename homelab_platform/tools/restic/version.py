"""Which versions of restic may be trusted with a backup.

Belongs here: asking a program for its version and refusing old ones with the reason. Not here: fetching one
(servers/install/restic.py).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from homelab_platform.errors import HomelabError

OLDEST = (0, 19, 1)
_VERSION = re.compile(r"^restic (\d+)\.(\d+)\.(\d+)")


def version_of(program: Path) -> tuple[int, int, int]:
    """The version that the program states. Raises HomelabError if it does not run or is no restic."""
    try:
        done = subprocess.run([str(program), "version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HomelabError.of(str(program), f"does not run: {error}", "Install restic for this machine.") from None
    match = _VERSION.match(done.stdout)
    if match is None:
        raise HomelabError.of(str(program), "is not restic", "Take it out of the PATH, or name another program.")
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


def require_version(program: Path) -> None:
    """Refuse a restic that reports success for incomplete backups. Raises HomelabError with the reason."""
    found = version_of(program)
    if found < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise HomelabError.of(
            str(program),
            f"is restic {'.'.join(map(str, found))}: before 0.19 a backup with missing sources ends with exit code 0",
            f"Use restic {wanted} or later.",
        )

"""The key that a site's backups are encrypted with: made once, in a file for the owner's eyes, and meant for paper.

Belongs here: making and reading it. Not here: its id at a target (targets.py).
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from homelab_platform.errors import HomelabError

_BYTES = 25  # 200 bits: eight groups of five characters
_GROUP = 5


def recovery_key(file: Path, *, make: bool) -> str:
    """The key in `file`; a new one where there is none and `make` allows it.

    Raises HomelabError if there is none, or if the file cannot be read or is empty.
    """
    try:
        found = file.read_text().strip()
    except FileNotFoundError:
        if not make:
            raise HomelabError.of(
                str(file), "there is no recovery key", "Type the one from paper into this file; mode 0600."
            ) from None
        return _made(file)
    except OSError as error:
        raise HomelabError.of(str(file), f"the recovery key cannot be read: {error.strerror}", "") from None
    if not found:
        raise HomelabError.of(str(file), "holds no recovery key", "Type the one from paper into this file.")
    return found


def _made(file: Path) -> str:
    text = base64.b32encode(secrets.token_bytes(_BYTES)).decode()
    key = "-".join(text[i : i + _GROUP] for i in range(0, len(text), _GROUP))
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was quicker
        return recovery_key(file, make=False)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{key}\n")
        stream.flush()
        os.fsync(stream.fileno())
    return key

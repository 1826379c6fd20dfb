"""Who is at work, and where: what locks and records tell other people.

Belongs here: the names alone; a lock's whole sentence is its own module's.
"""

from __future__ import annotations

import getpass
import os
import socket


def person() -> str:
    """Who runs this process: HOMELAB_OPERATOR if it is set, who called sudo, else the user."""
    said = os.environ.get("HOMELAB_OPERATOR") or os.environ.get("SUDO_USER")
    if said:
        return said
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"user {os.getuid()}"


def machine() -> str:
    """Where this process runs."""
    return socket.gethostname()

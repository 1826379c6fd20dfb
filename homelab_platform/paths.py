"""Where things lie on this machine: the repository's data files, a site's data folder, the shared cache.

Belongs here: path arithmetic only; nothing here creates, reads or writes a file.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

PROJECT = Path(__file__).resolve().parent.parent
LAB_JSON = "lab.json"
"""The resolved lab in a site's folder, for its processes that read no lab file."""


def project_path(*parts: str) -> Path:
    """A file or folder of the project's own tree (`helm`, `examples`, `ansible`, …); HOMELAB_PROJECT overrides it."""
    return Path(os.environ.get("HOMELAB_PROJECT", PROJECT)).joinpath(*parts)


def data_home() -> Path:
    """The folder that holds one folder per site; HOMELAB_DATA overrides the platform's user data folder."""
    override = os.environ.get("HOMELAB_DATA")
    return Path(override) if override else user_data_path("homelab-platform", appauthor=False)


def site_path(lab: str) -> Path:
    """The data folder of the embedded site of the lab named `lab`."""
    return data_home() / lab


def cache_home() -> Path:
    """Downloads and builds that any checkout may share: HOMELAB_CACHE, else `homelab-platform` in the user's cache.

    The user's cache is XDG_CACHE_HOME where that is absolute (XDG Base Directory Specification), else `~/.cache`.
    """
    override = os.environ.get("HOMELAB_CACHE")
    if override:
        return Path(override)
    users = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (users if users.is_absolute() else Path.home() / ".cache") / "homelab-platform"


def backup_path(lab: str) -> Path:
    """The folder of a site's own backup target: beside the site, so that what deletes the site spares it."""
    return data_home() / f"{lab}.backup"


def backup_work_path(lab: str) -> Path:
    """Where copies are staged and drills take place."""
    return data_home() / f"{lab}.backup-work"


def recovery_key_path(lab: str) -> Path:
    """The file of the key that a site's backups are encrypted with; it belongs on paper too."""
    return data_home() / f"{lab}.recovery-key"

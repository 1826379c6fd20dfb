"""The lab as a site last applied it in full, kept in the site's folder.

Belongs here: writing and reading that one file. A plan compares with it what the site itself cannot reach, so that an
edit of a workload is seen even where nothing could be done about it. Losing it costs that comparison and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from homelab_platform.files import write_whole
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.paths import site_path

FILE = "applied-lab.json"


def remember_applied(root: Path, lab: ResolvedLab) -> None:
    """Keep `lab` as the one that was applied; the file changes in one step."""
    write_whole(root / FILE, lab.to_json())


def last_applied(lab_name: str) -> ResolvedLab | None:
    """The lab that was last applied; None if none was, or by a version of the platform that wrote it differently."""
    try:
        return ResolvedLab.model_validate_json((site_path(lab_name) / FILE).read_bytes())
    except (OSError, ValidationError):
        return None

"""What a site's folder says of it: its kind, and whether it is supervised.

Belongs here: what `homelab plan` asks of every site, also of those that do not run, so that it imports no server. Not
here: opening a running site (site.py).
"""

from __future__ import annotations

from pathlib import Path

from homelab_platform import paths
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site.files import Layout, load_site_file
from homelab_platform.servers.supervise import launch


def layout_of(lab: str | Path) -> Layout:
    """The layout of a lab's site, by the lab's name or the site's data folder."""
    return Layout((paths.site_path(lab) if isinstance(lab, str) else lab).absolute())


def kind_of(lab: str | Path) -> SiteKind:
    """The kind of a lab's site, running or not; `small` when there is none yet."""
    site = load_site_file(layout_of(lab))
    return site.profile if site else SiteKind.SMALL


def is_supervised(lab: str | Path) -> bool:
    """Whether a supervisor keeps the site of a lab; its servers may still be starting."""
    return launch.live_state(layout_of(lab).run) is not None

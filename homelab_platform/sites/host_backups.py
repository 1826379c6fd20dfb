"""Which folders of which hosts a site of kind lab saves, and how it connects for that.

Belongs here: the items of hosts. Not here: how their files are copied (layers/backups/host_files.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from homelab_platform.lab.resolve.backups import stands_still, state_folders
from homelab_platform.layers.backups.host_files import HostFilesItem, lay_down, rehearse_host_files
from homelab_platform.operations.site import Item
from homelab_platform.tools.ssh.client import Ssh, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
    from homelab_platform.layers.hosts.access import HostAccess


def host_items(lab: ResolvedLab, access: Callable[[], HostAccess]) -> dict[str, Item]:
    """Hosts whose folders can be copied and that the lab has a backup of, by item; `access` is how they are reached."""
    wanted = {backup.item for backup in lab.backups.values()}
    hosts = {f"host/{name}": host for name, host in lab.hosts.items() if stands_still(host)}
    return {name: _item(name, lab, host, access) for name, host in hosts.items() if name in wanted}


def _item(name: str, lab: ResolvedLab, host: ResolvedHost, access: Callable[[], HostAccess]) -> Item:
    @contextmanager
    def opening() -> Iterator[Ssh]:
        way = access()
        with opened(way.target(lab, host), way.ssh) as ssh:
            yield ssh

    return Item(
        HostFilesItem(name, state_folders(host), opening),
        rehearse_host_files,
        partial(lay_down, opening=opening),
        after=4,
        effect="unpacked beside the host's own folders; a person puts them in place",
    )

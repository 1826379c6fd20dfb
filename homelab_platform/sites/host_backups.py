"""Which folders of which hosts a site of kind lab saves, k3s' datastore among them, and how it connects for that.

Belongs here: the items of hosts. Not here: how their files are copied (layers/backups/host_files.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from homelab_platform.lab.resolve.backups import K3S_SQLITE, datastore_host, stands_still, state_folders
from homelab_platform.layers.backups.host_files import HostFilesItem, Opening, lay_down, rehearse_host_files
from homelab_platform.operations.site import Item
from homelab_platform.tools.ssh.client import Ssh, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab
    from homelab_platform.layers.hosts.access import HostAccess


CLUSTER = "cluster"
K3S = "/var/lib/rancher/k3s/server"
K3S_FOLDERS = (f"{K3S}/tls", f"{K3S}/cred")
K3S_FILES = (f"{K3S}/db/state.db", f"{K3S}/token")
"""Without the token nobody can read the keys that the datastore holds (k3s, "Backup and Restore")."""


def host_items(lab: ResolvedLab, access: Callable[[], HostAccess]) -> dict[str, Item]:
    """What the lab has a backup of on its hosts, by item: hosts whose folders can be copied, and the datastore of k3s.

    `access` is how they are reached.
    """
    wanted = {backup.item for backup in lab.backups.values()}
    hosts = {f"host/{name}": host for name, host in lab.hosts.items() if stands_still(host)}
    found = {name: _host(name, lab, host, access) for name, host in hosts.items() if name in wanted}
    server = datastore_host(lab)
    if server is not None and CLUSTER in wanted:
        found[CLUSTER] = _datastore(lab, server, access)
    return found


def _host(name: str, lab: ResolvedLab, host: ResolvedHost, access: Callable[[], HostAccess]) -> Item:
    return _item(HostFilesItem(name, state_folders(host), _opening(lab, host, access)))


def _datastore(lab: ResolvedLab, server: ResolvedHost, access: Callable[[], HostAccess]) -> Item:
    opening = _opening(lab, server, access)
    return _item(HostFilesItem(CLUSTER, K3S_FOLDERS, opening, method=K3S_SQLITE, files=K3S_FILES))


def _opening(lab: ResolvedLab, host: ResolvedHost, access: Callable[[], HostAccess]) -> Opening:
    @contextmanager
    def opening() -> Iterator[Ssh]:
        way = access()
        with opened(way.target(lab, host), way.ssh) as ssh:
            yield ssh

    return opening


def _item(copier: HostFilesItem) -> Item:
    return Item(
        copier,
        rehearse_host_files,
        partial(lay_down, opening=copier.opening),
        after=4,
        effect="unpacked beside the host's own folders; a person puts them in place",
    )

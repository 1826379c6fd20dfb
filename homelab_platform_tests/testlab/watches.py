"""The one setting of this machine that labs need to be greater: how many inotify instances root may have.

Belongs here: raising and giving back `fs.inotify.max_user_instances`. Linux allows a user 128 in all namespaces; three
hosts and a Kubernetes take some forty, so the units of a third lab fail with nothing but "failed". The value that was
found is written down beside the labs and comes back with the end of the last one.
"""

from __future__ import annotations

from pathlib import Path

from homelab_platform_tests.testlab import store

SETTING = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH = 1024
FOUND = ".inotify"


def raise_limit() -> None:
    """Let root have enough of them. The caller holds the lock of all labs."""
    try:
        found = int(SETTING.read_text())
        if found < ENOUGH:
            store.home().mkdir(parents=True, exist_ok=True)
            (store.home() / FOUND).write_text(str(found))
            SETTING.write_text(str(ENOUGH))
    except OSError:
        return  # a machine that lets nobody set it: its own value has to do


def give_back() -> None:
    """Set what was found, unless there still is a lab. The caller holds the lock of all labs."""
    file = store.home() / FOUND
    if file.exists() and not store.all_labs():
        SETTING.write_text(file.read_text())
        file.unlink()

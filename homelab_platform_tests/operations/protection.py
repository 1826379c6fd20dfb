"""A site's protection for tests: real items on real servers, a target in a folder, a journal in a database of its own.

Belongs here: what the tests of backup, drill and restore share.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from homelab_platform.layers.backups import put_back
from homelab_platform.layers.backups.files import FilesItem
from homelab_platform.layers.backups.lake import LakeItem
from homelab_platform.layers.backups.targets import FolderTarget
from homelab_platform.layers.drills import rehearsals
from homelab_platform.operations import journal as journals
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.site import Item, Plan, Protection
from homelab_platform.servers.install.restic import restic_binary
from homelab_platform.servers.postgres import binaries
from homelab_platform.tools.endpoints import Lakehouse, PostgresEndpoint
from homelab_platform.tools.postgres import drop_database


def files_item(root: Path) -> Item:
    """The site's files as an item: `secrets.json`, and more below `keys/`."""
    copier = FilesItem(root, "platform/secrets", ("secrets.json",), ("keys/*",))
    return Item(copier, rehearsals.rehearse_files, partial(put_back.put_files_beside, root=root))


def lake_item(lakehouse: Lakehouse) -> Item:
    """The lake as an item."""
    programs = binaries()
    return Item(
        LakeItem(lakehouse, programs),
        partial(rehearsals.rehearse_lake, lakehouse=lakehouse, programs=programs),
        partial(put_back.put_lake_back, lakehouse=lakehouse, programs=programs),
    )


def plan(item: str, method: str) -> Plan:
    """A daily plan with a weekly drill that keeps seven."""
    return Plan(item, item, method, "30 2 * * *", {"daily": 7}, "0 4 * * 0")


@contextmanager
def protection(folder: Path, postgres: PostgresEndpoint, items: Mapping[str, Item]) -> Iterator[Protection]:
    """A protection of these items whose target lies in `folder`; established, and with a journal of its own."""
    name = f"operations_{os.urandom(4).hex()}"
    real, journals.DATABASE = journals.DATABASE, name
    protects = folder / "site"
    protects.mkdir(exist_ok=True)
    # Not below pytest's own folder: another session of pytest shuts that one to PostgreSQL's user.
    work = Path(tempfile.mkdtemp(prefix="homelab-tests-operations-"))
    target = FolderTarget("site", folder / "target", "attic", "a long recovery key", own=True)
    target.establish(protects)
    try:
        yield Protection(
            lab="attic",
            timezone="Europe/Berlin",
            items=items,
            plans={item: plan(item, items[item].copier.method) for item in items},
            targets=(target,),
            journal=Journal(postgres),
            work=work,
            protects=protects,
            program=restic_binary,
        )
    finally:
        journals.DATABASE = real
        drop_database(postgres, name)
        shutil.rmtree(work)

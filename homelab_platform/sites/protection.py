"""What a site of this machine protects: its items with how each is copied, proven and put back; its targets.

Belongs here: putting items, plans and targets of a lab together for one running site. Not here: what any of them does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform import paths
from homelab_platform.apply.adapter import Exhibit
from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import bucket, put_back
from homelab_platform.layers.backups.adapter import PlanAdapter
from homelab_platform.layers.backups.database import DatabaseItem
from homelab_platform.layers.backups.files import FilesItem
from homelab_platform.layers.backups.lake import LakeItem
from homelab_platform.layers.backups.recovery_key import recovery_key
from homelab_platform.layers.backups.targets import FolderTarget, Target
from homelab_platform.layers.drills import rehearsals
from homelab_platform.names import Say
from homelab_platform.operations import exhibits
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.drill import drill
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.kit import Kit
from homelab_platform.operations.site import Item, Plan, Protection
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.install.restic import restic_binary
from homelab_platform.servers.postgres import binaries
from homelab_platform.servers.site.processes import DAGSTER_DATABASE
from homelab_platform.sites.backup_targets import lab_target
from homelab_platform.sites.host_backups import host_items
from homelab_platform.sites.lab import reach_of

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.endpoints import Lakehouse

PATIENCE = 600.0
"""Seconds that a run of the graph waits for another one over the same item."""
OWN = "site"
"""The name of a site's own target."""
SECRETS, NIFI, DAGSTER, LAKE = "platform/secrets", "platform/nifi", "platform/dagster", "lake"


def protection_of(lab: ResolvedLab, site: Site, *, make_key: bool = False) -> Protection:
    """What a running site protects. `make_key` makes a recovery key where there is none.

    Raises HomelabError if there is none otherwise.
    """
    key = recovery_key(paths.recovery_key_path(lab.name), make=make_key)
    own = FolderTarget(OWN, paths.backup_path(lab.name), lab.name, key, own=True)
    others, away = lab_targets(lab, site.lab_path.parent, key)
    known = site_items(lab, site.lakehouse, site.root, nifi=site.engines.nifi is not None)
    if site.kind is SiteKind.LAB:
        known |= host_items(lab, lambda: reach_of(lab, site).hosts())
    return Protection(
        lab=lab.name,
        timezone=lab.timezone,
        items=known,
        plans={
            name: Plan(name, b.item, b.method, b.schedule, b.keep, b.drill, b.targets)
            for name, b in lab.backups.items()
            if b.item in known
        },
        targets=(own, *others),
        journal=Journal(site.lakehouse.postgres),
        work=paths.backup_work_path(lab.name),
        protects=site.root,
        program=restic_binary,
        out_of_reach=away,
        kit=Kit({n: t.credentials for n, t in lab.targets.items()}, str(paths.recovery_key_path(lab.name))).page,
    )


def lab_targets(lab: ResolvedLab, folder: Path, key: str) -> tuple[list[Target], dict[str, str]]:
    """The lab's targets that this machine can write to, and why the others are out of reach."""
    found: list[Target] = []
    away: dict[str, str] = {}
    for name, target in lab.targets.items():
        try:
            found.append(lab_target(target, lab.name, folder, paths.backup_work_path(lab.name), key))
        except HomelabError as error:
            away[name] = str(error.problems[0].what)
    return found, away


def site_items(lab: ResolvedLab, lakehouse: Lakehouse, root: Path, *, nifi: bool) -> dict[str, Item]:
    """Everything that a site of this machine holds and the lab has a backup of, by item."""
    programs = binaries()
    dagster = lakehouse.postgres.with_database(DAGSTER_DATABASE)
    found = {
        SECRETS: _files(root, SECRETS, ("site.json", "secrets.json"), ("*keys*.json",)),
        LAKE: Item(
            LakeItem(lakehouse, programs),
            partial(rehearsals.rehearse_lake, lakehouse=lakehouse, programs=programs),
            partial(put_back.put_lake_back, lakehouse=lakehouse, programs=programs),
            after=1,
            effect="tables, ledger and raw objects; what came later is ingested again",
        ),
        DAGSTER: Item(
            DatabaseItem(dagster, programs, DAGSTER),
            partial(rehearsals.rehearse_database, programs=programs),
            partial(put_back.put_database_back, endpoint=dagster, programs=programs, settle=put_back.settle_dagster),
            after=3,
            effect="history of runs; runs that were under way are cancelled",
        ),
    }
    if nifi:
        found[NIFI] = _files(root, NIFI, ("nifi/conf/flow.json.gz", "secrets.json"), ("nifi/conf/*.properties",))
    for name in lab.buckets:
        found[f"bucket/{name}"] = _bucket(lakehouse, name)
    wanted = {backup.item for backup in lab.backups.values()}
    return {name: item for name, item in found.items() if name in wanted}


def _files(root: Path, name: str, required: tuple[str, ...], patterns: tuple[str, ...]) -> Item:
    return Item(
        FilesItem(root, name, required, patterns),
        rehearsals.rehearse_files,
        partial(put_back.put_files_beside, root=root),
        effect="written beside the site's own files; a person puts them in place",
    )


def _bucket(lakehouse: Lakehouse, name: str) -> Item:
    return Item(
        bucket.BucketItem(lakehouse.objects, name, f"bucket/{name}"),
        partial(rehearsals.rehearse_bucket, bucket=name),
        partial(bucket.put_bucket_back, objects=lakehouse.objects, bucket=name),
        after=2,
        effect="objects that are missing or changed; later ones stay",
    )


def backup_adapter(lab: ResolvedLab, site: Site) -> PlanAdapter:
    """The adapter of `backup/*`."""

    def save(desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        protection = replace(protection_of(lab, site), patience=PATIENCE)
        asked = BackupRequest(
            str(desired.document["item"]), request.get("label", ""), request.get("shrunk", "") == "yes"
        )
        return exhibits.of_backup(protection, backup(protection, asked, say))

    return PlanAdapter(lambda: protection_of(lab, site, make_key=True).targets, site.root, save)


def drill_adapter(lab: ResolvedLab, site: Site) -> PlanAdapter:
    """The adapter of `drill/*`."""

    def prove(desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        protection = replace(protection_of(lab, site), patience=PATIENCE)
        target = protection.target(request.get("target") or OWN)
        return exhibits.of_proof(target, drill(protection, str(desired.document["item"]), target.name, say))

    return PlanAdapter(lambda: protection_of(lab, site, make_key=True).targets, site.root, prove)

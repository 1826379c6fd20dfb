"""Which targets of a lab a site writes to, and why not to the others."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolve.backups import state_folders
from homelab_platform.lab.resolved import ResolvedTarget
from homelab_platform.layers.backups.host_files import HostFilesItem
from homelab_platform.paths import project_path
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.sites.host_backups import host_items
from homelab_platform.sites.protection import lab_targets
from homelab_platform_tests.plan.labs import small_lab

KEYS = {"key": "file:id", "secret": "file:key"}


def targets_of(folder: Path, **targets: ResolvedTarget) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Place and key of each target that is reached, and why the others are not."""
    (folder / "key").write_text("of the lab\n")
    (folder / "id").write_text("id\n")
    found, away = lab_targets(small_lab(targets=targets), folder, "of the site")
    return {target.name: (target.place, target.key) for target in found}, away


def test_folders_machines_and_buckets_are_reached_by_their_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMELAB_DATA", str(tmp_path / "data"))
    b2 = {"region": "eu-central-003"}
    found, away = targets_of(
        tmp_path,
        disk=ResolvedTarget(name="disk", url="file:///mnt/disk", credentials={"password": "file:key"}),
        usb=ResolvedTarget(name="usb", url="file:///mnt/usb"),
        nas=ResolvedTarget(name="nas", url="ssh://backup@nas:2222/volume1/lab", credentials={"key": "file:key"}),
        offsite=ResolvedTarget(name="offsite", url="s3://lab-backup@b2", credentials=KEYS, settings=b2),
        own=ResolvedTarget(name="own", url="s3://lab@s3.example.org/attic", credentials=KEYS),
        box=ResolvedTarget(name="box", url="s3://lab", credentials=KEYS, settings={"endpoint": "http://127.0.0.1:9"}),
    )
    assert found == {
        "disk": ("/mnt/disk", "of the lab"),
        "usb": ("/mnt/usb", "of the site"),
        "nas": ("backup@nas:2222:/volume1/lab", "of the site"),
        "offsite": ("s3://lab-backup at https://s3.eu-central-003.backblazeb2.com", "of the site"),
        "own": ("s3://lab/attic at https://s3.example.org", "of the site"),
        "box": ("s3://lab at http://127.0.0.1:9", "of the site"),
    }
    assert not away
    (kept,) = (tmp_path / "data").rglob("nas.key")
    assert kept.stat().st_mode & 0o077 == 0


def test_what_cannot_be_reached_says_why(tmp_path: Path) -> None:
    found, away = targets_of(
        tmp_path,
        lost=ResolvedTarget(name="lost", url="file:///mnt/lost", credentials={"password": "file:nothing"}),
        share=ResolvedTarget(name="share", url="nfs://nas/volume1"),
        b2=ResolvedTarget(name="b2", url="s3://lab-backup@b2", credentials=KEYS),
        bare=ResolvedTarget(name="bare", url="s3://lab@s3.example.org"),
    )
    assert not found
    assert away["share"] == "nfs://nas/volume1 is not mounted on this machine"
    assert away["b2"] == "b2 is asked in a region, and the lab says none"
    assert away["bare"] == "has no key and secret"
    assert "nothing" in away["lost"]


def test_hosts_are_saved_whose_services_hold_state_and_that_the_lab_has_a_backup_of(tmp_path: Path) -> None:
    lab = load_resolved(project_path("examples", "nixos-fleet", "lab.yaml"), load_catalogue())
    items = host_items(lab, Mock(side_effect=AssertionError("nothing is asked before a backup")))
    assert "host/linda" not in items, "ZFS is not saved by files"
    docker = load_resolved(project_path("examples", "single-pi", "lab.yaml"), load_catalogue())
    assert "host/pi" in {backup.item for backup in docker.backups.values()}
    assert set(host_items(docker, Mock())) <= {"cluster"}, "Docker writes without end"
    copier = items["host/print-controller"].copier
    assert isinstance(copier, HostFilesItem)
    assert copier.folders == state_folders(lab.hosts["print-controller"])
    assert copier.folders
    reached, elsewhere = (
        {key for key, state in desired_states(lab).items() if CAPABILITIES[kind].can(key, state.kinds)}
        for kind in (SiteKind.LAB, SiteKind.SMALL)
    )
    backups = {f"backup/{name}" for name, backup in lab.backups.items() if backup.item in items}
    assert backups <= reached
    assert not backups & elsewhere

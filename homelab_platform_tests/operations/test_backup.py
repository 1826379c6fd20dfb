"""A backup counts only when what lies at the target was looked at; a drill proves it, and finds what changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups.records import IDENTITY, proofs_of, snapshots_of
from homelab_platform.layers.backups.targets import FolderTarget, NotMounted, WrongTargetKey
from homelab_platform.operations.backup import BackupRequest, backup, stray_snapshots
from homelab_platform.operations.coverage import coverage, too_few_copies
from homelab_platform.operations.drill import drill
from homelab_platform.operations.integrity import verify_integrity
from homelab_platform.operations.restore import plan_restore, restore, restore_into
from homelab_platform.operations.site import Protection
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform_tests.operations.protection import files_item, protection

pytestmark = [pytest.mark.servers, pytest.mark.slow]
ITEM = "platform/secrets"


def quiet(_text: str) -> None:
    return None


@pytest.fixture
def site(tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> Iterator[Protection]:
    """A site that protects a few files."""
    root = tmp_path / "site"
    (root / "keys").mkdir(parents=True)
    (root / "secrets.json").write_text('{"password": "hunter2"}')
    (root / "keys" / "bucket").write_bytes(b"k" * 5000)
    with protection(tmp_path, postgres_endpoint, {ITEM: files_item(root)}) as made:
        yield made


def state(site: Protection, now: datetime | None = None) -> tuple[str, str]:
    (row,) = coverage(site, now)
    return row.state, row.why


def test_backed_up_proven_and_restored(site: Protection, tmp_path: Path) -> None:
    assert state(site) == ("unproven", "there is no backup yet")
    report = backup(site, BackupRequest(ITEM), quiet)
    assert (report.snapshots["site"].files, report.snapshots["site"].verdict) == (2, "good")
    assert state(site) == ("unproven", "no drill has restored it yet")
    proof = drill(site, ITEM, "site", quiet)
    assert proof.passed and proof.repository > 0 and proof.of == report.run
    assert state(site) == ("proven", "")
    later = datetime.now(UTC) + timedelta(days=2)
    assert state(site, later)[0] == "overdue"
    (choice,) = plan_restore(site, [])
    assert choice.forecast and choice.snapshot.run == report.run
    restore_into(site, choice, tmp_path / "into", quiet)
    assert (tmp_path / "into" / "files" / "keys" / "bucket").read_bytes() == b"k" * 5000
    lines = restore(site, choice, quiet)
    (beside,) = site.protects.glob("restored-*")
    assert str(beside) in lines[0] and (beside / "secrets.json").exists()
    assert not any(site.work.joinpath("scratch").iterdir())
    with pytest.raises(HomelabError, match="is not an empty folder"):
        restore_into(site, choice, tmp_path / "into", quiet)
    with pytest.raises(HomelabError, match="no target holds a good snapshot made at 2020"):
        plan_restore(site, [], at=datetime(2020, 1, 1, tzinfo=UTC))


def test_a_target_that_is_not_mounted_is_never_written_to(site: Protection) -> None:
    folder = site.targets[0].folder
    folder.rename(folder.with_name("unplugged"))
    folder.mkdir()
    with pytest.raises(NotMounted, match="no target is in reach"):
        backup(site, BackupRequest(ITEM), quiet)
    assert list(folder.iterdir()) == []
    assert state(site)[0] == "out-of-reach"


def own_target(site: Protection) -> FolderTarget:
    target = site.targets[0]
    assert isinstance(target, FolderTarget)
    return target


def test_a_wrong_key_is_named_before_a_byte_is_written(site: Protection) -> None:
    target = own_target(site)
    before = sorted(target.folder.rglob("*"))
    other = replace(site, targets=(replace(target, key="another key"),))
    with pytest.raises(WrongTargetKey, match=f"was made with key {target.identity().key}; the key here is [0-9a-f]+"):
        backup(other, BackupRequest(ITEM), quiet)
    assert sorted(target.folder.rglob("*")) == before


def test_a_target_that_is_refused_or_fails_is_named_and_keeps_no_other_from_its_copy(
    site: Protection, tmp_path: Path
) -> None:
    good = own_target(site)
    other = replace(good, name="nas", folder=tmp_path / "nas", key="another key")
    made = other.establish(site.protects)
    before = sorted(other.folder.rglob("*"))
    both = replace(site, targets=(replace(other, key=good.key), good))
    with pytest.raises(HomelabError, match=f"target nas: was made with key {made.key}; the key here is [0-9a-f]+"):
        backup(both, BackupRequest(ITEM), quiet)
    assert sorted(other.folder.rglob("*")) == before
    assert [record.verdict for record in snapshots_of(good.folder, ITEM)] == ["good"]
    rows = {row.target: (row.state, row.why) for row in coverage(both)}
    assert rows["nas"][0] == "failed" and made.key in rows["nas"][1]
    assert rows["site"] == ("unproven", "no drill has restored it yet")
    shutil.copytree(good.folder / "snapshots", other.folder / "snapshots")  # on record there, and no repository
    with pytest.raises(HomelabError, match="target nas: the repository of platform/secrets is gone"):
        backup(replace(site, targets=(other, good)), BackupRequest(ITEM), quiet)
    assert [record.verdict for record in snapshots_of(good.folder, ITEM)] == ["good", "good"]
    shutil.rmtree(other.folder / "snapshots")
    assert too_few_copies(both, coverage(both)) == [f"No copy away from this disk: {ITEM}."]
    away = (good, replace(good, name="usb", own=False))
    named = [replace(row, target="usb") for row in coverage(both) if row.target == "site"]
    assert too_few_copies(replace(both, targets=away), named) == [
        f"One copy away from this disk only: {ITEM} (at usb)."
    ]


def test_a_target_inside_of_what_it_protects_or_on_its_disk_is_refused(site: Protection, tmp_path: Path) -> None:
    target = own_target(site)
    with pytest.raises(HomelabError, match="lie inside each other"):
        replace(target, folder=site.protects / "backup").establish(site.protects)
    (tmp_path / "usb").mkdir()
    with pytest.raises(HomelabError, match="on the disk of what it protects"):
        replace(target, folder=tmp_path / "usb", own=False).establish(site.protects)
    assert not (tmp_path / "usb" / IDENTITY).exists()


def test_a_halved_copy_is_red_counts_for_nothing_and_blocks_pruning(site: Protection) -> None:
    once = replace(site, plans={ITEM: replace(site.plans[ITEM], keep={"daily": 1})})
    good = backup(once, BackupRequest(ITEM), quiet)
    shutil.rmtree(site.protects / "keys")
    with pytest.raises(HomelabError, match="suspect: 23 bytes, 5023 in the backup before"):
        backup(once, BackupRequest(ITEM), quiet)
    assert state(site)[0] == "failed"
    folder = site.targets[0].folder
    assert [r.verdict for r in snapshots_of(folder, ITEM)] == ["good", "suspect"]
    (integrity,) = verify_integrity(site, site.targets[0], quiet)
    assert (integrity.damage, integrity.pruned) == ((), False)
    assert plan_restore(site, [])[0].snapshot.run == good.run
    report = backup(once, BackupRequest(ITEM, shrunk=True, label="after a clean-up"), quiet)
    assert [r.run for r in snapshots_of(folder, ITEM)] == [report.run]
    (integrity,) = verify_integrity(site, site.targets[0], quiet)
    assert integrity.pruned


def test_snapshots_that_a_killed_run_left_without_a_record_are_forgotten_and_no_others(site: Protection) -> None:
    first = backup(site, BackupRequest(ITEM), quiet)
    repository = site.repository(site.targets[0], ITEM)
    dead = site.journal.begin("backup", ITEM, ["save"]).run  # by a process that was killed before it judged one

    def left_by(run: str) -> str:
        return repository.backup(site.stage(ITEM), [f"run-{run}", f"item-{ITEM}"]).snapshot_id

    strays, other = {left_by(first.run), left_by(dead)}, left_by("of-another-site")
    second = backup(site, BackupRequest(ITEM), quiet)
    there = repository.snapshots()
    assert {snapshot.id for snapshot in there} == {second.snapshots["site"].snapshot, other}
    assert not strays & {snapshot.id for snapshot in there}
    assert site.journal.load(dead).state == "given up"

    left = next(snapshot for snapshot in there if snapshot.id == other)
    ours = {"tags": (f"run-{dead}", f"item-{ITEM}"), "id": "left"}
    for more in ({}, {"hostname": "attic/elsewhere"}, {"tags": ("by-hand",)}, {"tags": (*ours["tags"], "good")}):
        found = stray_snapshots(site, site.targets[0], ITEM, [left.model_copy(update={**ours, **more})])
        assert found == ([] if more else ["left"])


def test_a_damaged_repository_is_named_by_the_full_read_and_by_the_drill(site: Protection) -> None:
    backup(site, BackupRequest(ITEM), quiet)
    packs = [p for p in (site.targets[0].folder / "repositories").rglob("data/*/*") if p.is_file()]
    for pack in packs:
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[40] ^= 1
        pack.write_bytes(content)
    (integrity,) = verify_integrity(site, site.targets[0], quiet)
    assert len(integrity.damage) >= len(packs) and not integrity.pruned
    assert packs[0].name[:8] in " ".join(integrity.damage)
    with pytest.raises(HomelabError):
        drill(site, ITEM, "site", quiet)
    assert state(site)[0] == "failed"


def test_a_drill_finds_what_can_be_read_and_means_nothing(site: Protection) -> None:
    (site.protects / "secrets.json").write_text('{"password": ')
    backup(site, BackupRequest(ITEM), quiet)
    with pytest.raises(HomelabError, match=r"secrets.json: is not JSON"):
        drill(site, ITEM, "site", quiet)
    (proof,) = proofs_of(site.targets[0].folder, ITEM)
    assert not proof.passed
    assert json.loads((site.targets[0].folder / "journal" / f"{proof.run}.json").read_text())["state"] == "failed"
    assert not any((site.work / "scratch").iterdir())

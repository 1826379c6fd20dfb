"""The emergency kit: what it says is enough to bring everything back with restic alone, from an empty home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import records
from homelab_platform.layers.backups.depots import S3Depot
from homelab_platform.layers.backups.records import KIT
from homelab_platform.layers.backups.remote import RemoteTarget
from homelab_platform.names import silent
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.drill import drill
from homelab_platform.operations.kit import Kit, leave
from homelab_platform.operations.site import Protection
from homelab_platform.tools.endpoints import Lakehouse
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.operations.by_hand import blocks, typed
from homelab_platform_tests.operations.protection import files_item, protection

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ITEM = "platform/secrets"
KEY = "a long recovery key"
CREDENTIALS = {"offsite": {"key": "sops:secrets/backup.yaml#id", "secret": "sops:secrets/backup.yaml#key"}}


@pytest.fixture
def site(tmp_path: Path, lakehouse: Lakehouse) -> Iterator[Protection]:
    """A site whose files go to a folder and to a bucket."""
    root = tmp_path / "site"
    (root / "keys").mkdir(parents=True)
    (root / "secrets.json").write_text('{"password": "of this test"}')
    (root / "keys" / "id").write_text("k" * 5000)
    with ObjectStore(lakehouse.objects) as store:
        store.ensure_bucket("kit-backup")
        store.delete("kit-backup", [info.key for info in store.list("kit-backup")])
    with protection(tmp_path, lakehouse.postgres, {ITEM: files_item(root)}) as made:
        bucket = RemoteTarget("offsite", S3Depot(lakehouse.objects, "kit-backup"), made.work / "offsite", "attic", KEY)
        bucket.establish(made.protects)
        kit = Kit(CREDENTIALS, "/home/ada/attic.recovery-key")
        yield replace(made, targets=(*made.targets, bucket), kit=kit.page)


def test_the_page_at_a_target_brings_its_files_back_from_each_target_without_the_platform(
    site: Protection, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    backup(site, BackupRequest(ITEM), silent)
    with ObjectStore(lakehouse.objects) as store:
        page = store.get("kit-backup", KIT).decode()
    assert page == (site.targets[0].folder / KIT).read_text()
    password, from_folder, from_bucket, by_name = blocks(page)
    password = password.replace("the recovery key", KEY)
    secrets = {"AWS_ACCESS_KEY_ID": lakehouse.objects.access_key, "AWS_SECRET_ACCESS_KEY": lakehouse.objects.secret_key}
    for name, value in secrets.items():
        from_bucket = from_bucket.replace(f"export {name}='…'", f"export {name}='{value}'")
    for name, commands in (("folder", from_folder), ("bucket", from_bucket)):
        home = tmp_path / name
        said = typed(f"{password}\n{commands}\ncd restored/*\n{by_name}", home, site.program()).stdout
        assert "1 snapshots" in said
        (restored,) = (home / "restored").iterdir()
        assert (restored / "by-name" / "keys" / "id").read_text() == "k" * 5000
        assert (restored / "by-name" / "secrets.json").read_text() == '{"password": "of this test"}'


def test_the_kit_restores_the_last_good_snapshot_and_no_newer_suspect_one(site: Protection, tmp_path: Path) -> None:
    own = replace(site, targets=site.targets[:1])
    backup(own, BackupRequest(ITEM), silent)
    (site.protects / "keys" / "id").unlink()
    with pytest.raises(HomelabError, match="the snapshot is suspect"):
        backup(own, BackupRequest(ITEM), silent)
    password, from_folder, _by_name = blocks((site.targets[0].folder / KIT).read_text())
    password = password.replace("the recovery key", KEY)
    said = typed(f"{password}\n{from_folder}", tmp_path / "home", site.program()).stdout
    assert "2 snapshots" in said
    (restored,) = (tmp_path / "home" / "restored").iterdir()
    assert (restored / "files" / "keys" / "id").read_text() == "k" * 5000


def test_the_record_follows_a_snapshot_that_was_marked_by_a_process_that_died(
    site: Protection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_words: object) -> None:
        raise KeyboardInterrupt

    own = replace(site, targets=site.targets[:1])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(records, "save_record", die)
        backup(own, BackupRequest(ITEM, shrunk=True), silent)
    report = backup(own, BackupRequest(ITEM), silent)
    (there,) = own.repository(own.targets[0], ITEM).snapshots(["good"])
    assert (there.id, f"run-{report.run}" in there.tags) == (report.snapshots["site"].snapshot, True)
    assert drill(own, ITEM, "site", silent).passed


def test_the_page_holds_no_secret_and_is_written_again_only_when_it_changes(
    site: Protection, lakehouse: Lakehouse
) -> None:
    backup(site, BackupRequest(ITEM), silent)
    file = site.targets[0].folder / KIT
    page, before = file.read_text(), file.stat().st_mtime_ns
    for secret in (KEY, "of this test", lakehouse.objects.secret_key, lakehouse.objects.access_key):
        assert secret not in page
    for reference in CREDENTIALS["offsite"].values():
        assert reference in page
    assert "/home/ada/attic.recovery-key" in page
    assert not leave(site, site.targets[0])
    assert file.stat().st_mtime_ns == before
    moved = replace(site, kit=Kit(CREDENTIALS, "/media/safe/attic.recovery-key").page)
    assert leave(moved, site.targets[0])
    assert "/media/safe/attic.recovery-key" in file.read_text()

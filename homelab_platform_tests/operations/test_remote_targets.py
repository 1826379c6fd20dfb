"""Targets on other machines: a bucket of an S3 server, a folder of a host that lets in by SFTP. Both are real."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.layers.backups.depots import Depot, S3Depot, SftpDepot
from homelab_platform.layers.backups.records import IDENTITY, KIT, snapshots_of
from homelab_platform.layers.backups.remote import RemoteTarget
from homelab_platform.layers.backups.targets import NotMounted, WrongTargetKey
from homelab_platform.names import silent
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.coverage import coverage
from homelab_platform.operations.drill import drill
from homelab_platform.operations.integrity import verify_integrity
from homelab_platform.operations.kit import Kit
from homelab_platform.operations.restore import plan_restore, restore_into
from homelab_platform.operations.site import Protection
from homelab_platform.servers.supervise import ports
from homelab_platform.tools.endpoints import Lakehouse, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.tools.ssh.sftp import Sftp
from homelab_platform.tools.ssh.target import SshAccess, Target
from homelab_platform_tests.operations.by_hand import blocks, typed
from homelab_platform_tests.operations.protection import files_item, protection
from homelab_platform_tests.testlab.lab import TestLab

ITEM = "platform/secrets"
BUCKET = "lab-backup"


@pytest.fixture
def site(tmp_path: Path, postgres_endpoint: PostgresEndpoint) -> Iterator[Protection]:
    """A site that protects a few files of its own."""
    root = tmp_path / "site"
    (root / "keys").mkdir(parents=True)
    (root / "secrets.json").write_text('{"password": "one"}')
    (root / "keys" / "id").write_text("k" * 5000)
    with protection(tmp_path, postgres_endpoint, {ITEM: files_item(root)}) as made:
        yield made


@pytest.fixture
def bucket(lakehouse: Lakehouse) -> S3Depot:
    """An empty bucket, below a prefix."""
    with ObjectStore(lakehouse.objects) as store:
        store.ensure_bucket(BUCKET)
        store.delete(BUCKET, [info.key for info in store.list(BUCKET)])
    return S3Depot(lakehouse.objects, BUCKET, "attic/")


def remote(site: Protection, depot: Depot, *, key: str = "a long recovery key") -> RemoteTarget:
    return RemoteTarget("offsite", depot, site.work / "targets" / "offsite", "attic", key)


def states(site: Protection) -> dict[str, tuple[str, str]]:
    return {row.target: (row.state, row.why) for row in coverage(site)}


def backed_up_proven_and_restored(site: Protection, target: RemoteTarget, into: Path) -> None:
    """A whole life at this target: refused before it is made, saved, proven, read back, restored."""
    both = replace(site, targets=(*site.targets, target))
    assert states(both)["offsite"][0] == "out-of-reach"
    with pytest.raises(NotMounted, match="homelab backup target offsite --new"):
        target.identity()
    made = target.establish(site.protects)
    assert target.establish(site.protects) == made

    backup(both, BackupRequest(ITEM), silent)
    assert states(both) == {
        "site": ("unproven", "no drill has restored it yet"),
        "offsite": ("unproven", "no drill has restored it yet"),
    }
    assert drill(both, ITEM, "offsite", silent).passed
    assert states(both)["offsite"] == ("proven", "")

    elsewhere = replace(target, folder=target.folder.with_name("elsewhere"))  # as on new hardware
    assert elsewhere.identity() == made
    assert [record.item for record in snapshots_of(elsewhere.folder, ITEM)] == [ITEM]
    (integrity,) = verify_integrity(replace(site, targets=(elsewhere,)), elsewhere, silent)
    assert (integrity.damage, integrity.pruned) == ((), True)
    (choice,) = plan_restore(replace(site, targets=(elsewhere,)), [ITEM])
    restore_into(replace(site, targets=(elsewhere,)), choice, into, silent)
    assert (into / "files" / "keys" / "id").read_text() == "k" * 5000


@pytest.mark.slow
@pytest.mark.servers
def test_a_bucket_holds_backups_that_are_proven_and_come_back_on_another_machine(
    site: Protection, bucket: S3Depot, tmp_path: Path
) -> None:
    target = remote(site, bucket)
    backed_up_proven_and_restored(site, target, tmp_path / "restored")
    with pytest.raises(WrongTargetKey, match="was made with key"):
        remote(replace(site, work=tmp_path), bucket, key="another key").identity()


@pytest.mark.servers
def test_a_bucket_that_holds_something_else_is_not_written_to(site: Protection, bucket: S3Depot) -> None:
    bucket.put("photos/lake.jpg", b"a summer")
    with pytest.raises(HomelabError, match="is not empty and holds no"):
        remote(site, bucket).establish(site.protects)
    assert list(bucket.names()) == ["photos"]


@pytest.mark.servers
def test_a_bucket_that_is_not_there_and_one_that_lets_nobody_in_are_named(site: Protection, bucket: S3Depot) -> None:
    with pytest.raises(HomelabError, match="there is no such bucket"):
        remote(site, replace(bucket, bucket="nothing-here")).identity()
    stranger = replace(bucket, endpoint=replace(bucket.endpoint, secret_key="wrong"))
    with pytest.raises(HomelabError, match="does not let us in"):
        remote(site, stranger).identity()


@pytest.mark.servers
@pytest.mark.slow
def test_a_server_that_does_not_answer_keeps_no_other_target_from_its_backup(site: Protection, bucket: S3Depot) -> None:
    away = replace(bucket, endpoint=replace(bucket.endpoint, url=f"http://127.0.0.1:{ports.choose(1)[0]}"))
    both = replace(site, targets=(*site.targets, remote(site, away)))
    report = backup(both, BackupRequest(ITEM), silent)
    assert set(report.snapshots) == {"site"}
    assert states(both)["offsite"][0] == "out-of-reach"


@pytest.mark.servers
@pytest.mark.slow
def test_a_plan_goes_to_the_targets_that_it_names_and_to_no_other(site: Protection, bucket: S3Depot) -> None:
    offsite = remote(site, bucket)
    offsite.establish(site.protects)
    plans = {ITEM: replace(site.plans[ITEM], targets=("nas",))}
    both = replace(site, targets=(*site.targets, offsite), plans=plans)
    assert set(backup(both, BackupRequest(ITEM), silent).snapshots) == {"site"}
    assert set(states(both)) == {"site"}
    assert "repositories" not in bucket.names()


def test_restic_is_told_the_port_of_a_machine(tmp_path: Path) -> None:
    def location(port: int) -> str:
        machine = Target("target.nas", "nas", "backup", port)
        return SftpDepot(Sftp(machine, SshAccess(tmp_path / "known_hosts"), "/volume1/lab")).location(
            "repositories/lake"
        )

    assert location(22) == "sftp:backup@nas:/volume1/lab/repositories/lake"
    assert location(2222) == "sftp://backup@nas:2222//volume1/lab/repositories/lake"


@pytest.fixture
def folder(test_hosts: TestLab, tmp_path: Path) -> Iterator[SftpDepot]:
    """An empty folder of a host, behind its SSH server."""
    host = test_hosts.host("pi-2")
    place = "/var/backups/lab of ada"
    host.ssh(f"rm -rf '{place}'; mkdir -p '{place}'")
    known = tmp_path / "known_hosts"
    keys = host.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()
    known.write_text(f"target.nas {keys[0]} {keys[1]}\n")
    yield SftpDepot(Sftp(Target("target.nas", host.address), SshAccess(known, key=host.key), place))
    host.ssh(f"rm -rf '{place}'")


@pytest.mark.slow
@pytest.mark.testlab
@pytest.mark.servers
def test_a_nas_that_lets_in_by_sftp_holds_backups(site: Protection, folder: SftpDepot, tmp_path: Path) -> None:
    backed_up_proven_and_restored(site, remote(site, folder), tmp_path / "restored")
    assert IDENTITY in folder.names()
    assert (folder.room() or 0) > 1 << 20


@pytest.mark.slow
@pytest.mark.testlab
@pytest.mark.servers
def test_the_emergency_kit_brings_files_back_from_a_nas_by_its_private_key(
    site: Protection, folder: SftpDepot, tmp_path: Path
) -> None:
    target, key = remote(site, folder), folder.sftp.access.key
    assert key is not None
    target.establish(site.protects)
    kit = Kit({"offsite": {"key": "sops:secrets/backup.yaml#nas"}}, "/home/ada/attic.recovery-key")
    backup(replace(site, targets=(target,), kit=kit.page), BackupRequest(ITEM), silent)
    page = (target.folder / KIT).read_text()
    assert "sops:secrets/backup.yaml#nas" in page and str(key) not in page
    assert key.read_text().splitlines()[1] not in page

    home = tmp_path / "empty home"
    home.mkdir()
    shutil.copyfile(key, home / "private-key")
    password, commands, _by_name = blocks(page)
    said = typed(f"{password.replace('the recovery key', target.key)}\n{commands}", home, site.program()).stdout
    assert "1 snapshots" in said
    (restored,) = (home / "restored").iterdir()
    assert (restored / "files" / "keys" / "id").read_text() == "k" * 5000


@pytest.mark.slow
@pytest.mark.testlab
@pytest.mark.servers
def test_a_nas_that_was_never_met_is_out_of_reach_until_its_owner_says_who_it_is(
    site: Protection, folder: SftpDepot, tmp_path: Path
) -> None:
    folder.sftp.access.known_hosts.write_text("")
    both = replace(site, targets=(*site.targets, remote(site, folder)))
    with pytest.raises(Unreachable, match="its host key is not known yet"):
        both.targets[1].identity()
    assert set(backup(both, BackupRequest(ITEM), silent).snapshots) == {"site"}
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    folder.sftp.access.known_hosts.write_text(f"target.nas {other.with_suffix('.pub').read_text()}")
    with pytest.raises(HomelabError, match="shows another host key"):
        remote(site, folder).identity()

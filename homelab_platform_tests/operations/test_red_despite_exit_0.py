"""Whatever makes a backup worthless makes it red before anything is given up, although every program may end with 0.

Each case is a mishap as a person meets it. A good backup lies at the target; the mishap happens; the next backup has to
name it, `homelab backup list` has to say so, and not a byte of the good backup may be gone. The plan keeps one snapshot
a day: a second backup that passed would give the first one up.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.layers.backups import bucket, put_back
from homelab_platform.layers.backups.database import DatabaseItem
from homelab_platform.layers.backups.depots import S3Depot
from homelab_platform.layers.backups.files import FilesItem
from homelab_platform.layers.backups.manifest import Manifest
from homelab_platform.layers.backups.records import IDENTITY
from homelab_platform.layers.backups.remote import RemoteTarget
from homelab_platform.layers.backups.targets import REPOSITORIES, FolderTarget, Target
from homelab_platform.layers.drills import rehearsals
from homelab_platform.names import Say, silent
from homelab_platform.operations import backup as backups
from homelab_platform.operations.backup import BackupRequest, backup
from homelab_platform.operations.coverage import coverage
from homelab_platform.operations.site import Copier, Item, Protection
from homelab_platform.servers.postgres import binaries
from homelab_platform.servers.supervise import ports
from homelab_platform.tools import postgres
from homelab_platform.tools.endpoints import ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.operations.protection import plan, protection

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ALBUMS = "worthless-albums"
FILES, DATABASE, BUCKET = "platform/secrets", "platform/dagster", f"bucket/{ALBUMS}"
ROWS = 4000


@dataclass(frozen=True)
class Scene:
    """A site with a good backup, for one case: `root` is what it protects, `objects` its S3 server."""

    site: Protection
    root: Path
    objects: ObjectsEndpoint

    @property
    def target(self) -> FolderTarget:
        """Its only target."""
        (found,) = self.site.targets
        assert isinstance(found, FolderTarget)
        return found

    def with_target(self, target: Target) -> Protection:
        """The site with another target."""
        return replace(self.site, targets=(target,))

    def with_copier(self, name: str, copier: Copier) -> Protection:
        """The site whose item `name` is copied in another way."""
        item = replace(self.site.items[name], copier=copier)
        return replace(self.site, items={**self.site.items, name: item})

    def database(self) -> DatabaseItem:
        """The database as an item."""
        found = self.site.items[DATABASE].copier
        assert isinstance(found, DatabaseItem)
        return found


def items(root: Path, database: PostgresEndpoint, objects: ObjectsEndpoint) -> dict[str, Item]:
    copiers: list[Copier] = [
        FilesItem(root, FILES, ("secrets.json",), ("keys/*",)),
        DatabaseItem(database, binaries(), DATABASE),
        bucket.BucketItem(objects, ALBUMS, BUCKET),
    ]
    back = partial(put_back.put_files_beside, root=root)
    return {copier.name: Item(copier, rehearsals.rehearse_files, back) for copier in copiers}


@pytest.fixture(scope="module")
def pristine(
    tmp_path_factory: pytest.TempPathFactory, postgres_endpoint: PostgresEndpoint, objects_endpoint: ObjectsEndpoint
) -> Iterator[Scene]:
    """Files and a database with one good backup each; nothing happens to them here."""
    folder = tmp_path_factory.mktemp("pristine")
    root = folder / "site"
    (root / "keys").mkdir(parents=True)
    (root / "secrets.json").write_text('{"password": "hunter2"}')
    (root / "keys" / "bucket").write_bytes(b"k" * 5000)
    name = f"worthless_{os.urandom(4).hex()}"
    database = postgres_endpoint.with_database(name)
    postgres.create_database(postgres_endpoint, name)
    with closing(postgres.connect(database, autocommit=True)) as connection:
        connection.execute(f"CREATE TABLE run AS SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n")
    known = items(root, database, objects_endpoint)
    with protection(folder, postgres_endpoint, known) as made:
        once = {key: replace(plan(key, item.copier.method), keep={"daily": 1}) for key, item in known.items()}
        scene = Scene(replace(made, plans=once), root, objects_endpoint)
        for item in (FILES, DATABASE):
            assert backup(scene.site, BackupRequest(item), silent).snapshots["site"].verdict == "good"
        yield scene
    postgres.drop_database(postgres_endpoint, name)


@pytest.fixture
def scene(pristine: Scene, tmp_path: Path) -> Scene:
    """The same site and target in places of their own."""
    for name in ("site", "target"):
        shutil.copytree(pristine.root.parent / name, tmp_path / name)
    root, database = tmp_path / "site", pristine.database().endpoint
    site = replace(
        pristine.site,
        items=items(root, database, pristine.objects),
        targets=(replace(pristine.target, folder=tmp_path / "target"),),
        work=tmp_path / "work",
        protects=root,
    )
    return Scene(site, root, pristine.objects)


Mishap = Callable[[Scene, Path, pytest.MonkeyPatch], Protection]


# What is saved


def a_file_that_must_be_there_is_gone(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    (scene.root / "secrets.json").unlink()
    return scene.site


def the_share_that_is_saved_is_not_mounted(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    (tmp / "photos").mkdir()
    return scene.with_copier(FILES, FilesItem(tmp / "photos", FILES, (), ("**/*",)))


def half_of_it_is_gone(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    shutil.rmtree(scene.root / "keys")
    return scene.site


def a_file_changes_at_every_look(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return scene.with_copier(FILES, FilesItem(Path("/proc/sys/kernel/random"), FILES, ("uuid",)))


def its_disk_has_read_errors(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return scene.with_copier(FILES, FilesItem(Path("/proc/self"), FILES, ("mem",)))


def a_cleaner_of_temporary_files_took_one(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    class Tidied(FilesItem):
        def capture(self, stage: Path, run: str, say: Say, *, shrunk: bool = False) -> Manifest:
            made = super().capture(stage, run, say, shrunk=shrunk)
            (stage / "files" / "keys" / "bucket").unlink()
            return made

    return scene.with_copier(FILES, Tidied(scene.root, FILES, ("secrets.json",), ("keys/*",)))


def the_database_does_not_answer(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    away = replace(scene.database().endpoint, port=ports.choose(1)[0])
    return scene.with_copier(DATABASE, replace(scene.database(), endpoint=away))


def with_pg_dump(scene: Scene, tmp: Path, then: str) -> Protection:
    """The site whose pg_dump does something after its work; `$FILE` is the dump."""
    programs = tmp / "programs"
    programs.mkdir()
    for name, more in (("pg_dump", then), ("pg_restore", "")):
        find = 'for word; do case "$word" in --file=*) FILE="${word#--file=}";; esac; done'
        (programs / name).write_text(f'#!/bin/sh\n{find}\n"{binaries() / name}" "$@" || exit\n{more}\n')
        (programs / name).chmod(0o755)
    return scene.with_copier(DATABASE, replace(scene.database(), programs=programs))


def the_pipe_of_the_dump_dies(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return with_pg_dump(scene, tmp, 'truncate --size=9000 "$FILE"; kill -PIPE $$')


def the_dump_is_cut_short_without_a_complaint(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return with_pg_dump(scene, tmp, 'truncate --size=-4000 "$FILE"')


def most_rows_are_gone(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    with closing(postgres.connect(scene.database().endpoint, autocommit=True)) as connection:
        connection.execute(f"DELETE FROM run WHERE n > {ROWS} / 4")
    return scene.site


def a_bucket_lost_its_objects(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    with ObjectStore(scene.objects) as store:
        store.ensure_bucket(ALBUMS)
        for number in range(8):
            store.put(ALBUMS, f"photo-{number}", b"a summer")
        scene.site.items[BUCKET].copier.capture(scene.site.stage(BUCKET), "the run before", silent)
        store.delete(ALBUMS, [f"photo-{number}" for number in range(3)])
    return scene.site


def a_bucket_is_not_there(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return scene.with_copier(BUCKET, bucket.BucketItem(scene.objects, "never-made", BUCKET))


def a_bucket_does_not_let_us_in(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    stranger = replace(scene.objects, secret_key="wrong")
    return scene.with_copier(BUCKET, bucket.BucketItem(stranger, ALBUMS, BUCKET))


# Where it goes


def the_disk_of_the_target_is_not_mounted(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    scene.target.folder.rename(scene.target.folder.with_name("unplugged"))
    scene.target.folder.mkdir()
    return scene.site


def the_target_was_made_with_another_key(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return scene.with_target(replace(scene.target, key="another key"))


def rewritten(scene: Scene, **changes: str) -> Protection:
    file = scene.target.folder / IDENTITY
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return scene.site


def the_target_belongs_to_another_lab(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return rewritten(scene, lab="cellar")


def the_disks_of_two_targets_are_swapped(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return rewritten(scene, name="usb-2")


def a_power_cut_left_half_an_identity(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    file = scene.target.folder / IDENTITY
    file.write_bytes(file.read_bytes()[:40])
    return scene.site


def the_target_lies_inside_what_it_protects(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    inside = scene.root / "backup"
    scene.target.folder.rename(inside)
    return scene.with_target(replace(scene.target, folder=inside))


def the_target_lies_on_the_disk_that_it_protects(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return scene.with_target(replace(scene.target, own=False))


def the_target_is_full(scene: Scene, _tmp: Path, patch: pytest.MonkeyPatch) -> Protection:
    patch.setattr(backups, "LEAST_ROOM", 1 << 62)  # more than any disk has
    return scene.site


def the_repository_is_gone(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    shutil.rmtree(scene.target.folder / REPOSITORIES)
    return scene.site


def the_repository_is_damaged(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    for file in (scene.target.folder / REPOSITORIES).rglob("config"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:20])
    return scene.site


def a_record_is_cut_short(scene: Scene, _tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    for file in (scene.target.folder / "snapshots").rglob("*.json"):
        file.write_bytes(file.read_bytes()[:40])
    return scene.site


def restic_runs_out_of_memory(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    script = tmp / "restic"
    script.write_text(
        f'#!/bin/sh\nfor word; do [ "$word" = backup ] && kill -KILL $$; done\nexec {scene.site.program()} "$@"\n'
    )
    script.chmod(0o755)
    return replace(scene.site, program=lambda: script)


def in_bucket(scene: Scene, tmp: Path, endpoint: ObjectsEndpoint) -> Protection:
    depot = S3Depot(endpoint, "never-made-target")
    return scene.with_target(RemoteTarget("site", depot, tmp / "mirror", scene.target.lab, scene.target.key))


def the_bucket_of_the_target_is_gone(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return in_bucket(scene, tmp, scene.objects)


def the_bucket_of_the_target_does_not_let_us_in(scene: Scene, tmp: Path, _patch: pytest.MonkeyPatch) -> Protection:
    return in_bucket(scene, tmp, replace(scene.objects, secret_key="wrong"))


MISHAPS: list[tuple[Mishap, str, str]] = [
    (a_file_that_must_be_there_is_gone, FILES, "has no secrets.json"),
    (the_share_that_is_saved_is_not_mounted, FILES, "suspect: .*it is empty"),
    (half_of_it_is_gone, FILES, "suspect: 23 bytes, 5023 in the backup before"),
    (a_file_changes_at_every_look, FILES, "uuid: changes while it is copied"),
    (its_disk_has_read_errors, FILES, "/proc/self/mem: cannot be copied: "),
    (a_cleaner_of_temporary_files_took_one, FILES, "1 files of the manifest are missing .* files/keys/bucket"),
    (the_database_does_not_answer, DATABASE, "PostgreSQL"),
    (the_pipe_of_the_dump_dies, DATABASE, "pg_dump failed"),
    (the_dump_is_cut_short_without_a_complaint, DATABASE, "pg_restore failed"),
    (most_rows_are_gone, DATABASE, f"suspect: .*{ROWS // 4} rows, {ROWS} in the backup before"),
    (a_bucket_lost_its_objects, BUCKET, "holds 5 objects, the backup before 8"),
    (a_bucket_is_not_there, BUCKET, "never-made"),
    (a_bucket_does_not_let_us_in, BUCKET, "refused|let us in|credentials"),
    (the_disk_of_the_target_is_not_mounted, FILES, "it is not mounted"),
    (the_target_was_made_with_another_key, FILES, "was made with key [0-9a-f]{8}; the key here is [0-9a-f]{8}"),
    (the_target_belongs_to_another_lab, FILES, "belongs to the lab cellar"),
    (the_disks_of_two_targets_are_swapped, FILES, "is the target usb-2"),
    (a_power_cut_left_half_an_identity, FILES, f"{IDENTITY}: cannot be read"),
    (the_target_lies_inside_what_it_protects, FILES, "lie inside each other"),
    (the_target_lies_on_the_disk_that_it_protects, FILES, "lies on the disk of what it protects"),
    (the_target_is_full, FILES, "MiB are free, .* are needed"),
    (the_repository_is_gone, FILES, "the repository of platform/secrets is gone"),
    (the_repository_is_damaged, FILES, "restic snapshots failed"),
    (a_record_is_cut_short, FILES, "cannot be read"),
    (restic_runs_out_of_memory, FILES, "restic backup ended with -9"),
    (the_bucket_of_the_target_is_gone, FILES, "there is no such bucket"),
    (the_bucket_of_the_target_does_not_let_us_in, FILES, "does not let us in"),
]


@pytest.mark.parametrize(("mishap", "item", "message"), MISHAPS, ids=[mishap.__name__ for mishap, *_ in MISHAPS])
def test_red_before_anything_is_given_up(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mishap: Mishap, item: str, message: str
) -> None:
    site = mishap(scene, tmp_path, monkeypatch)
    saved = {file: file.read_bytes() for file in repository_files(tmp_path)}
    with pytest.raises(HomelabError, match=message):
        backup(site, BackupRequest(item), silent)
    assert {file: file.read_bytes() for file in repository_files(tmp_path) if file in saved} == saved
    (row,) = [row for row in coverage(site) if row.item == item]
    assert row.state in ("failed", "out-of-reach") and row.why


def repository_files(folder: Path) -> list[Path]:
    found = folder.rglob(f"{REPOSITORIES}/*/*/**/*")
    return [file for file in found if file.is_file() and file.parent.name != "locks"]

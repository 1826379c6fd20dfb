"""Snapshots hold what was saved, and whatever goes wrong with a repository is named."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from homelab_platform.servers.supervise import processes
from homelab_platform.tools.restic.repository import (
    IncompleteBackup,
    NoRepository,
    Repository,
    RepositoryLocked,
    ResticError,
    WrongKey,
)


@pytest.mark.servers
@pytest.mark.slow
def test_a_restored_snapshot_equals_what_was_saved(repository: Repository, folder: Path, tmp_path: Path) -> None:
    made = repository.backup(folder, ["run-1", "key-abc"])
    assert (made.total_files_processed, made.total_bytes_processed) == (2, 70_003)
    (listed,) = repository.snapshots(["run-1"])
    assert (listed.id, listed.hostname, set(listed.tags)) == (made.snapshot_id, "lab/item", {"run-1", "key-abc"})
    assert {e.path: e.size for e in repository.entries(listed.id) if e.type == "file"} == {
        "/deep/one": 70_000,
        "/two": 3,
    }
    repository.restore(listed.id, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "one").read_bytes() == b"1" * 70_000
    assert repository.dump(listed.id, "/two") == b"two"
    again = repository.backup(folder, ["run-2"])
    assert (again.files_new, again.files_unmodified) == (0, 2)
    repository.forget([made.snapshot_id])
    repository.prune()
    assert [s.id for s in repository.snapshots()] == [again.snapshot_id]
    assert repository.check("all") == []


@pytest.mark.servers
@pytest.mark.slow
def test_a_wrong_key_and_a_missing_repository_are_told_apart(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(WrongKey, match="the key does not open"):
        replace(repository, password="another").snapshots()
    elsewhere = replace(repository, location=str(tmp_path / "unmounted"))
    assert not elsewhere.exists()
    with pytest.raises(NoRepository, match="is mounted"):
        elsewhere.backup(tmp_path, [])
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.servers
@pytest.mark.slow
def test_a_command_that_fails_leaves_no_snapshot(repository: Repository) -> None:
    with pytest.raises(ResticError):
        repository.backup_output(["sh", "-c", "echo half a dump; exit 1"], "dump.sql", [])
    assert repository.snapshots() == []
    repository.backup_output(["sh", "-c", "echo a dump"], "dump.sql", ["whole"])
    (made,) = repository.snapshots(["whole"])
    assert repository.dump(made.id, "/dump.sql") == b"a dump\n"


SAVE = """
import sys
from pathlib import Path
from homelab_platform.tools.restic.repository import Repository
program, location, cache, pipe = sys.argv[1:]
Repository(Path(program), location, "lab/item", Path(cache), "a long key").backup_output(["cat", pipe], "dump.sql", [])
"""


@pytest.mark.servers
@pytest.mark.slow
def test_restic_does_not_outlive_a_process_that_is_killed(repository: Repository, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = [repository.program, repository.location, repository.cache, pipe]
    saving = subprocess.Popen([sys.executable, "-c", SAVE, *map(str, words)])
    with pipe.open("wb", buffering=0) as dump:  # waits until restic's command reads it
        dump.write(b"half a dump")
        (restic,) = Path(f"/proc/{saving.pid}/task/{saving.pid}/children").read_text().split()
        saving.kill()
        saving.wait()
        assert processes.wait_until(lambda: processes.start_of(int(restic)) is None, 60)
    # Now the command's input ends: a restic that lived on would make a snapshot of half a dump.
    repository.unlock()
    assert repository.snapshots() == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ResticError),
        (3, IncompleteBackup),
        (10, NoRepository),
        (11, RepositoryLocked),
        (12, WrongKey),
        (99, ResticError),
    ],
)
def test_every_exit_code_but_0_is_a_failure(folder: Path, tmp_path: Path, code: int, kind: type[ResticError]) -> None:
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho the disk is on fire >&2\nexit {code}\n")
    program.chmod(0o755)
    with pytest.raises(kind) as raised:
        Repository(program, "nowhere", "lab/item", tmp_path, "a key").backup(folder, [])
    assert type(raised.value) is kind


@pytest.mark.servers
@pytest.mark.slow
def test_a_single_flipped_bit_is_found_and_its_file_named(repository: Repository, folder: Path) -> None:
    repository.backup(folder, [])
    chosen = random.Random(7)
    files = sorted(p for p in Path(repository.location).rglob("*") if p.is_file() and p.parent.name != "locks")
    for file in files:
        sound, mode = file.read_bytes(), file.stat().st_mode
        file.chmod(0o600)
        flipped = bytearray(sound)
        flipped[chosen.randrange(len(sound))] ^= 1 << chosen.randrange(8)
        file.write_bytes(flipped)
        try:
            found = repository.check("all")
        except ResticError as error:
            found = [str(error)]
        assert found, f"{file.relative_to(repository.location)} has a flipped bit"
        if file.parent.parent.name == "data":
            assert file.name[:8] in " ".join(found)
        file.write_bytes(sound)
        file.chmod(mode)
    assert repository.check("all") == []

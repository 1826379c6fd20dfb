"""Files are whole or not there, and a lock ends with who holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.files import lock_or_none, locked, write_whole

WRITER = """
import sys
from pathlib import Path
from homelab_platform.files import write_whole
size = 1 << 20
print("ready", flush=True)
for number in range(10_000):
    write_whole(Path(sys.argv[1]), bytes([number % 250 + 1]) * size, durable=False)
"""


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "whole"
    for moment in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not file.exists():
            pass
        os.sched_yield()
        subprocess.run(["sleep", str(moment * 0.003)], check=True)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        content = file.read_bytes()
        assert len(content) == 1 << 20
        assert len(set(content)) == 1


def test_content_that_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file"
    assert write_whole(file, "a secret")
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_ino
    assert not write_whole(file, "a secret")
    assert file.stat().st_ino == before


def test_a_folder_in_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "file", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_second_holder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with locked(file):
        assert lock_or_none(file) is None
    second = lock_or_none(file)
    assert second is not None
    second.close()

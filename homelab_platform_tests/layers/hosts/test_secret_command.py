"""The command that lays down one secret file, run by a real shell."""

from __future__ import annotations

import getpass
import grp
import os
import stat
import subprocess
from pathlib import Path

import pytest

from homelab_platform.lab.resolved import ResolvedSecret
from homelab_platform.layers.hosts.secret_files import write_command


def secret(path: Path, **how: str) -> ResolvedSecret:
    own = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
    return ResolvedSecret.model_validate({"name": "s", "reference": "env:X", "path": str(path), **own, **how})


def write(one: ResolvedSecret, value: str) -> str:
    return subprocess.run(
        ["sh", "-c", write_command(one)], input=value, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("value", ["plain", "two\nlines\n", "quotes ' \" $x `id` \\", ""])
def test_the_file_is_whole_and_a_second_time_changes_nothing(tmp_path: Path, value: str) -> None:
    file = tmp_path / "a folder" / "it's"
    assert write(secret(file, mode="0440"), value) == "changed\n"
    assert file.read_text() == value
    assert stat.S_IMODE(file.stat().st_mode) == 0o440
    before = file.stat().st_ino
    assert write(secret(file, mode="0400"), value) == ""
    assert (file.stat().st_ino, stat.S_IMODE(file.stat().st_mode)) == (before, 0o400)
    assert write(secret(file), f"{value}!") == "changed\n"
    assert [entry.name for entry in file.parent.iterdir()] == ["it's"]


def test_a_file_whose_owner_is_not_there_yet_stays_shut(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert write(secret(file, owner="nobody-of-this-name", mode="0440"), "x") == "changed\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

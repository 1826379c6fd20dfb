"""Which of a system's secret files are handed over, what they say, and the command that lays one down."""

from __future__ import annotations

import getpass
import grp
import os
import stat
import subprocess
from pathlib import Path

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.lab.resolve.secrets import FOLDER
from homelab_platform.lab.resolved import ResolvedHost, ResolvedSecret
from homelab_platform.layers.hosts.access import HostAccess
from homelab_platform.layers.hosts.secret_files import delivered, texts, write_command
from homelab_platform.paths import PROJECT
from homelab_platform.tools.nix import SecretFile
from homelab_platform.tools.ssh.target import SshAccess


def secret(path: Path, **how: str) -> SecretFile:
    own = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
    return SecretFile.model_validate({"mode": "0400", "path": str(path), **own, **how})


def write(one: SecretFile, value: str) -> str:
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


def of_system(path: str, *references: str, template: str = "{value}") -> SecretFile:
    sources = dict(zip(("value", "other"), references, strict=False))
    return SecretFile(path=path, owner="root", group="root", mode="0400", sources=sources, template=template)


def host_with(*secrets: ResolvedSecret) -> ResolvedHost:
    lab = load_resolved(PROJECT / "examples" / "single-pi" / "lab.yaml", load_catalogue())
    return lab.hosts["pi"].model_copy(update={"secrets": {secret.name: secret for secret in secrets}})


def test_a_file_that_a_module_moved_elsewhere_or_that_has_no_source_is_not_ours() -> None:
    host = host_with(
        ResolvedSecret(name="app", reference="file:app", path="/etc/app/key"),
        ResolvedSecret(name="moved", reference="file:app", path=f"{FOLDER}/moved"),
    )
    files = {
        "app": of_system("/etc/app/key", "file:app"),
        "moved": of_system("/run/secrets/moved", "file:app"),
        "of-a-module": of_system(f"{FOLDER}/of-a-module", "file:app"),
        "made-at-the-host": of_system(f"{FOLDER}/made-at-the-host"),
    }
    assert list(delivered(files, host)) == ["app", "of-a-module"]


def test_keys_in_several_lines_end_with_a_line_end_whoever_names_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN-----\nabc\n-----END-----\n")
    (tmp_path / "word").write_text("{other} $x\n")
    access = HostAccess(SshAccess(tmp_path / "known_hosts"), tmp_path, lab_folder=tmp_path)
    said = {
        "key": of_system(f"{FOLDER}/key", "file:key"),
        "word": of_system(f"{FOLDER}/word", "file:word"),
        "both": of_system(f"{FOLDER}/both", "file:word", "file:word", template="A={value}\nB={other}\n"),
    }
    assert texts(said, access, host_with()) == {
        "key": "-----BEGIN-----\nabc\n-----END-----\n",
        "word": "{other} $x",
        "both": "A={other} $x\nB={other} $x\n",
    }
    with pytest.raises(HomelabError, match="file:nowhere"):
        texts({**said, "gone": of_system(f"{FOLDER}/gone", "file:nowhere")}, access, host_with())

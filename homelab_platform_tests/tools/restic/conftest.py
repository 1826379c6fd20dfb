"""What the tests of restic share: the real program, and an empty repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.servers.install.restic import restic_binary
from homelab_platform.tools.restic.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository with a key of its own."""
    made = Repository(restic_binary(), str(tmp_path / "repository"), "lab/item", tmp_path / "cache", "a long key")
    made.initialise()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files to save."""
    made = tmp_path / "files"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "one").write_bytes(b"1" * 70_000)
    (made / "two").write_text("two")
    return made

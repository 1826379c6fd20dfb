"""Restic is the very program that was checked once; older ones are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.install.restic import VERSION, restic_binary
from homelab_platform.tools.restic.version import require_version, version_of


@pytest.mark.servers
def test_restic_is_of_the_stated_version() -> None:
    assert ".".join(map(str, version_of(restic_binary()))) == VERSION


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        ("restic 0.14.0 compiled with go1.19.8", "0.14.0: before 0.19 a backup with missing sources"),
        ("restic 0.18.0 compiled with go1.24.2", "0.18.0: before 0.19"),
        ("a REST library", "is not restic"),
    ],
)
def test_an_old_restic_is_refused_with_the_reason(tmp_path: Path, says: str, fault: str) -> None:
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    with pytest.raises(HomelabError, match=fault):
        require_version(program)

"""One account gets through a folder that is shut, and nobody else does."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from homelab_platform.servers.supervise import passage

ONE, OTHER = 65501, 65502


def reads(file: Path, uid: int) -> bool:
    """Whether another account reads a file that it knows by name. Who is not root cannot try: the lists must do."""
    if os.geteuid() != 0:
        return all(passage.may_pass(parent, uid) for parent in file.parents)
    done = subprocess.run(["cat", file], user=uid, group=uid, extra_groups=[], capture_output=True, check=False)
    return done.returncode == 0


def test_only_the_named_account_gets_through(tmp_path_factory: pytest.TempPathFactory) -> None:
    top = tmp_path_factory.mktemp("home")
    shut = [parent for parent in (top, *top.parents) if not parent.stat().st_mode & stat.S_IXOTH]
    inner = top / "data"
    inner.mkdir(mode=0o755)
    (inner / "file").write_text("x")
    (inner / "file").chmod(0o644)
    before = {parent: parent.stat().st_mode for parent in shut}
    try:
        check(shut, before, inner / "file")
    finally:
        for parent in shut:
            os.removexattr(parent, "system.posix_acl_access")
            parent.chmod(stat.S_IMODE(before[parent]))


def check(shut: list[Path], before: dict[Path, int], file: Path) -> None:
    """The steps of the test, whose folders are put back afterwards."""
    assert not reads(file, ONE)
    for parent in shut:
        assert passage.let_through(parent, ONE)
        assert passage.let_through(parent, ONE), "a second time changes nothing"
        assert passage.may_pass(parent, ONE)
        assert not passage.may_pass(parent, OTHER)
    assert reads(file, ONE)
    assert not reads(file, OTHER)
    assert {parent: parent.stat().st_mode & stat.S_IRWXO for parent in shut} == {
        parent: mode & stat.S_IRWXO for parent, mode in before.items()
    }
    for parent in shut:
        passage.let_through(parent, OTHER)
    assert reads(file, ONE)
    assert reads(file, OTHER)

"""What a build of the lab's cache mounts goes with it, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.servers.supervise.processes import wait_until

PROGRAM = """
import sys
from homelab_platform_tests.testlab import debian
script = f"mkdir -p {sys.argv[1]}/proc; mount -t proc proc {sys.argv[1]}/proc; touch {sys.argv[1]}/mounted; sleep 600"
debian._run(["sh", "-ec", script], "a build")
"""


@pytest.mark.testlab
def test_nothing_stays_mounted_or_runs_on_when_a_build_is_killed(tmp_path: Path) -> None:
    build = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    try:
        assert wait_until((tmp_path / "mounted").exists, 20)
        mounts = Path("/proc/mounts").read_text()
    finally:
        build.kill()
        build.wait()
    assert str(tmp_path) not in mounts, "nobody else sees what a build mounts"
    assert wait_until(lambda: not _runs(str(tmp_path)), 10)


def _runs(word: str) -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in file.read_bytes():
                return True
        except OSError:
            continue
    return False

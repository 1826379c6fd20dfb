"""A session that cannot have a lab says so where nobody overlooks it, and fails where that must not be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOT_ROOT = "import os\nos.geteuid = lambda: 1000\npytest_plugins = ['homelab_platform_tests.testlab.fixtures']\n"
TEST = """
import pytest

@pytest.mark.testlab
def test_of_the_lab(test_hosts):
    assert test_hosts.hosts

def test_of_something_else():
    pass
"""


def session(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A session of pytest by somebody who is not root."""
    (folder / "conftest.py").write_text(NOT_ROOT)
    (folder / "test_some.py").write_text(TEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    clean = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("given", [{}, {"PYTEST_ADDOPTS": "-n 2"}], ids=["alone", "workers"])
@pytest.mark.slow
def test_the_last_line_says_that_tests_were_left_out_and_why(tmp_path: Path, given: dict[str, str]) -> None:
    done = session(tmp_path, **given)
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("NOT TESTED: 1 tests on real hosts")
    assert "needs root" in last


@pytest.mark.slow
def test_in_ci_a_left_out_test_is_a_failure(tmp_path: Path) -> None:
    done = session(tmp_path, CI="true")
    assert done.returncode == 1
    assert "must not be left out" in done.stdout

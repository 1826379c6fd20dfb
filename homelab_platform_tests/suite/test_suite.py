"""The suite itself: which tests run together, and that a broken budget is red."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from homelab_platform_tests.suite.budget import Budget, Test

PLUGINS = """
import pytest
pytest_plugins = ["homelab_platform_tests.suite." + name for name in ("attempts", "order", "budget")]

@pytest.fixture
def test_hosts(): pass

@pytest.fixture
def test_cluster(test_hosts): pass
"""
FILES = {
    "test_quick.py": "def test_one(): pass\ndef test_two(): pass\n",
    "test_slow.py": "import pytest\n@pytest.mark.slow\ndef test_long(): pass\n",
    "test_longest.py": "import pytest\n@pytest.mark.slow\n@pytest.mark.timeout(900)\ndef test_longest(): pass\n",
    "test_a_cluster.py": "def test_pods(test_cluster): pass\n",
    "test_hosts.py": "def test_host(test_hosts): pass\n\ndef test_beside(): pass\n",
}


def session(folder: Path, *words: str, files: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A run of pytest over these files, or FILES."""
    (folder / "conftest.py").write_text(PLUGINS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow: long\n  servers: real\n")
    for name, text in (files or FILES).items():
        (folder / name).write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, str(folder)]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_lab_runs_first_on_one_worker_and_the_longest_before_the_quick(tmp_path: Path) -> None:
    done = session(tmp_path, "-n", "2", "-v")
    ran = [line.split() for line in done.stdout.splitlines() if line.startswith("[gw")]
    workers: dict[str, list[str]] = {}
    for worker, *_, test in ran:
        workers.setdefault(worker, []).append(test.rpartition("::")[2])
    [lab] = [tests for tests in workers.values() if "test_pods" in tests]
    assert lab[:2] == ["test_host", "test_pods"]
    others = [test for tests in workers.values() for test in tests if test not in {"test_pods", "test_host"}]
    assert sorted(others) == ["test_beside", "test_long", "test_longest", "test_one", "test_two"]
    assert done.returncode == 0
    alone = session(tmp_path, "--collect-only", "-q").stdout.split()
    names = [line.rpartition("::")[2] for line in alone if "::" in line]
    assert names[:4] == ["test_host", "test_pods", "test_longest", "test_long"]


@pytest.mark.slow
def test_a_run_over_its_budget_is_red_and_says_what_it_took(tmp_path: Path) -> None:
    began = time.time() - 3600 * 24
    done = session(tmp_path, "-q", "--budget", "5", "--began", f"{began:.0f}")
    assert done.returncode == 1
    assert "BUDGET BROKEN: the run took 1440." in done.stdout
    assert "the 10 dearest tests" in done.stdout
    assert session(tmp_path, "-q", "--budget", "5").returncode == 0


def test_a_quick_test_may_take_what_it_takes_and_a_busy_machine_stretches_the_limit() -> None:
    budget = Budget(None, time.time())
    budget.tests["marked"] = Test(quick=False, whole=60, body=60)
    budget.tests["with dear fixtures"] = Test(whole=60, body=0.1)
    budget.tests["on a busy machine"] = Test(whole=6, body=6, slowness=2)
    assert budget.broken() == []
    budget.tests["too long"] = Test(whole=6, body=6)
    [line] = budget.broken()
    assert line.startswith("too long took 6.0 s and is not marked slow (limit 4.0 s)")


AT_THE_SECOND_ATTEMPT = """
import pathlib, pytest

def right_from_the_second_on(name):
    mark = pathlib.Path(__file__).with_name(name)
    again = mark.exists()
    mark.touch()
    assert again, "nobody foresaw this"
"""
REAL_AND_SLOW = "\n@pytest.mark.servers\n@pytest.mark.slow\ndef test_real_{0}(): right_from_the_second_on('{0}')\n"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_slow_test_on_real_servers_is_tried_again_and_named(tmp_path: Path, workers: tuple[str, ...]) -> None:
    files = {"test_it.py": AT_THE_SECOND_ATTEMPT + REAL_AND_SLOW.format("a")}
    done = session(tmp_path, *workers, "--max-suite-reruns=1", "--rerun-show-tracebacks", files=files)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 rerun" in done.stdout
    assert "test_it.py::test_real_a" in done.stdout
    assert "nobody foresaw this" in done.stdout


@pytest.mark.slow
def test_what_computes_gets_one_attempt_and_a_run_few_second_ones(tmp_path: Path) -> None:
    computes = {"test_it.py": AT_THE_SECOND_ATTEMPT + "\ndef test_sum(): right_from_the_second_on('sum')\n"}
    done = session(tmp_path, "--max-suite-reruns=1", files=computes)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    (tmp_path / "sum").unlink()
    many = {"test_it.py": AT_THE_SECOND_ATTEMPT + "".join(map(REAL_AND_SLOW.format, "abc"))}
    done = session(tmp_path, "--max-suite-reruns=1", files=many)
    assert done.returncode == 1
    assert "2 failed, 1 passed, 1 rerun" in done.stdout

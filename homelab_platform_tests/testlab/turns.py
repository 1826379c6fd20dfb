"""Which worker of a session runs what, and in which order: tests of one lab together, labs first.

Belongs here: the order. Tests on the session's lab wait for each other (`lab_alone`), and tests with a lab of their own
need a processor each for minutes; so each of these two kinds is one worker's work from the beginning, and the other
workers have all the rest, file by file, so that what a file's tests share is made once.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

SHARED = frozenset(
    {"testlab/test_cluster", "testlab/test_example", "testlab/test_fixtures", "testlab/test_hosts",
     "testlab/test_images", "testlab/test_life", "operations/test_cluster_adapter", "operations/test_lab_workloads",
     "operations/test_workloads", "operations/test_workload_volumes"}
)  # fmt: skip
"""Files whose tests are on the session's lab."""
OWN = frozenset(
    {"testlab/test_loop", "operations/test_hosts", "operations/test_hosts_nixos", "operations/test_hosts_roles",
     "operations/test_hosts_trouble", "operations/test_platform_on_cluster"}
)  # fmt: skip
"""Files whose tests start labs of their own."""


def unit_of(nodeid: str) -> str:
    """What a test is handed out with: the shared lab, the own labs, or its file."""
    file = PurePosixPath(nodeid.partition("::")[0])
    name = f"{file.parent.name}/{file.stem}"
    return "the shared lab" if name in SHARED else "own labs" if name in OWN else str(file)


def rank(nodeid: str) -> int:
    """Labs come first: theirs is the longest way."""
    return ("the shared lab", "own labs", unit_of(nodeid)).index(unit_of(nodeid))


class ByLab(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole units, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Every session with workers is handed out so."""
    config.option.loadscopereorder = False
    return ByLab(config, log)

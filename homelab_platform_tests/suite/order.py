"""Which tests run on one worker, and in which order: the longest first, the short ones beside them.

Belongs here: the groups of tests and their order. Not here: what tests may take (budget.py).

The tests on the session's lab wait more than they compute, and each that troubles the lab excludes the others. So they
are one group, which the first worker begins with; what computes fills the machine meanwhile. Every other file stays on
one worker, so that nothing that its tests share starts twice, and the longest files begin first.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

LAB = "lab"
MARK = "testlab"
LAB_FIXTURES = ("test_hosts", "test_cluster")
"""Session fixtures; tests of the cluster come after those of the hosts, which need it not."""
ENGINES = ("nifi", "trino")
"""Session fixtures that take a minute to start and serve one test at a time."""
ENGINE_SECONDS = 450.0
"""Where the tests of an engine stand among others: as if each took so long, because together they take minutes."""
INSTALLED_LATE = (*ENGINES, "minio", "mqtt")
"""Session fixtures that may have to be installed first; that is not the time of the test that asks first."""


class FilesAndGroups(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """Hands whole files to workers, and the tests of one group together wherever they stand.

    xdist's own `loadgroup` does not group with pytest 9.2 (pytest-xdist issue 1386): the workers, which collect, leave
    the groups in a file for the process that hands out.
    """

    def _split_scope(self, nodeid: str) -> str:
        if not hasattr(self, "_groups"):
            self._groups: dict[str, str] = {}
            with suppress(FileNotFoundError):  # no worker had anything to group
                self._groups = json.loads(_groups_file(self.config.option.testrunuid).read_text())
        return self._groups.get(nodeid) or nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Name the run, for its processes to meet."""
    if not hasattr(config, "workerinput") and not config.getoption("testrunuid", None):
        config.option.testrunuid = uuid.uuid4().hex


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Our scheduler, in the order of the collection, unless another one is asked for."""
    if config.getoption("dist") not in {"load", "loadfile"}:
        return None
    config.option.loadscopereorder = False
    return FilesAndGroups(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the groups for the process that hands out."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None:
        groups = {item.nodeid: scope_of(item) for item in session.items if scope_of(item) in {LAB, *ENGINES}}
        file = _groups_file(worker["testrunuid"])
        scratch = file.with_suffix(f".{worker['workerid']}")
        scratch.write_text(json.dumps(groups))
        scratch.replace(file)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take that file away."""
    if not hasattr(config, "workerinput"):
        _groups_file(config.getoption("testrunuid", "")).unlink(missing_ok=True)


def _groups_file(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"homelab-test-groups-{run}.json"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put groups and files in the order in which workers take them."""
    first: dict[str, tuple[int, float]] = {}
    for item in items:
        scope = scope_of(item)
        first[scope] = min(first.get(scope, rank(item)), rank(item))
    items.sort(key=lambda item: (first[scope_of(item)], scope_of(item), _lab_rank(item)))
    for item in items:
        if item.get_closest_marker(MARK) or set(INSTALLED_LATE) & set(getattr(item, "fixturenames", ())):
            _limit_the_body_alone(item)


def scope_of(item: pytest.Item) -> str:
    """The name of the tests that run on the same worker, one after the other, as this one: a group or a file."""
    names = getattr(item, "fixturenames", ())
    if any(fixture in names for fixture in LAB_FIXTURES):
        return LAB
    return next((engine for engine in ENGINES if engine in names), item.nodeid.partition("::")[0])


def rank(item: pytest.Item) -> tuple[int, float]:
    """What comes first: the session's lab, then slow tests with the longest limits, and last the quick ones."""
    scope = scope_of(item)
    if scope == LAB:
        return 0, 0
    if scope in ENGINES:
        return 1, -ENGINE_SECONDS
    return (1, -_limit(item)) if item.get_closest_marker("slow") else (2, 0)


def _lab_rank(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return max((rank for rank, fixture in enumerate(LAB_FIXTURES, 1) if fixture in names), default=0)


def _limit_the_body_alone(item: pytest.Item) -> None:
    known = item.get_closest_marker("timeout")
    seconds = known.args[0] if known and known.args else item.config.getini("timeout")
    item.add_marker(pytest.mark.timeout(float(seconds or 0), func_only=True), append=False)


def _limit(item: pytest.Item) -> float:
    """Seconds that the test may take at most, as it says itself."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark and mark.args else 0.0

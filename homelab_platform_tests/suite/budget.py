"""What the suite may take: the run ends with its dearest tests, and is red when a budget is broken.

Belongs here: the budgets and the judgement. Not here: in which order tests run (order.py).

A budget is in seconds of a quiet machine of two processors. On a busy one it is that much longer as the machine has
more to do than processors: slowness of the machine is named, and is no fault of the suite.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.servers.install.shared import find

DEAREST = 10
QUICK_LIMIT_SECONDS = 4.0
"""What makes a run red. A test that takes more than one second is marked slow; the rest of this limit is for importing
a large library, which falls to whichever test comes first."""
OWN_LOAD = 3.0
"""Processes that the suite itself has running for each processor of a quiet machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--budget` is what the whole run may take."""
    options = parser.getgroup("budget")
    options.addoption("--budget", type=float, metavar="MINUTES", help="fail when the run takes longer")
    options.addoption("--budget-cold", type=float, metavar="MINUTES", help="the same while servers are to be installed")
    options.addoption("--began", type=float, metavar="SECONDS", help="Unix time from which --budget counts")


def pytest_configure(config: pytest.Config) -> None:
    """Judge in the process that reports; workers only run tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Budget.of(config), "homelab-budget")


@dataclass
class Test:
    """What one test took, in seconds: `body` without its fixtures."""

    __test__ = False

    quick: bool = True
    whole: float = 0.0
    body: float = 0.0
    slowness: float = 1.0


@dataclass(eq=False)  # a plugin is looked up by what it is
class Budget:
    """The times of a run."""

    minutes: float | None
    began: float
    cold: bool = False
    quick_only: bool = True
    tests: dict[str, Test] = field(default_factory=lambda: defaultdict(Test))
    loads: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, config: pytest.Config) -> Budget:
        """The budget that the command line names."""
        minutes, cold = config.getoption("budget"), config.getoption("budget_cold")
        waits = cold is not None and not _all_installed()
        quick_only = "not slow" in config.getoption("markexpr", "")
        return cls(cold if waits else minutes, config.getoption("began") or time.time(), waits, quick_only)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a part of a test to what it took."""
        load = _load_per_processor()
        self.loads.append(load)
        test = self.tests[report.nodeid]
        test.quick = "slow" not in report.keywords
        test.whole += report.duration
        if report.when == "call":
            test.body, test.slowness = report.duration, max(1.0, load)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A green run with a broken budget is red."""
        if session.exitstatus == pytest.ExitCode.OK and self.broken():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the dearest tests, and the budgets that are broken."""
        if not self.tests:
            return
        terminalreporter.section(f"the {DEAREST} dearest tests")
        dearest = sorted(self.tests.items(), key=lambda pair: -pair[1].whole)[:DEAREST]
        for name, test in dearest:
            terminalreporter.write_line(f"{test.whole:7.1f} s  {name}")
        total = sum(test.whole for test in self.tests.values())
        terminalreporter.write_line(f"{total:7.1f} s  all {len(self.tests)} tests; {self._said_of_the_run()}")
        for line in self.broken():
            terminalreporter.write_line(f"BUDGET BROKEN: {line}", red=True, bold=True)

    def broken(self) -> list[str]:
        """Each budget that is broken, in a sentence.

        Single tests are judged where slow ones are left out: beside a lab and its servers a second means nothing.
        """
        lines = [
            f"{name} took {test.body:.1f} s and is not marked slow "
            f"(limit {QUICK_LIMIT_SECONDS * test.slowness:.1f} s): mark it, or make it quicker"
            for name, test in self.tests.items()
            if self.quick_only and test.quick and test.body > QUICK_LIMIT_SECONDS * test.slowness
        ]
        took = (time.time() - self.began) / 60
        if self.minutes is not None and took > self.minutes * self._slowness():
            lines.append(f"the run took {took:.1f} min; {self._said_of_the_run()}")
        return lines

    def _slowness(self) -> float:
        mean = sum(self.loads) / len(self.loads) if self.loads else 0.0
        return max(1.0, mean / OWN_LOAD)

    def _said_of_the_run(self) -> str:
        if self.minutes is None:
            return "no budget for the run"
        words = f"budget {self.minutes:.0f} min" + (" with servers to install" if self.cold else "")
        slowness = self._slowness()
        return words if slowness == 1.0 else f"{words}, times {slowness:.1f} for a busy machine"


def _load_per_processor() -> float:
    """Processes that run or wait to run for each processor, over the last minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _all_installed() -> bool:
    """Whether everything that takes minutes to install is there."""
    from homelab_platform.servers import minio
    from homelab_platform.servers.install import nifi, trino
    from homelab_platform_tests.testlab import debian, programs

    try:
        recipes = (minio.RECIPE, nifi.recipe(), trino.RECIPE, programs.KUBE, debian.recipe())
    except HomelabError:
        return False
    return all(find(recipe) is not None for recipe in recipes)

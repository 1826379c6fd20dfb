"""Fixtures that give tests a lab: one for the whole session, shared by all its workers, started when first asked for.

Belongs here: the fixtures, and the loud word of a session that had to leave these tests out. A test that uses them is
marked `testlab`; it needs root. The lab is everybody's: leave it as it was, or start one of your own (`lab.start`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from homelab_platform_tests.testlab import lab, requirements
from homelab_platform_tests.testlab.lab import TestLab

if TYPE_CHECKING:
    from homelab_platform_tests.testlab.cluster import TestCluster

MARK = "testlab"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{MARK}: needs real hosts or a real cluster; only as root, on Linux")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test of the lab out where there can be no lab; in CI that is a failure."""
    if item.get_closest_marker(MARK) is None:
        return
    reason = requirements.why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true: these tests must not be left out)", pytrace=False)
    if reason:
        pytest.skip(f"test lab: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say in the very last line how many tests of the lab were left out, and why."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    left_out = [
        report for report in reporter.stats.get("skipped", ()) if "test lab: " in str(getattr(report, "longrepr", ""))
    ]
    if left_out:
        reporter.write_line(
            f"NOT TESTED: {len(left_out)} tests on real hosts and a real cluster were left out, because "
            f"{requirements.why_not()}. Run them as root.",
            red=True,
            bold=True,
        )


@pytest.fixture(scope="session")
def test_hosts(testrun_uid: str) -> Iterator[TestLab]:
    """Three running Debian hosts (`pi-1`, `pi-2`, `pi-3`)."""
    running = lab.start(f"session {testrun_uid}")
    yield running
    running.leave()


@pytest.fixture(scope="session")
def test_cluster(test_hosts: TestLab) -> TestCluster:
    """A running Kubernetes on `pi-1` (server) and `pi-2` (agent)."""
    from homelab_platform_tests.testlab.cluster import start_cluster

    return start_cluster(test_hosts)


@pytest.fixture(scope="session")
def with_busybox(test_cluster: TestCluster) -> TestCluster:
    """The same Kubernetes, whose nodes have the small image `localhost/busybox:1`."""
    from homelab_platform_tests.testlab.busybox import busybox_image

    test_cluster.bring(busybox_image())
    return test_cluster


@pytest.fixture
def lab_alone(test_hosts: TestLab) -> Iterator[TestLab]:
    """The session's lab, with no other test on it meanwhile that takes this fixture: for pulling plugs and the like."""
    with test_hosts.alone():
        yield test_hosts

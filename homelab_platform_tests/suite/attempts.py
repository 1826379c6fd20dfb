"""Which tests get a second attempt: those that wait for real machines, and few in a run.

Belongs here: who gets one. Not here: how it is made (pytest-rerunfailures), how many a run may need
(`--max-suite-reruns`, which `make test` gives; from the next failure on the run is red).

What computes is right or wrong at the first attempt. A test that starts kernels' namespaces, database servers and
pods on a busy machine can also meet a second that nobody foresaw, and 1 such in 4,000 tests makes every run red. So
slow tests on real servers may be tried again, once. The run's end names each, with what went wrong: it is a fault to be
mended, of the test or of the platform.
"""

from __future__ import annotations

import pytest

REAL = ("servers", "testlab")
PAUSE_SECONDS = 3.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let slow tests on real servers be tried a second time, where the command line says how many may."""
    for item in items if config.getoption("max_suite_reruns", None) else ():
        if item.get_closest_marker("slow") and any(map(item.get_closest_marker, REAL)):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=PAUSE_SECONDS))

"""Which level of the Pod Security Standards a pod needs. `PODS` is also asked of a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.lab.pod_levels import LEVELS, PodLevel, most_open
from homelab_platform.plan.workload.pod_security import beyond_baseline, beyond_restricted, level_of
from homelab_platform_tests.plan.workload.pods_by_level import PODS


@pytest.mark.parametrize("name", PODS)
def test_a_pod_needs_the_level_that_the_standards_name(name: str) -> None:
    level, pod = PODS[name]
    assert level_of(pod) == level, [*beyond_baseline(pod), *beyond_restricted(pod)]


@given(st.lists(st.sampled_from(sorted(PODS))))
def test_a_pod_of_several_containers_needs_the_most_open_level_of_them(names: list[str]) -> None:
    alone = [name for name in names if set(PODS[name][1]) <= {"containers", "securityContext"} and "pod" not in name]
    containers: list[Any] = [container for name in alone for container in PODS[name][1]["containers"]]
    levels: list[PodLevel] = [PODS[name][0] for name in alone]
    whole = PODS["restricted"][1]
    pod = {**whole, "containers": [*whole["containers"], *containers]}
    assert level_of(pod) == most_open(levels)
    assert LEVELS.index(level_of(pod)) <= LEVELS.index("privileged")

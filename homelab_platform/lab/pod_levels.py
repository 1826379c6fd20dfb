"""The levels of Kubernetes' Pod Security Standards, from strict to open.

Belongs here: their names and their order. Not here: what each refuses (plan/workload/pod_security.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

PodLevel = Literal["restricted", "baseline", "privileged"]
LEVELS: tuple[PodLevel, ...] = ("restricted", "baseline", "privileged")


def most_open(levels: Iterable[PodLevel]) -> PodLevel:
    """The level that lets all of them run; `restricted` for none."""
    return LEVELS[max((LEVELS.index(level) for level in levels), default=0)]

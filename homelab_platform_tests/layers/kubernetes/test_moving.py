"""A workload that moves to another namespace leaves nothing running where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from homelab_platform.apply.adapter import Observation, World, apply_one
from homelab_platform.errors import HomelabError
from homelab_platform.plan.desired import DesiredState
from homelab_platform_tests.graph.world import MemoryStore

KEY = "workload/web"


@dataclass
class Releases:
    """Fingerprints by namespace: as much of a cluster as moving touches."""

    there: dict[str, str] = field(default_factory=dict)

    def probe(self, desired: DesiredState) -> Observation:
        """What is in its namespace."""
        found = self.there.get(str(desired.document["namespace"]))
        return Observation(found is not None, found or "")

    def change(self, desired: DesiredState, observed: Observation, say: Callable[[str], None]) -> None:
        """Install it."""
        self.there[str(desired.document["namespace"])] = desired.fingerprint

    def remove(self, key: str, document: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Take it away."""
        self.there.pop(str(document["namespace"]), None)


def in_namespace(name: str, volumes: Mapping[str, Any]) -> DesiredState:
    """The workload there."""
    return DesiredState(KEY, "workload", {"name": "web", "namespace": name, "volumes": volumes}, fingerprint=name * 64)


def test_what_ran_at_the_former_place_goes_and_a_volume_there_needs_a_persons_word() -> None:
    for volumes in ({}, {"data": {"size": 1}}):
        releases, store = Releases(), MemoryStore()
        world = cast("World", SimpleNamespace(store=store, adapter=lambda _layer, found=releases: found))
        apply_one(world, in_namespace("a", volumes))
        store.observed(KEY, "missing", turn=store.turn())
        if volumes:
            with pytest.raises(HomelabError, match="would lose data"):
                apply_one(world, in_namespace("b", volumes))
            assert releases.there == {"a": "a" * 64}
            store.consent(KEY, "a" * 64, "b" * 64)
        apply_one(world, in_namespace("b", volumes))
        assert releases.there == {"b": "b" * 64}

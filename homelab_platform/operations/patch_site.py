"""The hosts that a site patches, as a value: how each is reached, its cluster's nodes, the journal, the clock.

Belongs here: the value that patching is handed. Not here: how a site comes to it (sites/patching.py), or any procedure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, cast

from homelab_platform.errors import HomelabError
from homelab_platform.layers.patches.machine import Machine
from homelab_platform.names import Say
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.patch_plan import PatchPlan
from homelab_platform.tools.kube.nodes import NodeState, PodRef


class Nodes(Protocol):
    """The nodes of a cluster; see tools/kube/nodes.py for what each call means."""

    def states(self) -> dict[str, NodeState]:
        """Every node by name."""
        ...

    def cordon(self, name: str, run: str) -> bool:
        """Cordon a node for a run; False where somebody else's cordon is there."""
        ...

    def uncordon(self, name: str, run: str) -> bool:
        """Take back the cordon of a run; False where there is none of it."""
        ...

    def to_leave(self, name: str) -> list[PodRef]:
        """Pods that must leave a node before it goes down."""
        ...

    def evict(self, pod: PodRef) -> str:
        """Ask a pod to leave; why it may not now, empty if it was asked."""
        ...

    def obstacles(self, name: str, *, others: bool) -> list[str]:
        """Why pods of a node would not leave it once it is cordoned."""
        ...

    def unready(self) -> frozenset[str]:
        """Controllers that have fewer pods ready than they want."""
        ...


def utc_now() -> datetime:
    """The time of this machine's clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """Time as a procedure sees it; `ticks` are seconds that never go back."""

    now: Callable[[], datetime] = utc_now
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Fleet:
    """The hosts that a site patches. `machine` opens one by name; `nodes` is None where there is no cluster.

    `begun` are the hosts that were applied, by a person first: others are not patched by themselves; None: all were.
    `unproven` says what is not saved and proven as its plan asks, a line each; `unsaved` what the lab has a backup of
    that this site does not reach. `holding` keeps an apply of a host out while a block runs.
    """

    plan: PatchPlan
    journal: Journal
    machine: Callable[[str], AbstractContextManager[Machine]]
    nodes: Callable[[], Nodes] | None
    holding: Callable[[str, Say], AbstractContextManager[None]]
    begun: Callable[[], frozenset[str]] | None = None
    unproven: Callable[[], list[str]] = list
    unsaved: tuple[str, ...] = ()
    clock: Clock = field(default_factory=Clock)
    patience: float = 0.0


class PatchingSite(Protocol):
    """A site that reaches hosts and patches them."""

    def fleet(self) -> Fleet:
        """What it patches, and how."""
        ...


def fleet_of(world: object) -> Fleet:
    """What an open site patches. Raises HomelabError for a site that reaches no hosts."""
    if not hasattr(world, "fleet"):
        raise HomelabError.of("patch", "this site reaches no hosts", "homelab up --profile lab starts one that does.")
    return cast("PatchingSite", world).fleet()

"""A fleet in memory with a clock that is moved by sleeping: hosts that restart, nodes with pods, budgets that refuse.

Belongs here: what the tests of patching share. Time costs nothing, so a night of hours takes seconds; what each host
did at which second is on record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.lab.calendar import window
from homelab_platform.layers.patches.facts import HostFacts, PatchRecord, Update
from homelab_platform.layers.patches.machine import Machine
from homelab_platform.names import Say
from homelab_platform.operations import journal as journals
from homelab_platform.operations.journal import Journal
from homelab_platform.operations.patch_plan import PatchPlan, Turn
from homelab_platform.operations.patch_site import Clock, Fleet
from homelab_platform.tools.endpoints import PostgresEndpoint
from homelab_platform.tools.kube.nodes import NodeState, PodRef
from homelab_platform.tools.postgres import drop_database

APT_SECONDS, BOOT_SECONDS = 90.0, 40.0
NIGHT = datetime(2026, 12, 6, 2, 0, tzinfo=UTC)
"""First Sunday of December, 03:00 in Berlin."""


@contextmanager
def own_journal(postgres: PostgresEndpoint) -> Iterator[Journal]:
    """A journal in a database of its own."""
    name = f"operations_{os.urandom(4).hex()}"
    real, journals.DATABASE = journals.DATABASE, name
    try:
        yield Journal(postgres)
    finally:
        journals.DATABASE = real
        drop_database(postgres, name)


@dataclass
class Host:
    """A host: what waits for it, and how it misbehaves."""

    name: str
    updates: tuple[Update, ...] = (Update(name="openssl", before="3.0.1", after="3.0.2"),)
    wants_restart: bool = True
    restart_seconds: float = BOOT_SECONDS
    refuses_updates: str = ""
    kubelet_seconds: float = 30.0
    ill: tuple[str, ...] = ()
    boots: int = 1
    up_at: float = 0.0
    record: PatchRecord | None = None
    installs: list[str] = field(default_factory=list)


@dataclass
class Node:
    """A node of the cluster and the pods on it."""

    pods: list[str] = field(default_factory=list)
    cordoned: bool = False
    run: str = ""
    refuses: str = ""


@dataclass
class World:
    """Everything there is. `log` holds the second, the host and what happened."""

    hosts: dict[str, Host]
    nodes: dict[str, Node]
    now: datetime = NIGHT
    obstacles: dict[str, list[str]] = field(default_factory=dict)
    log: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds since the night began."""
        return (self.now - NIGHT).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)

    def note(self, host: str, what: str) -> None:
        """Put something on record."""
        self.log.append((self.seconds, host, what))

    def happened(self, what: str) -> list[str]:
        """The hosts to which something happened, in order."""
        return [host for _, host, word in self.log if word == what]

    def kubelet_boot(self, host: str) -> str:
        """The boot that a node's kubelet reported last: that of before until it has started anew."""
        one = self.hosts[host]
        late = self.seconds < one.up_at + (one.kubelet_seconds if one.boots > 1 else 0.0)
        return f"{host}-{one.boots - 1 if late else one.boots}"

    def is_up(self, host: str) -> bool:
        """Whether a host answers."""
        return self.seconds >= self.hosts[host].up_at

    def clock(self) -> Clock:
        """This world's time."""
        return Clock(lambda: self.now, lambda: self.seconds, self.sleep)


class FakeMachine:
    """A host of the world as the procedure sees it."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._host = world, world.hosts[name]

    def look(self, *, refresh: bool = False) -> HostFacts:
        host = self._host
        self._world.sleep(1)
        if not self._world.is_up(host.name):
            raise Unreachable.of(f"host/{host.name}", "does not answer")
        pending = host.updates if not host.installs else ()
        waits = host.wants_restart and bool(host.installs) and host.boots == 1
        reasons = ("/run/reboot-required",) if waits else ()
        return HostFacts(
            boot=f"{host.name}-{host.boots}", kernel="6.6", updates=pending, free=1 << 40, reboot=reasons,
            patched=host.record,
        )  # fmt: skip

    def boot(self) -> str:
        return self.look().boot

    def install(self, run: str, updates: Sequence[Update], say: Say) -> None:
        host = self._host
        self._world.sleep(APT_SECONDS)
        if host.refuses_updates:
            raise HomelabError.of(f"host/{host.name}", host.refuses_updates)
        if run not in host.installs:
            host.installs.append(run)
            self._world.note(host.name, "updated")

    def reboot(self) -> None:
        host = self._host
        host.boots += 1
        host.up_at = self._world.seconds + host.restart_seconds
        self._world.note(host.name, "down")

    def ailments(self, failed_before: Sequence[str]) -> list[str]:
        return [unit for unit in self._host.ill if unit not in failed_before]

    def note(self, record: PatchRecord) -> None:
        self._host.record = record


class FakeNodes:
    """The cluster of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def states(self) -> dict[str, NodeState]:
        return {
            name: NodeState(name, self.seems_ready(name), self._world.kubelet_boot(name), node.cordoned, node.run)
            for name, node in self._world.nodes.items()
        }

    def seems_ready(self, name: str) -> bool:
        """A node counts as Ready for 40 seconds after it went down, as the real ones do."""
        host = self._world.hosts[name]
        went_down = host.up_at - host.restart_seconds
        return self._world.is_up(name) or (host.boots > 1 and self._world.seconds < went_down + 40)

    def cordon(self, name: str, run: str) -> bool:
        node = self._world.nodes[name]
        if node.cordoned:
            return node.run == run
        node.cordoned, node.run = True, run
        self._world.note(name, "cordoned")
        return True

    def uncordon(self, name: str, run: str) -> bool:
        node = self._world.nodes[name]
        if node.run != run:
            return False
        node.cordoned, node.run = False, ""
        self._world.note(name, "uncordoned")
        return True

    def to_leave(self, name: str) -> list[PodRef]:
        return [PodRef("default", pod) for pod in self._world.nodes[name].pods]

    def evict(self, pod: PodRef) -> str:
        for name, node in self._world.nodes.items():
            if pod.name in node.pods:
                if node.refuses:
                    return node.refuses
                node.pods.remove(pod.name)
                free = next(n for k, n in self._world.nodes.items() if k != name and not n.cordoned)
                free.pods.append(pod.name)
                break
        return ""

    def obstacles(self, name: str, *, others: bool) -> list[str]:
        return self._world.obstacles.get(name, [])

    def unready(self) -> frozenset[str]:
        return frozenset()


ORDER = (("pi-2", "canary", True), ("pi-3", "agent", True), ("pi-1", "server", True), ("nas", "other", False))


def world_of_four() -> World:
    """A canary, an agent, a server and a host outside the cluster; ten pods on each node."""
    nodes = {name: Node([f"{name}-pod-{i}" for i in range(10)]) for name, _, node in ORDER if node}
    return World({name: Host(name) for name, _, _ in ORDER}, nodes)


def fleet_in(world: World, journal: Journal, **turn: object) -> Fleet:
    """The fleet of a world; `turn` changes every host's turn."""

    def machine(name: str) -> AbstractContextManager[Machine]:
        return nullcontext(FakeMachine(world, name))

    said = window("first Sunday 03:00-06:00")
    turns = tuple(Turn(name, group, said, node, 600, 120, "when-needed") for name, group, node in ORDER)
    turns = tuple(replace(one, **turn) for one in turns)  # type: ignore[arg-type]
    plan = PatchPlan("Europe/Berlin", turns, backup_first=False)
    return Fleet(
        plan, journal, machine, lambda: FakeNodes(world), lambda _host, _say: nullcontext(), clock=world.clock()
    )

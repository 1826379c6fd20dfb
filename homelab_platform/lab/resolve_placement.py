"""Which hosts a workload may run on, and what that leaves of them.

Belongs here: placement by architecture, taints, wishes and memory. Stateful workloads on local disks are pinned to one
host (their data lies there); others may run wherever they fit, and the scheduler decides.

A pinned host is chosen by rendezvous hashing (Thaler and Ravishankar, 1998): each workload ranks the hosts by a hash of
both names, so that a host or workload coming or going does not move the others' data.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from homelab_platform.lab.chosen import Chosen, Draft
from homelab_platform.lab.resolved import ResolvedHost


@dataclass
class Room:
    """What is left of the nodes: memory in bytes and CPU in millicores, after what is pinned to them."""

    memory: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, int] = field(default_factory=dict)

    def take(self, host: str, chosen: Chosen) -> None:
        """Counts a copy of the workload on the host; goes below zero when it does not fit."""
        self.memory[host] -= chosen.memory
        self.cpu[host] -= chosen.cpu

    def fits(self, host: str, chosen: Chosen) -> bool:
        """Whether a copy still fits."""
        return self.memory[host] >= chosen.memory and self.cpu[host] >= chosen.cpu


def place(draft: Draft, hosts: Mapping[str, ResolvedHost], pinned: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Hosts that each workload may run on; `pinned` are workloads whose data lies on one host's disk.

    Wishes (`on:`) hold always, even where they do not fit: the rules say so. An empty tuple: any node.
    """
    room = Room(
        {name: hosts[name].allocatable_memory for name in draft.nodes},
        {name: hosts[name].allocatable_cpu for name in draft.nodes},
    )
    found: dict[str, tuple[str, ...]] = {}
    rest: list[Chosen] = []
    for name, chosen in sorted(draft.chosen.items()):
        wished = tuple(sorted({host for host in chosen.said.on if host in hosts}))
        if wished or chosen.per_node or chosen.kind in ("host", "builtin"):
            found[name] = wished or _everywhere(draft, hosts, chosen)
            _count(room, chosen, found[name])
        else:
            rest.append(chosen)
    for chosen in rest:
        able = [host for host in draft.nodes if _may_run(hosts[host], chosen)]
        if chosen.name in pinned and able:
            best = _preferred(chosen, able, room)
            found[chosen.name] = (best,)
            room.take(best, chosen)
        else:
            found[chosen.name] = () if len(able) == len(draft.nodes) else tuple(able)
    return found


def _everywhere(draft: Draft, hosts: Mapping[str, ResolvedHost], chosen: Chosen) -> tuple[str, ...]:
    if chosen.kind == "host" or (chosen.kind == "builtin" and not chosen.per_node):
        return ()
    able = tuple(host for host in draft.nodes if hosts[host].arch in chosen.arch)
    return () if able == draft.nodes else able


def _count(room: Room, chosen: Chosen, on: tuple[str, ...]) -> None:
    if chosen.per_node:
        on = on or tuple(room.memory)
    elif len(on) > 1:
        return
    for host in on:
        if host in room.memory:
            room.take(host, chosen)


def _may_run(host: ResolvedHost, chosen: Chosen) -> bool:
    repelled = any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in host.taints)
    return host.arch in chosen.arch and not repelled and host.allocatable_memory >= chosen.memory


def _preferred(chosen: Chosen, able: list[str], room: Room) -> str:
    ranked = sorted(able, key=lambda host: (zlib.crc32(f"{chosen.name}\n{host}".encode()), host))
    return next((host for host in ranked if room.fits(host, chosen)), ranked[0])

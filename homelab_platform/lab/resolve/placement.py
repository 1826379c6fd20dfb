"""Which hosts a workload may run on, and what that leaves of them.

Belongs here: placement by architecture, taints, wishes, memory, CPU and disk. Stateful workloads on local disks are
pinned to one host (their data lies there); others may run wherever they fit, and the scheduler decides.

A pinned host is chosen by rendezvous hashing (Thaler and Ravishankar, 1998): each workload ranks the hosts by a hash of
both names, so that a host or workload coming or going does not move the others' data.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from homelab_platform.lab import fit
from homelab_platform.lab.resolve.chosen import Chosen, Draft
from homelab_platform.lab.resolve.volumes import local_disk
from homelab_platform.lab.resolved import ResolvedHost


@dataclass
class Room:
    """What is left of the nodes, after what is pinned to them; `disk` is what each workload keeps on a local disk."""

    left: dict[str, fit.Demand]
    disk: Mapping[str, int] = field(default_factory=dict)

    def demand(self, chosen: Chosen) -> fit.Demand:
        """What a copy of the workload asks for."""
        return chosen.memory, chosen.cpu, self.disk.get(chosen.name, 0)

    def take(self, host: str, chosen: Chosen) -> None:
        """Counts a copy of the workload on the host; goes below zero when it does not fit."""
        self.left[host] = fit.less(self.left[host], self.demand(chosen))

    def fits(self, host: str, chosen: Chosen) -> bool:
        """Whether a copy still fits."""
        return fit.fits_in(self.demand(chosen), self.left[host])


def place(draft: Draft, hosts: Mapping[str, ResolvedHost], pinned: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Hosts that each workload may run on; `pinned` are the bytes of workloads whose data lies on one host's disk.

    Wishes (`on:`) hold always, even where they do not fit: the rules say so. An empty tuple: any node.
    """
    named = draft.lab.storage.local_path.disk
    room = Room({name: _free(hosts[name], named) for name in draft.nodes}, pinned)
    found: dict[str, tuple[str, ...]] = {}
    rest: list[Chosen] = []
    for name, chosen in sorted(draft.chosen.items()):
        wished = tuple(sorted({host for host in chosen.said.on if host in hosts}))
        if wished or chosen.per_node or chosen.kind in ("host", "builtin"):
            found[name] = wished or _everywhere(draft, hosts, chosen)
            _count(room, chosen, found[name])
        else:
            rest.append(chosen)
    start = dict(room.left)
    ables = {chosen.name: [host for host in draft.nodes if _may_run(hosts[host], chosen)] for chosen in rest}
    for chosen in rest:
        able = ables[chosen.name]
        if chosen.name in pinned and able:
            best = _preferred(chosen, able, room)
            found[chosen.name] = (best,)
            room.take(best, chosen)
        else:
            found[chosen.name] = () if len(able) == len(draft.nodes) else tuple(able)
    if any(min(room.left[host]) < 0 <= min(start[host]) for host in start):
        found |= _packed(rest, ables, start, room)
    return found


def _free(host: ResolvedHost, named: str | None) -> fit.Demand:
    disk = local_disk(host, named)
    return host.allocatable_memory, host.allocatable_cpu, fit.UNKNOWN_DISK if disk is None else disk


def _packed(
    rest: list[Chosen], ables: Mapping[str, list[str]], start: Mapping[str, fit.Demand], room: Room
) -> dict[str, tuple[str, ...]]:
    """Hosts of the pinned workloads by exact packing, where each taking the host it likes best does not fit."""
    nodes = [fit.Node(name, free) for name, free in start.items()]
    pinned = [chosen for chosen in rest if chosen.name in room.disk and ables[chosen.name]]
    items = [fit.Item(chosen.name, room.demand(chosen), tuple(ables[chosen.name])) for chosen in pinned]
    loose = [chosen for chosen in rest if chosen.name not in room.disk]
    others = [
        fit.Item(f"{chosen.name}\n{copy}", room.demand(chosen), tuple(ables[chosen.name]))
        for chosen in loose
        for copy in range(chosen.replicas)
        if ables[chosen.name]
    ]
    places = fit.pack(nodes, [*items, *others]) or fit.pack(nodes, items) or {}
    return {chosen.name: (places[chosen.name],) for chosen in pinned if chosen.name in places}


def _everywhere(draft: Draft, hosts: Mapping[str, ResolvedHost], chosen: Chosen) -> tuple[str, ...]:
    if chosen.kind == "host" or (chosen.kind == "builtin" and not chosen.per_node):
        return ()
    able = tuple(host for host in draft.nodes if hosts[host].arch in chosen.arch)
    return () if able == draft.nodes else able


def _count(room: Room, chosen: Chosen, on: tuple[str, ...]) -> None:
    if chosen.per_node:
        on = on or tuple(room.left)
    elif len(on) > 1:
        return
    for host in on:
        if host in room.left:
            room.take(host, chosen)


def _may_run(host: ResolvedHost, chosen: Chosen) -> bool:
    repelled = any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in host.taints)
    return host.arch in chosen.arch and not repelled and host.allocatable_memory >= chosen.memory


def _preferred(chosen: Chosen, able: list[str], room: Room) -> str:
    ranked = sorted(able, key=lambda host: (zlib.crc32(f"{chosen.name}\n{host}".encode()), host))
    return next((host for host in ranked if room.fits(host, chosen)), ranked[0])

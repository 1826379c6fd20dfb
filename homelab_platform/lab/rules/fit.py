"""Rules about room: memory, CPU and disk of every node against what the workloads ask for.

Belongs here: where the figures come from, and how a lack is told. The packing itself is in lab/fit.py.

A node's memory and CPU are what the resolved lab leaves for pods. Its disk is the one that local-path volumes lie on:
k3s's local-path class enforces no sizes, so that a full disk would be found out by the databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from homelab_platform.errors import Problem
from homelab_platform.lab import fit
from homelab_platform.lab import quantities as q
from homelab_platform.lab.catalogue import Entry
from homelab_platform.lab.context import RuleContext
from homelab_platform.lab.model.workloads import Workload
from homelab_platform.lab.resolve.volumes import local_disk
from homelab_platform.lab.resolved import ResolvedHost, ResolvedLab, ResolvedWorkload
from homelab_platform.lab.rules.facts import facts

GI = 1024**3
_DIMENSIONS = ("memory", "CPU", "disk")


@dataclass
class Room:
    """One node while it fills up: what it has for pods, what is left, who took how much."""

    name: str
    whole: fit.Demand
    left: fit.Demand
    users: list[tuple[str, fit.Demand]] = field(default_factory=list)

    def take(self, name: str, demand: fit.Demand) -> None:
        """Gives `demand` to a workload, even when it is no longer there."""
        self.left = fit.less(self.left, demand)
        self.users.append((name, demand))


def does_not_fit(ctx: RuleContext) -> Iterable[Problem]:
    """A pod that fits nowhere stays pending, and one that is squeezed in kills its neighbours when memory runs out. The
    plan says so before anything is bought or broken."""
    resolved = ctx.resolved
    rooms = _rooms(ctx, resolved) if resolved is not None else {}
    if resolved is None or not rooms:
        return
    items = list(_items(ctx, resolved, rooms))
    told = list(_on_every_node(ctx, resolved, rooms))
    told += _pinned(ctx, rooms, [item for item in items if len(item.nodes) == 1])
    loose = [item for item in items if len(item.nodes) > 1]
    if not told:
        told += [problem for item in loose if (problem := _too_large(ctx, rooms, item)) is not None]
    if not told and loose:
        told += _packed(ctx, rooms, loose)
    yield from told


def demand_of(workload: ResolvedWorkload) -> fit.Demand:
    """What one copy of a workload asks of its node."""
    disk = sum(v.size for v in workload.volumes.values() if v.storage_class == "local-path")
    return workload.memory, workload.cpu, disk


def _rooms(ctx: RuleContext, resolved: ResolvedLab) -> dict[str, Room]:
    rooms = {}
    for name in facts(ctx).nodes:
        host = resolved.hosts.get(name)
        if host is not None and host.memory:
            disk = local_disk(host, ctx.lab.storage.local_path.disk)
            free = (host.allocatable_memory, host.allocatable_cpu, fit.UNKNOWN_DISK if disk is None else disk)
            rooms[name] = Room(name, free, free)
    return rooms


def _items(ctx: RuleContext, resolved: ResolvedLab, rooms: dict[str, Room]) -> Iterator[fit.Item]:
    """Every copy of every workload that lies on one node, in the order of the file."""
    for name, workload, entry in facts(ctx).pods():
        made = resolved.workloads.get(name)
        if made is None or (entry is not None and entry.per_node):
            continue
        able = _able(ctx, resolved, workload, entry, rooms)
        for copy in range(made.replicas if able else 0):
            yield fit.Item(f"{name}\n{copy}" if copy else name, demand_of(made), able)


def _able(
    ctx: RuleContext, resolved: ResolvedLab, workload: Workload, entry: Entry | None, rooms: dict[str, Room]
) -> tuple[str, ...]:
    if workload.on:
        return tuple(name for name in workload.on if name in rooms)
    arch = entry.arch if entry is not None and not workload.image else ("amd64", "arm64")
    hosts = {name: resolved.hosts[name] for name in rooms}
    return tuple(n for n, h in hosts.items() if h.arch in arch and not _repels(h))


def _repels(host: ResolvedHost) -> bool:
    return any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in host.taints)


def _on_every_node(ctx: RuleContext, resolved: ResolvedLab, rooms: dict[str, Room]) -> Iterator[Problem]:
    """Counts what runs on each node; tells of the last one that a node has no room for."""
    full: set[str] = set()
    for name, workload in ctx.lab.workloads.items():
        entry, made = facts(ctx).entries[name], resolved.workloads.get(name)
        if entry is None or made is None or not (entry.per_node or (entry.kind == "host" and workload.on)):
            continue
        memory, cpu, _ = demand_of(made)
        for room in rooms.values():
            if workload.on and room.name not in workload.on:
                continue
            room.take(name, (memory, cpu, 0))
            lack = _lack((0, 0, 0), room.left)
            if lack is not None and room.name not in full and room.whole[lack] > 0:
                full.add(room.name)
                what = f"{name} runs on every node, and {room.name} has no room for it"
                users = _users(room, lack)
                remedy = f"It has {_show(room.whole[lack], lack)} for pods ({users}). Use a larger board there."
                yield ctx.problem(("workloads", name), what, remedy, "does-not-fit", key=True)


def _lack(demand: fit.Demand, left: fit.Demand) -> int | None:
    """The first dimension in which a demand is larger than what is left."""
    return next((d for d in range(3) if demand[d] > left[d]), None)


def _pinned(ctx: RuleContext, rooms: dict[str, Room], items: list[fit.Item]) -> list[Problem]:
    """Fills the nodes in the order of the file and tells of each workload that no longer fits on its own."""
    told = []
    for item in items:
        room = rooms[item.nodes[0]]
        lack = _lack(item.demand, room.left)
        if lack is None:
            room.take(_name(item), item.demand)
        else:
            told.append((item, room, lack))
    return [_no_room(ctx, rooms, *row) for row in told]


def _no_room(ctx: RuleContext, rooms: dict[str, Room], item: fit.Item, room: Room, lack: int) -> Problem:
    name, need, left = _name(item), item.demand[lack], max(0, room.left[lack])
    users = _users(room, lack)
    what = (
        f"{name} needs {_show(need, lack, left)}; {room.name} has {_show(left, lack, need)} left "
        f"of {_bare(room.whole[lack], lack)}{f' ({users})' if users else ''}"
    )
    others = [
        r
        for r in rooms.values()
        if r.name != room.name and fit.fits_in(item.demand, r.left) and r.whole[lack] < fit.UNKNOWN_DISK
    ]
    best = max(others, key=lambda r: (r.left[lack], r.name)) if others else None
    moves = f"Move it (on: {best.name} has {_show(best.left[lack], lack)}) or lower" if best else "Lower"
    remedy = f"{moves} {_knob(lack, left)}."
    return ctx.problem(("workloads", name), what, remedy, "does-not-fit", key=True)


def _knob(lack: int, left: int) -> str:
    if lack == 0:
        return f"what it asks for (memory: {left // 1024**2}Mi)" if left >= 16 * 1024**2 else "what runs there"
    if lack == 1:
        return f"what it asks for (cpu: {left}m)" if left >= 10 else "what runs there"
    return f"its size (at most {left // GI}Gi)" if left >= GI else "the size of what lies there"


def _too_large(ctx: RuleContext, rooms: dict[str, Room], item: fit.Item) -> Problem | None:
    """A workload that no node could carry, even alone."""
    if any(fit.fits_in(item.demand, rooms[name].whole) for name in item.nodes):
        return None
    name = _name(item)
    lacks = [_lack(item.demand, rooms[n].whole) or 0 for n in item.nodes]
    lack = max(set(lacks), key=lacks.count)
    largest = max((rooms[n] for n in item.nodes), key=lambda r: (r.whole[lack], r.name))
    has = _show(largest.whole[lack], lack)
    what = f"{name} needs {_show(item.demand[lack], lack)}; the largest node, {largest.name}, has {has} for pods"
    if lack == 2:
        what = f"{name} needs {_show(item.demand[2], 2)}; the largest disk, of {largest.name}, has {has}"
    remedy = f"Lower {_knob(lack, largest.whole[lack])}, or add a larger {'disk' if lack == 2 else 'node'}."
    return ctx.problem(("workloads", name), what, remedy, "does-not-fit", key=True)


def _packed(ctx: RuleContext, rooms: dict[str, Room], items: list[fit.Item]) -> list[Problem]:
    """Tells of the workload that is one too many: the last in the file without which all others fit."""
    nodes = [fit.Node(room.name, room.left) for room in rooms.values()]
    if fit.pack(nodes, items) is not None:
        return []
    for item in sorted(items, key=lambda i: ctx.positions.key("workloads", _name(i)), reverse=True):
        rest = [other for other in items if other is not item]
        places = fit.pack(nodes, rest, search=False)
        if places is not None:
            return [_one_too_many(ctx, rooms, item, rest, places)]
    return [_far_too_many(ctx, rooms, items)]


def _one_too_many(
    ctx: RuleContext, rooms: dict[str, Room], item: fit.Item, rest: list[fit.Item], places: dict[str, str]
) -> Problem:
    for other in rest:
        rooms[places[other.name]].take(_name(other), other.demand)
    able = [rooms[name] for name in item.nodes]
    lacks = [_lack(item.demand, room.left) for room in able]
    lack = max({d for d in lacks if d is not None} or {0}, key=lacks.count)
    best = max(able, key=lambda room: (room.left[lack], room.name))
    name, need, left = _name(item), item.demand[lack], max(0, best.left[lack])
    what = (
        f"{name} needs {_show(need, lack, left)}; after all others the most that is left is "
        f"{_show(left, lack, need)} of {_bare(best.whole[lack], lack)} on {best.name} ({_users(best, lack)})"
    )
    remedy = f"Lower {_knob(lack, left)}, take something out, or add a node."
    return ctx.problem(("workloads", name), what, remedy, "does-not-fit", key=True)


def _far_too_many(ctx: RuleContext, rooms: dict[str, Room], items: list[fit.Item]) -> Problem:
    need = [sum(item.demand[d] for item in items) for d in range(3)]
    room = [sum(max(0, r.left[d]) for r in rooms.values()) for d in range(3)]
    lack = max(range(3), key=lambda d: need[d] / max(1, room[d]))
    each: dict[str, int] = {}
    for item in items:
        each[_name(item)] = each.get(_name(item), 0) + item.demand[lack]
    largest = sorted(each.items(), key=lambda row: -row[1])[:3]
    names = ", ".join(f"{name} {_bare(count, lack)}" for name, count in largest)
    what = (
        f"the workloads need {_show(need[lack], lack)} together; the nodes have {_show(room[lack], lack)} left for them"
    )
    short = max(0, need[lack] - room[lack])
    much = f"{_show(short, lack)} is missing" if short else "the pieces do not fit together"
    remedy = f"{much[0].upper()}{much[1:]}: lower or take out the largest ({names}), or add a node."
    return ctx.problem(("workloads",), what, remedy, "does-not-fit", key=True)


def _name(item: fit.Item) -> str:
    return item.name.split("\n")[0]


def _users(room: Room, lack: int) -> str:
    totals: dict[str, int] = {}
    for name, demand in room.users:
        if demand[lack]:
            totals[name] = totals.get(name, 0) + demand[lack]
    rows = sorted(totals.items(), key=lambda row: (-row[1], row[0]))
    shown = ", ".join(f"{name} {_bare(count, lack)}" for name, count in rows[:3])
    return f"{shown}, …" if len(rows) > 3 else shown


def _bare(count: int, lack: int) -> str:
    return f"{count / 1000:.1f}" if lack == 1 else f"{count / GI:.1f}"


def _show(count: int, lack: int, beside: int | None = None) -> str:
    """'1.4 GiB', '0.5 cores', '20 GiB of disk'; in smaller units where two figures would look alike."""
    alike = beside is not None and _bare(count, lack) == _bare(beside, lack)
    if lack == 1:
        return f"{count}m of CPU" if alike else f"{count / 1000:.1f} cores"
    text = f"{count / 1024**2:.0f} MiB" if alike else f"{count / GI:.1f} GiB"
    return f"{text} of disk" if lack == 2 else text


def storage_too_small(ctx: RuleContext) -> Iterable[Problem]:
    """What is shared or replicated must fit on the disks too: the media folder, Longhorn's copies, ZFS quotas."""
    yield from _media(ctx)
    yield from _longhorn(ctx)
    for name, pool in ctx.lab.storage.zfs.items():
        host = ctx.lab.hosts.get(pool.host)
        disks = [host.disks[d].size for d in pool.disks if d in host.disks] if host else []
        disks = disks or ([d.size for d in host.disks.values() if d.pool == name] if host else [])
        lost = {"mirror": len(disks) - 1, "raidz1": 1, "raidz2": 2, "raidz3": 3}.get(pool.layout, 0)
        usable = min(disks) * max(1, len(disks) - lost) if disks and pool.layout != "single" else sum(disks)
        for dataset, said in pool.datasets.items():
            if said.quota and disks and said.quota > usable:
                what = (
                    f"{name}: the quota {q.show_size(said.quota)} of {dataset} is more than the pool's {_gib(usable)}"
                )
                path = ("storage", "zfs", name, "datasets", dataset, "quota")
                yield ctx.problem(path, what, f"At most {usable // GI}Gi.", "storage-too-small")


def _media(ctx: RuleContext) -> Iterator[Problem]:
    media, resolved = ctx.lab.storage.media, ctx.resolved
    if media is None or media.size is None or media.on != "local" or resolved is None:
        return
    host = resolved.hosts.get(str(resolved.storage.get("media", {}).get("host")))
    if host is None or not host.disks:
        return
    largest = max(d.size for d in host.disks.values())
    if media.size > largest:
        what = (
            f"the media folder of {_gib(media.size)} is larger than the largest disk of {host.name} ({_gib(largest)})"
        )
        yield ctx.problem(("storage", "media", "size"), what, f"At most {largest // GI}Gi.", "storage-too-small")


def _longhorn(ctx: RuleContext) -> Iterator[Problem]:
    resolved, longhorn = ctx.resolved, ctx.lab.storage.longhorn
    if resolved is None or longhorn is None:
        return
    facts_ = resolved.storage.get("longhorn", {})
    hosts = [resolved.hosts[n] for n in facts_.get("hosts", ()) if n in resolved.hosts]
    if not hosts or not all(host.disks for host in hosts):
        return
    room = sum((local_disk(host, longhorn.disk) or 0) for host in hosts)
    copies, total, largest = int(facts_.get("replicas") or 1), 0, ("", 0)
    for name, workload in resolved.workloads.items():
        size = sum(v.size for v in workload.volumes.values() if v.storage_class == "longhorn")
        total += size * max(1, workload.replicas)
        largest = max(largest, (name, size), key=lambda row: row[1])
    if total * copies > room:
        need = f"{_gib(total * copies)} ({copies} copies of {_gib(total)})"
        what = f"Longhorn's volumes need {need}; its disks have {_gib(room)}"
        remedy = f"Lower replicas or sizes (the largest is {largest[0]} with {_gib(largest[1])}), or add disks."
        yield ctx.problem(("storage", "longhorn"), what, remedy, "storage-too-small", key=True)


def _gib(count: int) -> str:
    return f"{count / GI:.1f} GiB"


RULES = (does_not_fit, storage_too_small)

"""Whether everything fits: items with demands (memory, CPU, disk) into nodes, each item into one of some nodes.

Belongs here: the pure arithmetic of packing. Not here: where figures come from (rules/fit.py,
lab/resolve/placement.py).

First-fit decreasing with one-step repair finds a packing in almost every lab that has one. Where it finds none, a
search over all placements decides: depth first, largest item first, equal nodes tried once, what has failed remembered.
For a lab of up to a dozen items that may move it runs to its end, so that the verdict is exact. It gives up after STEPS
placements (half a second); the verdict then is "does not fit": a scheduler, which never moves anything, would not find
a place either.

Units: memory and disk in bytes, CPU in millicores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEPS = 50_000
Demand = tuple[int, int, int]  # memory, CPU, disk
UNKNOWN_DISK = 1 << 62  # a node whose disks are not declared


@dataclass(frozen=True)
class Node:
    """What a node has free."""

    name: str
    free: Demand


@dataclass(frozen=True)
class Item:
    """What must lie on one node; `nodes` are the ones it may lie on."""

    name: str
    demand: Demand
    nodes: tuple[str, ...]


def pack(nodes: Sequence[Node], items: Sequence[Item], *, search: bool = True) -> dict[str, str] | None:
    """A node for each item so that no node holds more than it has free; None when there is no such packing.

    Equal inputs give equal packings, whatever the order they come in. Without `search` only the quick way is tried.
    """
    free = {node.name: node.free for node in nodes}
    total = tuple(max(1, sum(f[d] for f in free.values())) for d in range(3))
    ordered = sorted(items, key=lambda item: (len(_able(item, free)) > 1, -_weight(item, total), item.name))
    if any(not _able(item, free) for item in items):
        return None
    if any(sum(item.demand[d] for item in items) > sum(f[d] for f in free.values()) for d in range(3)):
        return None
    found = _first_fit(free, ordered)
    return found if found is not None or not search else _search(free, ordered)


def fits_in(demand: Demand, free: Demand) -> bool:
    """Whether a demand fits into what is free."""
    return demand[0] <= free[0] and demand[1] <= free[1] and demand[2] <= free[2]


def less(free: Demand, demand: Demand) -> Demand:
    """What remains after a demand is taken."""
    return free[0] - demand[0], free[1] - demand[1], free[2] - demand[2]


def _more(free: Demand, demand: Demand) -> Demand:
    return free[0] + demand[0], free[1] + demand[1], free[2] + demand[2]


def _able(item: Item, free: Mapping[str, Demand]) -> list[str]:
    return [name for name in item.nodes if name in free and fits_in(item.demand, free[name])]


def _weight(item: Item, total: tuple[int, ...]) -> float:
    return max(item.demand[d] / total[d] for d in range(3))


def _first_fit(start: Mapping[str, Demand], ordered: Sequence[Item]) -> dict[str, str] | None:
    free, placed = dict(start), dict[str, str]()
    by_name = {item.name: item for item in ordered}
    for item in ordered:
        able = _able(item, free) or _after_repair(item, free, placed, by_name)
        if not able:
            return None
        best = min(able, key=lambda name: (_slack(free[name], item.demand, start[name]), name))
        placed[item.name] = best
        free[best] = less(free[best], item.demand)
    return placed


def _slack(free: Demand, demand: Demand, whole: Demand) -> float:
    """How much would remain, as the largest share of the node: the tightest place is the best."""
    return max((free[d] - demand[d]) / max(1, whole[d]) for d in range(3))


def _after_repair(
    item: Item, free: dict[str, Demand], placed: dict[str, str], by_name: Mapping[str, Item]
) -> list[str]:
    """Moves one placed item out of the way, if that makes room."""
    for node in item.nodes:
        if node not in free:
            continue
        for name, where in placed.items():
            other = by_name[name]
            if where != node or not fits_in(item.demand, _more(free[node], other.demand)):
                continue
            for elsewhere in _able(other, free):
                if elsewhere != node:
                    placed[name] = elsewhere
                    free[elsewhere] = less(free[elsewhere], other.demand)
                    free[node] = _more(free[node], other.demand)
                    return [node]
    return []


def _search(start: Mapping[str, Demand], ordered: Sequence[Item]) -> dict[str, str] | None:
    free, placed = dict(start), dict[str, str]()
    steps = 0
    alike = _alike(start, ordered)
    failed: set[tuple[int, tuple[Demand, ...]]] = set()

    def place(index: int) -> bool:
        nonlocal steps
        if index == len(ordered):
            return True
        state = (index, tuple(free.values()))
        if state in failed:
            return False
        item, tried = ordered[index], set[tuple[int, Demand]]()
        for name in _able(item, free):
            kind = (alike[name], free[name])
            if kind in tried:
                continue
            tried.add(kind)
            steps += 1
            if steps > STEPS:
                return False
            free[name] = less(free[name], item.demand)
            placed[item.name] = name
            if place(index + 1):
                return True
            free[name] = _more(free[name], item.demand)
        failed.add(state)
        return False

    return placed if place(0) else None


def _alike(free: Mapping[str, Demand], items: Sequence[Item]) -> dict[str, int]:
    """Nodes that the same items may lie on get the same number: among them, equally full ones are interchangeable."""
    allowed: dict[str, list[int]] = {name: [] for name in free}
    for index, item in enumerate(items):
        for name in item.nodes:
            if name in allowed:
                allowed[name].append(index)
    numbers: dict[tuple[int, ...], int] = {}
    return {name: numbers.setdefault(tuple(sorted(set(known))), len(numbers)) for name, known in allowed.items()}

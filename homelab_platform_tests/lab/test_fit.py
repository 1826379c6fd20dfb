"""The packer says that something fits exactly when it does."""

from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from homelab_platform.lab.fit import Item, Node, fits_in, less, pack

NAMES = ("a", "b", "c")
demands = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Node], list[Item]]:
    nodes = [Node(name, draw(demands)) for name in NAMES[: draw(st.integers(1, 3))]]
    allowed = st.lists(st.sampled_from([n.name for n in nodes]), unique=True, max_size=3).map(tuple)
    items = [Item(f"i{k}", draw(demands), draw(allowed)) for k in range(draw(st.integers(0, 6)))]
    return nodes, items


def brute_force(nodes: list[Node], items: list[Item]) -> bool:
    return any(sound(nodes, items, places) for places in itertools.product(*(item.nodes for item in items)))


def sound(nodes: list[Node], items: list[Item], places: tuple[str, ...]) -> bool:
    free = {node.name: node.free for node in nodes}
    for item, place in zip(items, places, strict=True):
        if not fits_in(item.demand, free[place]):
            return False
        free[place] = less(free[place], item.demand)
    return True


@given(problems())
@settings(max_examples=300, deadline=None)
def test_the_verdict_on_small_labs_is_that_of_trying_everything(problem: tuple[list[Node], list[Item]]) -> None:
    nodes, items = problem
    found = pack(nodes, items)
    assert (found is not None) == brute_force(nodes, items)
    if found is not None:
        assert sound(nodes, items, tuple(found[item.name] for item in items))


@given(problems())
@settings(max_examples=100, deadline=None)
def test_the_packing_does_not_depend_on_the_order_in_the_file(problem: tuple[list[Node], list[Item]]) -> None:
    nodes, items = problem
    assert pack(nodes, items) == pack(nodes[::-1], items[::-1])


def test_a_full_lab_of_equal_nodes_is_decided_at_once() -> None:
    nodes = [Node(f"n{k}", (7, 100, 100)) for k in range(12)]
    items = [Item(f"i{k}", (4, 1, 1), tuple(n.name for n in nodes)) for k in range(13)]
    assert pack(nodes, items) is None
    assert pack(nodes, items[:12]) is not None


def test_a_hundred_nodes_and_many_items_are_packed() -> None:
    nodes = [Node(f"n{k:03}", (7000, 4000, 500)) for k in range(100)]
    items = [Item(f"i{k:03}", (900 + k % 7 * 300, 100, 20), tuple(n.name for n in nodes)) for k in range(300)]
    assert pack(nodes, items) is not None


def test_a_lab_that_cannot_be_packed_is_refused_within_a_second() -> None:
    nodes = [Node(f"n{k:03}", (7000 + k, 4000 + k, 500)) for k in range(40)]
    # two on a node: the sums would allow it, the pieces do not
    items = [Item(f"i{k:03}", (3600, 100, 10), tuple(n.name for n in nodes)) for k in range(45)]
    start = time.process_time()
    assert pack(nodes, items) is None
    assert time.process_time() - start < 2

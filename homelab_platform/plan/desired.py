"""The desired state of every asset of a lab: a frozen value with a fingerprint.

Belongs here: the value type, its fingerprint, and gathering the assets of all layers in order. What goes into the
document of one layer's assets is documents.py. Pure: reads the resolved lab and nothing else.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import orjson

from homelab_platform.errors import HomelabError
from homelab_platform.plan.layers import rank

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document, Json


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What one asset should be.

    `document` holds only what matters to this asset, JSON-able. `deps` is its lineage: keys that come before it.
    `follows` are keys whose change makes this one run again, because its result is made from theirs. `checks` names
    the verifications that run after it was changed.
    """

    key: str
    layer: str
    document: Document
    deps: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    kinds: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""


def fingerprint_of(document: Document, followed: Mapping[str, str] | None = None) -> str:
    """SHA-256 over the canonical JSON of `document` and of the fingerprints of the assets it follows.

    The latter are in it so that a follower whose run was lost is still seen to be behind.
    """
    content: Json = {"document": document, "follows": followed} if followed else document
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def with_fingerprints(states: Mapping[str, DesiredState]) -> dict[str, DesiredState]:
    """The same states, in the same order, each with its fingerprint; `states` must be in order of dependency."""
    done: dict[str, DesiredState] = {}
    for key, state in states.items():
        followed = {f: done[f].fingerprint for f in state.follows}
        done[key] = replace(state, fingerprint=fingerprint_of(state.document, followed))
    return done


def in_order(states: Mapping[str, DesiredState]) -> dict[str, DesiredState]:
    """The states, each after its deps; among those that are free, by layer and name.

    Raises HomelabError that names the assets of a circle.
    """
    waiting = {key: len(state.deps) for key, state in states.items()}
    after: dict[str, list[str]] = {key: [] for key in states}
    for key, state in states.items():
        for dep in state.deps:
            after[dep].append(key)
    free = [(rank(key), key) for key, count in waiting.items() if count == 0]
    heapq.heapify(free)
    ordered: dict[str, DesiredState] = {}
    while free:
        _, key = heapq.heappop(free)
        ordered[key] = states[key]
        for follower in after[key]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(free, (rank(follower), follower))
    if len(ordered) < len(states):
        raise _circle({key: states[key] for key in states if key not in ordered})
    return ordered


def _circle(states: Mapping[str, DesiredState]) -> HomelabError:
    key = min(states, key=rank)
    path: list[str] = []
    while key not in path:
        path.append(key)
        key = next(dep for dep in states[key].deps if dep in states)
    circle = path[path.index(key) :]
    return HomelabError.of(
        circle[0],
        f"needs itself in a circle: {' needs '.join([*circle, circle[0]])}",
        "Take one of these needs out of the lab file.",
        rule="no-circles",
    )


def followers(states: Mapping[str, DesiredState], keys: Iterable[str]) -> set[str]:
    """Every asset that follows one of `keys`, directly or through another follower; without `keys` themselves.

    `states` must be in order of dependency.
    """
    changed = set(keys)
    start = set(changed)
    for key, state in states.items():
        if any(f in changed for f in state.follows):
            changed.add(key)
    return changed - start

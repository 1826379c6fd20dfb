"""The desired states of a whole lab, in order of dependency.

Belongs here: gathering the assets of all layers. Not here: what one asset is (desired.py), or what its document holds
(documents.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from homelab_platform.plan.desired import DesiredState, in_order, with_fingerprints
from homelab_platform.plan.documents import all_states
from homelab_platform.plan.layers import rank

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab


def desired_states(lab: ResolvedLab) -> dict[str, DesiredState]:
    """The desired state of every asset of `lab`, in an order in which each comes after what it depends on.

    Raises HomelabError that names the assets of a circle, if hosts or workloads need each other in one.
    """
    states = {state.key: state for state in all_states(lab)}
    known = states.keys()
    for key, state in states.items():
        deps = tuple(sorted({d for d in (*state.deps, *state.follows) if d in known and d != key}, key=rank))
        follows = tuple(f for f in state.follows if f in known)
        if deps != state.deps or follows != state.follows:
            states[key] = replace(state, deps=deps, follows=follows)
    return with_fingerprints(in_order(states))

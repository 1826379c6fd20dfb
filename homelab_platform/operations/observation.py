"""Looking at every asset that a site reaches, so that a plan rests on what is and not on what was.

Belongs here: the sweep over assets. Not here: how one asset is looked at (adapters/).
"""

from __future__ import annotations

from collections.abc import Mapping

from homelab_platform.operations.adapters.base import World, observe_one
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.state import AppliedState


def refreshed_states(world: World, desired: Mapping[str, DesiredState]) -> dict[str, AppliedState]:
    """Probe every asset of `desired` that the site reaches, record what was found, and return all known states.

    Raises HomelabError if a server does not answer; what was recorded until then stays.
    """
    known = world.store.load()
    for key, state in desired.items():
        if world.capabilities.can(key, state.kinds):
            observe_one(world, state, known.get(key))
    return world.store.load()

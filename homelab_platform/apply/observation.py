"""Looking at every asset that a site reaches, so that a plan rests on what is and not on what was.

Belongs here: the sweep over assets. Not here: how one asset is looked at (adapters/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from homelab_platform.apply.adapter import Observation, World, observe_one
from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of
from homelab_platform.plan.state import AppliedState

Found = Mapping[str, Observation | HomelabError]


def refreshed_states(world: World, desired: Mapping[str, DesiredState]) -> dict[str, AppliedState]:
    """Probe every asset of `desired` that the site reaches, record what was found, and return all known states.

    Layers whose adapter can look at many at once (hosts) do so: an asset that does not answer costs no one else's time.
    Raises HomelabError if a server does not answer; what was recorded until then stays.
    """
    known = world.store.load()
    here = [state for key, state in desired.items() if world.capabilities.can(key, state.kinds)]
    turn = world.store.turn()
    ahead = looked_at(world, here)
    for state in here:
        if state.key in ahead:
            observe_one(world, state, known.get(state.key), _told(ahead), turn)
        else:
            observe_one(world, state, known.get(state.key))
    return world.store.load()


def looked_at(world: World, states: Iterable[DesiredState]) -> dict[str, Observation | HomelabError]:
    """What adapters found that look at many assets side by side, by key; the other assets are left out."""
    layers: dict[str, list[DesiredState]] = {}
    for state in states:
        layers.setdefault(layer_of(state.key), []).append(state)
    found: dict[str, Observation | HomelabError] = {}
    for layer, of_layer in layers.items():
        try:
            probe_all = getattr(world.adapter(layer), "probe_all", None)
        except Unreachable as error:  # the way to the whole layer is shut
            found.update({state.key: error for state in of_layer})
            continue
        if probe_all is not None:
            found.update(probe_all(of_layer))
    return found


def _told(found: Found) -> Callable[[DesiredState], Observation]:
    def look(desired: DesiredState) -> Observation:
        result = found[desired.key]
        if isinstance(result, HomelabError):
            raise result
        return result

    return look

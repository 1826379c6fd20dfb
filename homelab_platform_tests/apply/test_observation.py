"""A sweep over all assets goes on past a host that cannot be looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from homelab_platform.apply.adapter import Observation, World, observe_one
from homelab_platform.apply.observation import refreshed_states
from homelab_platform.errors import HomelabError
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.sites import CAPABILITIES, SiteKind
from homelab_platform.tools.ssh.errors import SudoNeedsPassword
from homelab_platform_tests.graph.world import MemoryStore

HOSTS = {key: DesiredState(key, "host", {"name": key}, fingerprint=f"of {key}") for key in ("host/pi-1", "host/pi-2")}


def _probe(state: DesiredState) -> Observation:
    if state.key == "host/pi-1":
        raise SudoNeedsPassword.of("host/pi-1 (192.168.0.11)", "sudo asks ada for a password", "Add NOPASSWD.")
    return Observation(exists=True, fingerprint=state.fingerprint)


def _probe_all(states: list[DesiredState]) -> dict[str, Observation | HomelabError]:
    found: dict[str, Observation | HomelabError] = {}
    for state in states:
        try:
            found[state.key] = _probe(state)
        except HomelabError as error:
            found[state.key] = error
    return found


def test_one_host_that_lets_nobody_in_is_recorded_with_its_way_out_and_the_others_are_looked_at() -> None:
    """It kept the plan, the status and every apply of the whole lab from happening."""
    store = MemoryStore()
    for state in HOSTS.values():
        store.applied(state.key, state.fingerprint, state.document, turn=store.turn())
    adapter = SimpleNamespace(probe=_probe, probe_all=_probe_all)
    world = cast(
        "World", SimpleNamespace(store=store, capabilities=CAPABILITIES[SiteKind.LAB], adapter=lambda _layer: adapter)
    )
    known = refreshed_states(world, HOSTS)
    assert (known["host/pi-1"].status, known["host/pi-2"].status) == ("unreachable", "ok")
    assert known["host/pi-1"].reason == "sudo asks ada for a password. Add NOPASSWD."
    assert observe_one(world, HOSTS["host/pi-1"], known["host/pi-1"])[0] == "unreachable"

"""Whether the hosts are patched as their windows ask: verdicts over what was observed of one host.

Belongs here: judging facts against the plan. Not here: asking for them (layers/patches/machine.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from homelab_platform.layers.patches.facts import HostFacts
from homelab_platform.operations.patch_night import is_alive
from homelab_platform.operations.patch_plan import HORIZON, PatchPlan, Turn, timetable
from homelab_platform.operations.patch_site import Fleet
from homelab_platform.operations.windows import Opening, openings
from homelab_platform.tools.kube.nodes import NodeState

SHOWN = 5


@dataclass(frozen=True)
class PatchVerdict:
    """Whether something is as it should be, and what was seen, in a line."""

    passed: bool
    text: str


def judge_updates(plan: PatchPlan, turn: Turn, facts: HostFacts, now: datetime) -> PatchVerdict:
    """Updates may wait for the next window, but not beyond one that went by."""
    if facts.refresh_problem:
        return PatchVerdict(False, f"Its package archives do not answer: {facts.refresh_problem}")
    if not facts.updates:
        return PatchVerdict(True, "No update waits.")
    names = ", ".join(update.name for update in facts.updates[:SHOWN])
    more = f" and {len(facts.updates) - SHOWN} more" if len(facts.updates) > SHOWN else ""
    waiting = f"Updates wait: {names}{more}"
    return _by_window(plan, turn, facts, now, waiting)


def judge_restart(plan: PatchPlan, turn: Turn, facts: HostFacts, now: datetime) -> PatchVerdict:
    """A restart may wait for the next window, but not beyond one that went by, unless the lab says never."""
    if not facts.reboot:
        return PatchVerdict(True, f"Runs kernel {facts.kernel}; no restart is needed.")
    reasons = "; ".join(facts.reboot)
    if turn.reboot == "never":
        return PatchVerdict(False, f"Needs a restart, and the lab says never: {reasons}")
    return _by_window(plan, turn, facts, now, f"Needs a restart ({reasons})")


def _by_window(plan: PatchPlan, turn: Turn, facts: HostFacts, now: datetime, waiting: str) -> PatchVerdict:
    if turn.window is None:
        return PatchVerdict(False, f"{waiting}. It has no window: homelab patch {turn.host}")
    missed = last_opening(plan, turn, now)
    done = facts.patched.at if facts.patched else None
    if missed is not None and done is not None and done < missed.begin:
        return PatchVerdict(False, f"{waiting}, and the window of {missed.day} went by without it being patched.")
    (slot,) = timetable(plan, [turn], now)
    if slot.opening is None:
        return PatchVerdict(False, f"{waiting}, and no window opens within {HORIZON.days} days.")
    begins = slot.opening.begin.astimezone(ZoneInfo(plan.timezone))
    return PatchVerdict(True, f"{waiting}; the next window opens on {begins:%a %Y-%m-%d %H:%M}.")


def last_opening(plan: PatchPlan, turn: Turn, now: datetime) -> Opening | None:
    """The occurrence of a host's window that closed last; None if none did within HORIZON."""
    if turn.window is None:
        return None
    today = now.astimezone(ZoneInfo(plan.timezone)).date()
    closed = [o for o in openings(turn.window, plan.timezone, today - HORIZON, today, plan.blackout) if o.end <= now]
    return closed[-1] if closed else None


def judge_cordon(fleet: Fleet, turn: Turn, states: Mapping[str, NodeState]) -> PatchVerdict:
    """A node that we cordoned has a run that works on it."""
    state = states.get(turn.host)
    if state is None:
        return PatchVerdict(False, "The cluster has no such node.")
    if not state.run:
        return PatchVerdict(True, "Cordoned by somebody else." if state.cordoned else "Takes pods.")
    if is_alive(fleet, state.run):
        return PatchVerdict(True, f"Cordoned by run {state.run}, which works on it.")
    return PatchVerdict(False, f"Cordoned by run {state.run}, which no process works on; the next look uncordons it.")

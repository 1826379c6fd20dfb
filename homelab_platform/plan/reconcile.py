"""Which assets to apply now: a level-triggered decision.

Belongs here: the decision as a pure function of what should be, what is known, what runs and what time it is. It holds
no memory of its own, so nothing can be lost between two ticks: an edit, a failed run or a restart are all just a
difference that is still there at the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import Capabilities
from homelab_platform.plan.plan import judge
from homelab_platform.plan.state import AppliedState

FIRST_RETRY = timedelta(seconds=15)
LONGEST_RETRY = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to request now, in order of dependency, and what waits for which reason."""

    request: tuple[str, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)


def back_off(key: str, failures: int) -> timedelta:
    """How long to wait after the `failures`-th failure in a row: doubling from 15 s to 30 min.

    Up to a quarter less, by a share that depends on `key` and the count alone: assets that failed together do not all
    come back together, and the same history always gives the same time.
    """
    digest = hashlib.sha256(f"{key}:{failures}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    doublings = min(max(failures - 1, 0), 20)
    whole = min(FIRST_RETRY * (1 << doublings), LONGEST_RETRY)
    return whole * (1 - share / 4)


def decide(
    desired: Mapping[str, DesiredState],
    states: Mapping[str, AppliedState],
    now: datetime,
    in_progress: Set[str],
    capabilities: Capabilities,
) -> Decision:
    """Exactly the assets that differ: from what was applied, or, as observed, from what they were.

    `desired` is in order of dependency. An asset that follows one that is requested is requested with it. Assets in
    `in_progress` are left alone, and whatever depends on one of them waits for it; failed ones wait for their time,
    unless they have been edited since; a change that loses data waits for a person's consent, which `homelab apply`
    asks for. What the site cannot reach is not considered.
    """
    request: dict[str, None] = {}
    waiting: dict[str, str] = {}
    for key, state in desired.items():
        if not capabilities.can(key, state.kinds):
            continue
        applied = states.get(key)
        leads = next((f for f in state.follows if f in request), None)
        if leads is None and not differs(state, applied):
            continue
        held = _held(state, applied, now, in_progress, waiting)
        if held:
            waiting[key] = held
        else:
            request[key] = None
    return Decision(tuple(request), waiting)


def differs(desired: DesiredState, applied: AppliedState | None) -> bool:
    """Whether the asset is not known to be as it should be. What does not answer is not asked to change for that alone:
    the next look that finds it says whether it has to.
    """
    return applied is None or applied.fingerprint != desired.fingerprint or applied.status not in ("ok", "unreachable")


def _held(
    state: DesiredState,
    applied: AppliedState | None,
    now: datetime,
    in_progress: Set[str],
    waiting: Mapping[str, str],
) -> str:
    """Why the asset has to wait; empty if it need not."""
    if state.key in in_progress:
        return "is being applied"
    ahead = next((d for d in state.deps if d in in_progress), None)
    ahead = ahead or next((f for f in state.follows if f in waiting), None)
    if ahead is not None:
        return f"waits for {ahead}"
    if applied is None:
        return ""
    if applied.attempted != state.fingerprint:
        # Not tried yet in this form: no back-off applies, but no one has agreed to a loss of data either.
        loses = judge(state, applied).danger == "data-loss"
        return "needs confirmation: it deletes data; `homelab apply` asks for it" if loses else ""
    if applied.status == "failed" and applied.next_retry_at is not None and applied.next_retry_at > now:
        return f"failed {applied.failures} times in a row; again at {applied.next_retry_at:%H:%M:%S}"
    return ""

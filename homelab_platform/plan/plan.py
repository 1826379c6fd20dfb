"""The plan: what applying a lab would do, as a frozen value.

Belongs here: comparing desired with applied states, step by step. Pure: it asks nobody and changes nothing; the age of
what it knows is in it. How it looks on a screen is render.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from homelab_platform.plan.danger import GRAVITY, Action, Danger, judge_delete, judge_update, kept_by_delete, moves
from homelab_platform.plan.desired import DesiredState, followers
from homelab_platform.plan.diff import Change, diff
from homelab_platform.plan.layers import Capabilities, layer_of, make_key, name_of, rank
from homelab_platform.plan.state import AppliedState

SKIPPED = "is skipped: "
"""How the reason of a step begins that is not taken because its asset does not answer."""


@dataclass(frozen=True, slots=True)
class Step:
    """What would happen to one asset. `because` says why in a few words; empty for an ordinary edit.

    `keeps` is what a delete leaves where it is unless a person confirms the asset by name; then its data is lost.
    """

    key: str
    action: Action
    danger: Danger = "safe"
    changes: tuple[Change, ...] = ()
    because: str = ""
    desired_fingerprint: str = ""
    applied_fingerprint: str = ""
    keeps: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether the step does anything."""
        return self.action != "none"

    def to_dict(self) -> dict[str, Any]:
        """The step as JSON-ready data."""
        return {
            "key": self.key,
            "action": self.action,
            "danger": self.danger,
            "because": self.because,
            "keeps": list(self.keeps),
            "changes": [change.to_dict() for change in self.changes],
            "desired_fingerprint": self.desired_fingerprint,
            "applied_fingerprint": self.applied_fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Recheck:
    """A verification that runs again because of a step: `key` is `check/<name>`."""

    key: str
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying the lab would do, in the order in which it would be done.

    `observed_at` is the age of the oldest observation that it rests on, None if nothing was ever observed. `external`
    are the assets that the site cannot reach, with what it lacks; `elsewhere` are the steps that those of them need
    that differ from the lab as it was last applied. They are shown, and are neither pending nor done from here.
    """

    lab: str
    created_at: datetime
    observed_at: datetime | None
    steps: tuple[Step, ...]
    rechecks: tuple[Recheck, ...] = ()
    external: Mapping[str, str] | None = None
    site: str = "embedded"
    elsewhere: tuple[Step, ...] = ()

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.pending)

    @property
    def skipped(self) -> tuple[Step, ...]:
        """The steps of assets that do not answer: whether they are as they were applied is not known."""
        return tuple(step for step in self.steps if step.because.startswith(SKIPPED))

    @property
    def danger(self) -> Danger:
        """The gravest danger of any step."""
        return max((step.danger for step in self.pending), key=GRAVITY.__getitem__, default="safe")

    def step(self, key: str) -> Step | None:
        """The step of one asset."""
        return next((step for step in self.steps if step.key == key), None)

    def counts(self) -> dict[str, int]:
        """How many steps there are of each action."""
        found = Counter(step.action for step in self.steps)
        return {action: found.get(action, 0) for action in ("none", "create", "update", "replace", "delete")}

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready data, for `--json`."""
        return {
            "lab": self.lab,
            "site": self.site,
            "created_at": self.created_at.isoformat(),
            "observed_at": self.observed_at.isoformat() if self.observed_at else None,
            "danger": self.danger,
            "counts": self.counts(),
            "steps": [step.to_dict() for step in self.steps],
            "rechecks": [{"key": check.key, "because": check.because} for check in self.rechecks],
            "external": dict(self.external or {}),
            "elsewhere": [step.to_dict() for step in self.elsewhere],
        }


def make_plan(
    desired: Mapping[str, DesiredState],
    states: Mapping[str, AppliedState],
    *,
    site: Capabilities,
    lab: str = "",
    now: datetime | None = None,
) -> Plan:
    """Compare what should be (`desired`, in order of dependency) with what is known to be (`states`).

    Assets that `site` cannot reach are listed apart. What was applied once and is no longer desired becomes a delete
    step; those come last, dependents first.
    """
    steps: dict[str, Step] = {}
    external: dict[str, str] = {}
    for key, state in desired.items():
        if site.can(key, state.kinds):
            steps[key] = judge(state, states.get(key))
        else:
            external[key] = site.lacks(key)
    changed = [key for key, step in steps.items() if step.pending]
    for key in followers(desired, changed):
        if key in steps and not steps[key].pending:
            steps[key] = _follow(desired[key], steps[key], changed)
    deletes = _deletes(desired, states)
    return Plan(
        lab=lab,
        created_at=now or datetime.now(UTC),
        observed_at=_oldest({key: states[key] for key in steps if key in states}),
        steps=(*steps.values(), *deletes),
        rechecks=_rechecks(desired, steps),
        external=external,
        site=site.name,
    )


def with_elsewhere(plan: Plan, desired: Mapping[str, DesiredState], before: Mapping[str, DesiredState]) -> Plan:
    """The plan with what differs, among the assets out of the site's reach, from the lab as it was last applied.

    `before` are the desired states of that lab.
    """
    external = plan.external or {}
    known = {
        key: AppliedState(key, state.fingerprint, state.document)
        for key, state in before.items()
        if key in external or key not in desired
    }
    steps = [judge(desired[key], known.get(key)) for key in external]
    here = {step.key for step in plan.steps}
    gone = [step for step in _deletes(desired, known) if step.key not in here]
    return replace(plan, elsewhere=tuple(step for step in (*steps, *gone) if step.pending))


def _oldest(states: Mapping[str, AppliedState]) -> datetime | None:
    return min((state.observed_at for state in states.values() if state.observed_at), default=None)


def judge(desired: DesiredState, state: AppliedState | None) -> Step:
    """What has to happen to one asset, given what is known of it; not counting what it follows."""
    target, applied = desired.fingerprint, state.fingerprint if state else ""
    action, danger, changes, because = _verdict(desired, state)
    return Step(desired.key, action, danger, changes, because, target, applied)


def _verdict(desired: DesiredState, state: AppliedState | None) -> tuple[Action, Danger, tuple[Change, ...], str]:
    failed = "its last attempt failed" if state and state.status == "failed" else ""
    if state is None or not state.fingerprint:
        return "create", "safe", (), failed
    if moves(desired.key, moved := diff(state.document, desired.document)):
        stays = ", ".join(kept_by_delete(desired.key, state.document))
        because = f"it moves and begins empty; {stays} stays in {state.document['namespace']}" if stays else failed
        return "replace", judge_delete(desired.key, state.document), moved, because
    if state.status == "missing":
        return "create", "safe", (), "it is gone from where it was"
    if state.fingerprint == desired.fingerprint and state.status in ("ok", "unreachable"):
        return "none", "safe", (), "" if state.status == "ok" else f"{SKIPPED}{state.reason}"
    changes = diff(state.document, desired.document)
    if changes:
        action, danger = judge_update(desired.key, changes)
        return action, danger, changes, failed or (state.reason if state.status == "unreachable" else "")
    return "update", "safe", (), failed or _why_same(desired, state)


def _why_same(desired: DesiredState, state: AppliedState) -> str:
    """Why an asset whose document did not change has to be applied all the same."""
    if state.fingerprint == desired.fingerprint:
        return state.reason or "it drifted from the lab"
    return f"follows {', '.join(desired.follows)}" if desired.follows else "its applied state is not known in full"


def _follow(desired: DesiredState, step: Step, changed: list[str]) -> Step:
    cause = next((f for f in desired.follows if f in changed), desired.follows[0])
    return Step(step.key, "update", "safe", (), f"follows {cause}", step.desired_fingerprint, step.applied_fingerprint)


def _deletes(desired: Mapping[str, DesiredState], states: Mapping[str, AppliedState]) -> list[Step]:
    gone = [state for key, state in states.items() if key not in desired and state.fingerprint]
    gone.sort(key=lambda state: rank(state.key), reverse=True)
    return [
        Step(
            state.key,
            "delete",
            judge_delete(state.key, state.document),
            because="it is no longer in the lab",
            applied_fingerprint=state.fingerprint,
            keeps=kept_by_delete(state.key, state.document),
        )
        for state in gone
        if state.status != "missing"
    ]


def _rechecks(desired: Mapping[str, DesiredState], steps: Mapping[str, Step]) -> tuple[Recheck, ...]:
    return tuple(
        Recheck(make_key("check", name_of(key)), f"depends on {key}")
        for key, step in steps.items()
        if step.pending and desired[key].checks
    )


def only(plan: Plan, keys: set[str]) -> Plan:
    """The plan cut down to the assets in `keys`."""
    names = {name_of(key) for key in keys if layer_of(key) in ("workload", "table")}
    return replace(
        plan,
        steps=tuple(step for step in plan.steps if step.key in keys),
        rechecks=tuple(check for check in plan.rechecks if name_of(check.key) in names),
        external={key: lacks for key, lacks in (plan.external or {}).items() if key in keys},
        elsewhere=tuple(step for step in plan.elsewhere if step.key in keys),
    )

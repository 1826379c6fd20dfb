"""What an adapter is, and the one way in which an asset is applied: observe, change, observe again.

Belongs here: the protocol between the graph and the outside world, and the rule that nothing is called applied that was
not observed after it was applied. Not here: any layer's own probes and changes (one module each beside this one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.names import Say, silent
from homelab_platform.plan.danger import judge_delete, moves
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.diff import Change
from homelab_platform.plan.layers import Capabilities, layer_of
from homelab_platform.plan.plan import Step, judge
from homelab_platform.plan.state import AppliedState

if TYPE_CHECKING:
    from homelab_platform.plan.health import Health
    from homelab_platform.wire.json_types import Document


UPKEEP = ("compact", "expire", "clean", "analyze")
"""Upkeep of tables: rewrite small files, drop old snapshots and rows, remove files that no snapshot knows, write
statistics."""


INTEGRITY = ("rows_agree", "no_duplicates", "files_exist")
"""Checks of a table that recount what is there; see readings/reconciliation*.py."""

FOUNDATIONS = ("answers", "columns")
"""Checks of a table that say whether its servers answer and its columns are there."""

ALL_DATES = "all"
"""In the request of a run: every day, where `dates` could name some."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a probe found.

    `fingerprint` is the one that lies at the target, empty if none does. `differences` are lines that say where the
    target is not as `desired` wants it, whatever fingerprint it carries. `facts` are for people and are JSON-able.
    """

    exists: bool
    fingerprint: str = ""
    differences: tuple[str, ...] = ()
    facts: Document = field(default_factory=dict)

    def matches(self, desired: DesiredState) -> bool:
        """Whether the target is as it should be."""
        return self.exists and self.fingerprint == desired.fingerprint and not self.differences


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Something to look at on an asset's page.

    `kind` says how: `markdown` (text), `table` (a list of maps with equal keys), `png` (bytes), `number`, `text`,
    `time` (seconds since 1970), `url`, `json`, `columns` (a list of maps with name, type, description), `lineage`
    (column → list of asset and column), `partitions` (rows by the day that was computed).
    """

    name: str
    kind: str
    value: Any


class Adapter(Protocol):
    """Probes that read and changes that write one layer of a site. Every change may be repeated without harm."""

    def probe(self, desired: DesiredState) -> Observation:
        """Look at the target; changes nothing. Raises HomelabError if it cannot be looked at."""
        ...

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Bring the target to the desired state and leave the fingerprint there."""
        ...

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Take the asset away, given its last applied document. A target that is gone already is no error."""
        ...

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Do what the asset does when it is run (ingest, compute), and yield what there is to see."""
        ...


@runtime_checkable
class KeepsData(Protocol):
    """An adapter whose `remove` leaves data where it is; a person's word takes it too."""

    def remove_with_data(self, key: str, document: Document, say: Say) -> None:
        """Take the asset away, and its data for good."""
        ...


class Store(Protocol):
    """Where applied states are kept; see apply/state_store.py for what each call means."""

    def load(self) -> dict[str, AppliedState]:
        """Every applied state by key."""

    def held(self, key: str, purpose: str, say: Say) -> AbstractContextManager[None]:
        """Hold the lock of an asset while the block runs; `say` hears who holds it if one has to wait."""

    def turn(self) -> int:
        """A number that grows with every change, so that an older answer never overwrites a newer one."""

    def applied(
        self,
        key: str,
        fingerprint: str,
        document: Document,
        *,
        turn: int,
        followers: Iterable[str] = (),
        run_id: str = "",
    ) -> None:
        """Record that an asset was changed and observed to be so; `followers` become outdated with it."""

    def failed(self, key: str, attempted: str, reason: str, *, run_id: str = "") -> None:
        """Record an attempt that failed, with its reason."""

    def observed(
        self,
        key: str,
        status: str,
        *,
        turn: int,
        reason: str = "",
        fingerprint: str = "",
        document: Document | None = None,
    ) -> None:
        """Record what a look found: a status, and the fingerprint that the target carries."""

    def forget(self, key: str) -> None:
        """Forget an asset that was taken away."""

    def consent(self, key: str, before: str, after: str) -> None:
        """Record that a person agreed to the loss of data of one change, from one fingerprint to another."""

    def consented(self, key: str, before: str, after: str) -> bool:
        """Whether a person agreed to exactly this change."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Whether a host answers: within how many `seconds`, or what is `said` instead and what to do."""

    ok: bool
    seconds: float = 0.0
    said: str = ""
    remedy: str = ""


class World(Protocol):
    """A site as the graph sees it: what it can do, its adapters, its memory."""

    @property
    def capabilities(self) -> Capabilities:
        """What a site of this kind can do."""

    @property
    def store(self) -> Store:
        """Where applied states are kept."""

    def adapter(self, layer: str) -> Adapter:
        """The adapter of a layer. Raises HomelabError for a layer that the site cannot reach."""

    def reload_code(self) -> None:
        """Have the servers of the UI and of the sensors load the lab anew; returns at once."""
        ...

    def answering(self, hosts: Iterable[DesiredState]) -> dict[str, Answering]:
        """Ask hosts, side by side and within seconds, whether they are there; by key."""
        ...

    def health(self, desired: Mapping[str, DesiredState], up_for: timedelta) -> Health:
        """What needs a person, on a site that runs for `up_for`."""
        ...

    def applying(self) -> str:
        """Who applies the lab by hand right now, and since when; empty if nobody does."""
        ...

    def upkeep(self, task: str, desired: Mapping[str, DesiredState], say: Say) -> Iterable[Exhibit]:
        """Do one of UPKEEP over the site's assets, and yield what there is to see."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying one asset came to: the step it was, whether anything was written, what was observed afterwards."""

    step: Step
    wrote: bool
    observation: Observation

    @property
    def changes(self) -> tuple[Change, ...]:
        """The differences between the last applied and the new document."""
        return self.step.changes


def apply_one(
    world: World,
    desired: DesiredState,
    *,
    followers: Iterable[str] = (),
    run_id: str = "",
    say: Say = silent,
) -> Applied:
    """Bring one asset to its desired state and record it once it was observed there.

    A change that loses data is refused before anything is touched, unless a person's consent to exactly this change is
    in the store. Another process that changes the same asset is waited for. Raises HomelabError if the change fails or
    if the target does not show it afterwards; the failed attempt is then on record.
    """
    store = world.store
    with store.held(desired.key, f"run {run_id[:8]}" if run_id else "a change", say):
        turn = store.turn()
        known = store.load().get(desired.key)
        step = judge(desired, known)
        _refuse_loss(step, store)
        # What follows another asset is made anew even if its target already carries the right fingerprint.
        anew = step.pending and bool(desired.follows)
        try:
            adapter = world.adapter(desired.layer)
            if known is not None and moves(desired.key, step.changes):
                adapter.remove(desired.key, known.document, say)
            wrote, after = _bring(adapter, desired, say, anew=anew)
        except Exception as error:
            # Whatever it was is on record, so that the next attempt waits for its time.
            reason = str(error) if isinstance(error, HomelabError) else f"{type(error).__name__}: {error}"
            store.failed(desired.key, desired.fingerprint, reason, run_id=run_id)
            raise
        affected = followers if wrote or step.pending else ()
        store.applied(desired.key, desired.fingerprint, desired.document, turn=turn, followers=affected, run_id=run_id)
    return Applied(step, wrote, after)


def _refuse_loss(step: Step, store: Store) -> None:
    if step.danger == "data-loss" and not store.consented(step.key, step.applied_fingerprint, step.desired_fingerprint):
        raise HomelabError.of(
            step.key,
            f"this change would lose data: {'; '.join(f'{c.path} {c.line()}' for c in step.changes)}",
            "Nothing was changed. `homelab apply` shows it and asks for confirmation.",
        )


def _bring(adapter: Adapter, desired: DesiredState, say: Say, *, anew: bool) -> tuple[bool, Observation]:
    before = adapter.probe(desired)
    if before.matches(desired) and not anew:
        say("is as it should be")
        return False, before
    say("changing" if before.exists else "creating")
    adapter.change(desired, before, say)
    after = adapter.probe(desired)
    if not after.matches(desired):
        found = "; ".join(after.differences) or ("it is not there" if not after.exists else "it carries another state")
        raise HomelabError.of(
            desired.key, f"was changed, but does not show it: {found}", "It will be tried again; look at its target."
        )
    return True, after


def delete_one(world: World, key: str, *, confirmed: bool = False, with_data: bool = False, say: Say = silent) -> None:
    """Take away an asset that is no longer desired, and forget it once it was observed to be gone.

    `with_data` takes along what a removal keeps otherwise (a workload's volumes): a person named this asset.

    Raises HomelabError if that would lose data and nobody agreed, if it fails, or if it is still there afterwards.
    """
    with world.store.held(key, "a removal", say):
        _delete(world, key, confirmed, with_data, say)


def _delete(world: World, key: str, confirmed: bool, with_data: bool, say: Say) -> None:
    known = world.store.load().get(key)
    if known is None:
        return
    layer = layer_of(key)
    if judge_delete(key, known.document) == "data-loss" and not confirmed:
        raise HomelabError.of(
            key, "taking it away would lose its data", "Nothing was changed. `homelab apply` asks for confirmation."
        )
    adapter = world.adapter(layer)
    if with_data and isinstance(adapter, KeepsData):
        adapter.remove_with_data(key, known.document, say)
    else:
        adapter.remove(key, known.document, say)
    if adapter.probe(DesiredState(key, layer, known.document, fingerprint=known.fingerprint)).exists:
        raise HomelabError.of(key, "was deleted, but is still there", "Look at its target; nothing was forgotten.")
    world.store.forget(key)


def observe_one(
    world: World,
    desired: DesiredState,
    known: AppliedState | None,
    look: Callable[[DesiredState], Observation] | None = None,
    turn: int | None = None,
) -> tuple[str, Observation]:
    """Look at one asset and record what was found; returns its status (ok, drifted, missing or unreachable) and the
    observation. `look` stands in for the adapter's probe where many were looked at side by side, since `turn`.

    An asset without a record whose target carries the desired fingerprint is learnt back as applied. One that does not
    answer is recorded as such, and no error: the others are looked at all the same. So is a host that answers and
    cannot be looked at (another host key, sudo that asks): it is one machine's trouble, and its way out is recorded.
    """
    turn = world.store.turn() if turn is None else turn
    try:
        found = (look or world.adapter(desired.layer).probe)(desired)
    except HomelabError as error:
        unanswered = isinstance(error, Unreachable)
        if not unanswered and desired.layer != "host":
            raise
        problem = error.problems[0]
        reason = problem.what if unanswered or not problem.remedy else f"{problem.what}. {problem.remedy}"
        if known is not None:
            world.store.observed(desired.key, "unreachable", turn=turn, reason=reason)
        return "unreachable", Observation(exists=False, differences=(reason,))
    status, reason = _status(desired, known, found)
    if known is None and not found.matches(desired):
        return ("missing" if not found.exists else "drifted"), found
    world.store.observed(
        desired.key,
        status,
        turn=turn,
        reason=reason,
        fingerprint=found.fingerprint,
        document=desired.document if known is None else None,
    )
    return status, found


def _status(desired: DesiredState, known: AppliedState | None, found: Observation) -> tuple[str, str]:
    if not found.exists:
        return "missing", "it is gone from where it was"
    expected = known.fingerprint if known else desired.fingerprint
    if found.fingerprint != expected:
        return "drifted", "its target carries another state than was applied"
    if found.differences and expected == desired.fingerprint:
        return "drifted", "; ".join(found.differences)
    return "ok", ""

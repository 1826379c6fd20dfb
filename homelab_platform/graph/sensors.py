"""The sensors: when the graph acts on its own.

Belongs here: reading the world once per tick, asking the pure functions (plan/reconcile.py, graph/cursors.py) what
follows, and requesting it. Not here: any decision that could be tested without Dagster.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import orjson

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.checks import lab_check_evaluation
from homelab_platform.graph.cursors import InboxCursor, ask, digest_of, load_cursor
from homelab_platform.graph.labfile import LabWatch
from homelab_platform.graph.own import stamp_of
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import assets_under_way
from homelab_platform.graph.work import QUIETLY, asked_of
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.reconcile import Decision, decide
from homelab_platform.sites.choose import SiteChoice

RECONCILE_EVERY = 5
"""Seconds between ticks of the reconcile sensor: the daemon's own rhythm."""

RELOAD_PATIENCE = 180.0


@dataclass
class Reconciler:
    """What one code location knows for its ticks: the lab it was built from, and the lab file as it is now.

    The assets of `built` are those that Dagster shows; when the file describes others, the location has to be loaded
    anew before they can be requested. `steps` names the step of each that can be run, `own` is the
    stamp of the files in `defs/` that were loaded with them.
    """

    lab: ResolvedLab
    built: Mapping[str, DesiredState]
    kind: SiteChoice
    watch: LabWatch | None
    steps: Mapping[str, str]
    own: tuple[tuple[str, int, int], ...] = ()
    _seen: ResolvedLab | None = field(default=None, repr=False)
    _desired: Mapping[str, DesiredState] | None = field(default=None, repr=False)
    _reload_asked: float | None = field(default=None, repr=False)

    def read(self) -> tuple[Mapping[str, DesiredState], tuple[Problem, ...]]:
        """What is desired now, and what is wrong with the lab file (then the last good lab counts)."""
        if self.watch is None:
            return self.built, ()
        loaded = self.watch.current()
        if loaded.lab is None or loaded.problems:
            return self.built, loaded.problems
        if loaded.lab is not self._seen or self._desired is None:
            try:
                self._desired = self.built if loaded.lab == self.lab else desired_states(loaded.lab)
            except HomelabError as error:
                return self.built, error.problems
            self._seen = loaded.lab
        return self._desired, ()

    def is_outdated(self, desired: Mapping[str, DesiredState]) -> bool:
        """Whether Dagster shows another lab than the files describe."""
        if self.watch is not None and stamp_of(self.watch.path) != self.own:
            return True
        if desired is self.built:
            return False
        return {k: s.fingerprint for k, s in desired.items()} != {k: s.fingerprint for k, s in self.built.items()}

    def reload_due(self, desired: Mapping[str, DesiredState], now: float) -> bool:
        """Whether to have the location loaded anew, at `now` (seconds of a monotonic clock).

        Once, then again only after RELOAD_PATIENCE: loading takes seconds, and each request would start another server.
        """
        if not self.is_outdated(desired):
            return False
        if self._reload_asked is not None and now - self._reload_asked < RELOAD_PATIENCE:
            return False
        self._reload_asked = now
        return True

    def requestable(self, decision: Decision) -> list[str]:
        """What of a decision the loaded assets can carry out; the rest comes after loading anew."""
        return [key for key in decision.request if key in self.built]


def _reconcile(reconciler: Reconciler, job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name="reconcile",
        job=job,
        minimum_interval_seconds=RECONCILE_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Each tick compares the lab file with what was applied and observed, and asks for the difference.",
    )
    def reconcile(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        desired, problems = reconciler.read()
        try:
            states = site.world.store.load()
            applying = site.world.applying()
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        busy = assets_under_way(context.instance, desired)
        now = datetime.now(UTC)
        decision = decide(desired, states, now, busy, reconciler.kind.capabilities)
        news, memory = memory_after(load_memory(context.cursor), reconciler.lab, problems)
        if reconciler.reload_due(desired, time.monotonic()):
            site.reload()
        if applying:
            reason = f"Rests while the lab is applied: {applying}."
            return dg.SensorResult(skip_reason=reason, asset_events=news, cursor=memory.dump())
        if not states and not reconciler.kind.begins:
            reason = "Nothing of this lab was ever applied: `homelab apply` begins, and edits follow by themselves."
            return dg.SensorResult(skip_reason=reason, asset_events=news, cursor=memory.dump())
        keys = reconciler.requestable(decision)
        # A run that ends without a trace (it never started, or the database was gone) must not be asked for at every
        # tick: the same request comes again only when the first could have shown, and then less and less often.
        due, asked = ask(memory.asked, [f"{key} {desired[key].fingerprint}" for key in keys], now)
        after = replace(memory, asked=asked)
        if not due:
            reason = "Asked for already." if keys else _why_nothing(decision, problems)
            return dg.SensorResult(skip_reason=reason, asset_events=news, cursor=after.dump())
        config = asked_of((reconciler.steps[key] for key in keys), QUIETLY)
        request = dg.RunRequest(asset_selection=[asset_key(key) for key in keys], run_config=config)
        return dg.SensorResult(run_requests=[request], asset_events=news, cursor=after.dump())

    return reconcile


@dataclass(frozen=True)
class Memory:
    """What the reconcile sensor remembers: what it last said of the lab file, and what it last asked for."""

    said: str = ""
    asked: InboxCursor = field(default_factory=InboxCursor)

    def dump(self) -> str:
        """The memory as text."""
        return orjson.dumps({"said": self.said, "asked": self.asked.dump()}).decode()


def load_memory(text: str | None) -> Memory:
    """The memory of a text that dump() made; a fresh one for anything else."""
    try:
        raw = orjson.loads(text or "{}")
        return Memory(str(raw.get("said", "")), load_cursor(raw.get("asked")))
    except (ValueError, AttributeError):
        return Memory()


def memory_after(
    memory: Memory, lab: ResolvedLab, problems: tuple[Problem, ...]
) -> tuple[list[dg.AssetCheckEvaluation], Memory]:
    """The result of the lab file's check when it differs from what was last said, and the memory after saying it."""
    now = digest_of(str(problem) for problem in problems) if problems else "valid"
    if now == memory.said:
        return [], memory
    return [lab_check_evaluation(lab.name, problems)], replace(memory, said=now)


def _why_nothing(decision: Decision, problems: tuple[Problem, ...]) -> str:
    if problems:
        return f"The lab file has errors; the last good lab counts. {problems[0]}"
    if decision.waiting:
        return "; ".join(f"{key} {why}" for key, why in decision.waiting.items())[:1000]
    return "Everything within reach is as it should be."


def build_sensors(reconciler: Reconciler, jobs: Mapping[str, object]) -> list[dg.SensorDefinition]:
    """The sensor that keeps the lab as it should be, if there is a job for it."""
    return [_reconcile(reconciler, jobs["apply"])] if "apply" in jobs else []

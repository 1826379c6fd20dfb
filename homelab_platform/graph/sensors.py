"""The sensors: when the graph acts on its own.

Belongs here: reading the world once per tick, asking the pure functions (plan/reconcile.py, graph/cursors.py) what
follows, and requesting it. Not here: any decision that could be tested without Dagster.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.graph.assets import asset_key
from homelab_platform.graph.checks import lab_check_evaluation
from homelab_platform.graph.labfile import LabWatch
from homelab_platform.graph.resources import SITE, SiteResource
from homelab_platform.graph.runs import assets_under_way
from homelab_platform.graph.tags import PURPOSE_TAG
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.plan.desired import DesiredState, desired_states
from homelab_platform.plan.layers import Capabilities
from homelab_platform.plan.reconcile import Decision, decide

RECONCILE_EVERY = 5
"""Seconds between ticks of the reconcile sensor: the daemon's own rhythm."""


@dataclass
class Reconciler:
    """What one code location knows for its ticks: the lab it was built from, and the lab file as it is now.

    The assets of `built` are those that Dagster shows; when the file describes others, the location has to be loaded
    anew before they can be requested.
    """

    lab: ResolvedLab
    built: Mapping[str, DesiredState]
    capabilities: Capabilities
    watch: LabWatch | None
    _seen: ResolvedLab | None = field(default=None, repr=False)
    _desired: Mapping[str, DesiredState] | None = field(default=None, repr=False)

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
        """Whether Dagster shows another lab than the file describes."""
        if desired is self.built:
            return False
        return {k: s.fingerprint for k, s in desired.items()} != {k: s.fingerprint for k, s in self.built.items()}

    def requestable(self, decision: Decision) -> list[str]:
        """What of a decision the loaded assets can carry out; the rest comes after loading anew."""
        return [key for key in decision.request if key in self.built]


def _reconcile(reconciler: Reconciler, job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name="reconcile",
        job=job,
        minimum_interval_seconds=RECONCILE_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={SITE},
        description="Each tick compares the lab file with what was applied and observed, and asks for the difference.",
    )
    def reconcile(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        desired, problems = reconciler.read()
        site: SiteResource = getattr(context.resources, SITE)
        try:
            states = site.world.store.load()
        except HomelabError as error:
            return dg.SensorResult(skip_reason=str(error))
        busy = assets_under_way(context.instance, desired)
        decision = decide(desired, states, datetime.now(UTC), busy, reconciler.capabilities)
        news, cursor = _news(reconciler.lab, problems, context.cursor)
        if reconciler.is_outdated(desired):
            site.reload()
        keys = reconciler.requestable(decision)
        if not keys:
            return dg.SensorResult(skip_reason=_why_nothing(decision, problems), asset_events=news, cursor=cursor)
        request = dg.RunRequest(asset_selection=[asset_key(key) for key in keys], tags={PURPOSE_TAG: "apply"})
        return dg.SensorResult(run_requests=[request], asset_events=news, cursor=cursor)

    return reconcile


def _news(
    lab: ResolvedLab, problems: tuple[Problem, ...], cursor: str | None
) -> tuple[list[dg.AssetCheckEvaluation], str]:
    """The result of the lab file's check when it differs from what was last reported, and what was reported now."""
    now = "\n".join(str(problem) for problem in problems) or "valid"
    if now == cursor:
        return [], now
    return [lab_check_evaluation(lab.name, problems)], now


def _why_nothing(decision: Decision, problems: tuple[Problem, ...]) -> str:
    if problems:
        return f"The lab file has errors; the last good lab counts. {problems[0]}"
    if decision.waiting:
        return "; ".join(f"{key} {why}" for key, why in decision.waiting.items())[:1000]
    return "Everything within reach is as it should be."


def build_sensors(
    lab: ResolvedLab,
    desired: Mapping[str, DesiredState],
    capabilities: Capabilities,
    jobs: Mapping[str, Any],
    watch: LabWatch | None,
) -> list[dg.SensorDefinition]:
    """The sensors of a lab, for the jobs that there are."""
    return list(_sensors(lab, desired, capabilities, jobs, watch))


def _sensors(
    lab: ResolvedLab,
    desired: Mapping[str, DesiredState],
    capabilities: Capabilities,
    jobs: Mapping[str, Any],
    watch: LabWatch | None,
) -> Iterator[dg.SensorDefinition]:
    if "apply" in jobs:
        yield _reconcile(Reconciler(lab, desired, capabilities, watch), jobs["apply"])

"""Applying assets from the command line: the same graph, against the same instance, in this process.

Belongs here: what `homelab apply` calls. Whatever it does is in the site's event log, next to what the sensors did.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from homelab_platform.apply.adapter import World, delete_one
from homelab_platform.errors import UNREACHABLE, HomelabError, Problem
from homelab_platform.graph.assets import asset_key, op_names
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.marts import nominal_for
from homelab_platform.graph.resources import SITE, Session, site_resource
from homelab_platform.graph.work import QUIETLY, Work, asked_of
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.names import silent
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.layers import rank
from homelab_platform.plan.plan import Step
from homelab_platform.sites.choose import SiteChoice

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import Site

Progress = Callable[[str], None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The run's own log goes to the event log alone; on the terminal it would bury the command's few lines."""


@dataclass(frozen=True)
class AssetResult:
    """What became of one asset. `status` is applied, deleted, failed or skipped; `summary` a line for people; `seconds`
    the wall time of its step.
    """

    key: str
    status: str
    summary: str
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "key": self.key,
            "status": self.status,
            "summary": self.summary,
            "seconds": round(self.seconds, 3),
            "problems": [problem.to_dict() for problem in self.problems],
        }


@dataclass(frozen=True)
class ApplyReport:
    """What an apply came to, asset by asset in the order of the work. `run_id` is its run in the event log."""

    results: tuple[AssetResult, ...] = ()
    run_id: str = ""
    url: str = field(default="")

    @property
    def applied(self) -> tuple[AssetResult, ...]:
        """The assets that were applied, or deleted, and observed to be so."""
        return tuple(result for result in self.results if result.status in ("applied", "deleted"))

    @property
    def failed(self) -> tuple[AssetResult, ...]:
        """The assets whose change failed, and those that were not tried because of it."""
        return tuple(result for result in self.results if result.status in ("failed", "skipped"))

    def followed_by(self, later: "ApplyReport") -> "ApplyReport":
        """Both reports as one; the later run is the one to look at, if it did anything."""
        if not later.results:
            return self
        return ApplyReport((*self.results, *later.results), later.run_id, later.url)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"run_id": self.run_id, "url": self.url, "results": [result.to_dict() for result in self.results]}


def apply_assets(
    site: "Site",
    lab: ResolvedLab,
    keys: Iterable[str],
    *,
    progress: Progress = silent,
    consents: Collection[Step] = (),
    with_data: Collection[str] = (),
    alone: AbstractContextManager[object] | None = None,
) -> ApplyReport:
    """Apply exactly the assets `keys` of `lab` on the running site, in this process and its event log.

    Keys that the lab no longer has are deleted, those in `with_data` with the data that a removal keeps otherwise.
    `consents` are the steps whose loss of data a person agreed to. A failure of one asset is in the report and stops
    only what depends on it. `alone` is the lab's lock where the caller holds it already; it is given back. Raises
    HomelabError if the site or its instance does not answer, or if somebody else is applying the lab.
    """
    from homelab_platform.apply import locks
    from homelab_platform.sites.local import world_of

    world = world_of(lab, site)
    mine = alone or locks.held(site.lakehouse.postgres, locks.LAB, "apply", wait=0)
    with mine, instance_of(site) as instance:
        report = apply_to(world, instance, lab, keys, progress=progress, consents=consents, with_data=with_data)
    url = f"{site.dagster_url}/runs/{report.run_id}" if report.run_id else site.dagster_url
    return replace(report, url=url)


@contextmanager
def instance_of(site: "Site") -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a running site, as its own processes see it; Dagster's own log stays quiet."""
    before = dict(os.environ)
    os.environ.update(site.environment())
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def apply_to(
    world: World,
    instance: dg.DagsterInstance,
    lab: ResolvedLab,
    keys: Iterable[str],
    *,
    progress: Progress = silent,
    consents: Collection[Step] = (),
    with_data: Collection[str] = (),
) -> ApplyReport:
    """Apply assets in a world that is open already; see apply_assets."""
    wanted = set(keys)
    desired = desired_states(lab)
    here = {k: s for k, s in desired.items() if k in wanted and world.capabilities.can(k, s.kinds)}
    gone = sorted((key for key in wanted if key not in desired), key=rank, reverse=True)
    agreed = {step.key for step in consents}
    for step in consents:
        world.store.consent(step.key, step.applied_fingerprint, step.desired_fingerprint)
    asked = _Asked("apply", QUIETLY, nominal_for(lab, here))
    report = _execute(_Context(world, instance, lab, progress), here, asked) if here else ApplyReport()
    deleted = tuple(
        _delete(world, instance, key, progress, confirmed=key in agreed, with_data=key in with_data) for key in gone
    )
    return replace(report, results=(*report.results, *deleted))


def run_assets(
    site: "Site",
    lab: ResolvedLab,
    job: str,
    keys: Collection[str],
    work: Work,
    *,
    progress: Progress = silent,
) -> ApplyReport:
    """Run a job over the assets `keys`, each asked for the same `work`, in this process and the site's event log.

    Raises HomelabError if the site or its instance does not answer.
    """
    from homelab_platform.sites.local import world_of

    world = world_of(lab, site)
    states = {key: state for key, state in desired_states(lab).items() if key in keys}
    with instance_of(site) as instance:
        report = _execute(_Context(world, instance, lab, progress), states, _Asked(job, work))
    return replace(report, url=f"{site.dagster_url}/runs/{report.run_id}")


@dataclass(frozen=True)
class _Context:
    """Where a job runs in this process, and who hears of its progress."""

    world: World
    instance: dg.DagsterInstance
    lab: ResolvedLab
    progress: Progress


@dataclass(frozen=True)
class _Asked:
    """Which job to run, what each of its assets is asked to do, with which tags."""

    job: str
    work: Work
    tags: Mapping[str, str] = field(default_factory=dict)


def _execute(context: _Context, states: Mapping[str, DesiredState], asked: _Asked) -> ApplyReport:
    world, instance, lab = context.world, context.instance, context.lab
    kind = SiteChoice("here", world.capabilities, lambda _lab: world)
    session = Session(lab, kind.open, lambda key, text: context.progress(f"{key}: {text}"))
    resource = site_resource(lab, kind.name, session)
    job = build_definitions(lab, site=kind, resource_overrides={SITE: resource}).resolve_job_def(asked.job)
    names = op_names(desired_states(lab), world.capabilities)
    config = asked_of((names[key] for key in states), asked.work)
    result = job.execute_in_process(
        run_config=config | QUIET,
        instance=instance,
        asset_selection=[asset_key(key) for key in states],
        tags=dict(asked.tags),
        raise_on_error=False,
    )
    took = _step_seconds(instance, result.run_id)
    return ApplyReport(tuple(_result(key, names[key], session, result, took) for key in states), result.run_id)


def _step_seconds(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    """How long each step of a run took; only an event of success tells it by itself."""
    stats = instance.get_run_step_stats(run_id)
    return {s.step_key: s.end_time - s.start_time for s in stats if s.start_time and s.end_time}


def _result(
    key: str, step: str, site: Session, result: dg.ExecuteInProcessResult, took: Mapping[str, float]
) -> AssetResult:
    seconds = took.get(step, 0.0)
    for event in result.events_for_node(step):
        if event.is_step_success:
            return AssetResult(key, "applied", site.outcomes.get(key, "done"), seconds)
        if event.is_step_failure:
            problems = site.problems.get(key) or (_unforeseen(key, event.step_failure_data.error),)
            status = "skipped" if problems[0].rule == UNREACHABLE else "failed"
            return AssetResult(key, status, problems[0].what, seconds, problems=problems)
    return AssetResult(key, "skipped", "not tried: something that it needs failed")


def _unforeseen(key: str, error: Any) -> Problem:
    if error and error.cls_name == "DagsterExecutionInterruptedError":
        return Problem(
            key, "was stopped before it was done", "Apply again. A host undoes by itself what nobody confirmed."
        )
    message = str(error.message).strip().splitlines()[-1] if error else "step failed without an error message"
    return Problem(key, message, "This is a fault of the platform; its run in the UI has the details.")


def _delete(world: World, instance: dg.DagsterInstance, key: str, progress: Progress, **agreed: bool) -> AssetResult:
    """`agreed` as delete_one takes it: confirmed, with_data."""
    try:
        delete_one(world, key, say=lambda text: progress(f"{key}: {text}"), **agreed)
    except HomelabError as error:
        return AssetResult(key, "failed", error.problems[0].what, problems=error.problems)
    note = dg.AssetObservation(asset_key(key), description="Deleted, and observed to be gone.")
    instance.report_runless_asset_event(note)
    return AssetResult(key, "deleted", "deleted, and observed to be gone")

"""Patching in the graph: an asset for each host with its checks, jobs with a config, a schedule in the lab's zone.

Belongs here: giving operations/patch_night.py its place in Dagster. Not here: what patching does. The assets are not
executable: a host is patched by a night, which keeps to order and window, and leaves a materialization at each.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from homelab_platform.errors import HomelabError, Unreachable
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import table_markdown
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.operations.patch_plan import PatchPlan, Turn, plan_of
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import make_key

if TYPE_CHECKING:
    from homelab_platform.operations.patch_health import PatchVerdict
    from homelab_platform.operations.patch_night import NightReport
    from homelab_platform.operations.patch_site import Fleet

LAYER = "patch"
UPDATES, RESTART, CORDON = "updates", "restart", "cordon"
_MEANS = {
    UPDATES: "Updates wait no longer than for the next window.",
    RESTART: "A restart that it needs waits no longer than for the next window.",
    CORDON: "If we cordoned the node, a run works on it.",
}
LOOK_EVERY, TICK = "37 */6 * * *", "*/15 * * * *"
"""When every host is asked for its updates, and when it is looked whether a window is open."""


class WindowConfig(dg.Config):
    """What a patch night is asked to do."""

    dry_run: bool = Field(default=False, description="Say what would change, and change nothing.")


class RollingConfig(dg.Config):
    """What a rolling update is asked to do."""

    hosts: list[str] = Field(default=[], description="Hosts to patch now, whatever their windows; empty: all.")
    dry_run: bool = Field(default=True, description="Say what would change, and change nothing.")


def patch_plan(lab: ResolvedLab, here: Mapping[str, DesiredState]) -> PatchPlan:
    """The plan of the hosts that the site reaches."""
    plan = plan_of(lab)
    turns = tuple(turn for turn in plan.turns if make_key("host", turn.host) in here)
    return PatchPlan(plan.timezone, turns, plan.blackout, plan.health, plan.backup_first, plan.k3s, plan.elsewhere)


def patch_assets(plan: PatchPlan) -> list[dg.AssetSpec]:
    """An asset for each host that is patched."""
    return [
        dg.AssetSpec(
            asset_key(make_key(LAYER, turn.host)),
            deps=[asset_key(make_key("host", turn.host))],
            group_name=LAYER,
            kinds={"debian"},
            description=f"{turn.host} is brought up to date, window: {turn.window or 'none, only by hand'}.",
        )
        for turn in plan.turns
    ]


def patch_checks(plan: PatchPlan) -> list[dg.AssetChecksDefinition]:
    """The checks of each host: updates, restart, and of a node its cordon."""
    return [_checks_of(turn) for turn in plan.turns]


def _names(turn: Turn) -> list[str]:
    return [UPDATES, RESTART, *([CORDON] if turn.node else [])]


def _checks_of(turn: Turn) -> dg.AssetChecksDefinition:
    key = asset_key(make_key(LAYER, turn.host))
    specs = [dg.AssetCheckSpec(name, asset=key, description=_MEANS[name]) for name in _names(turn)]

    @dg.multi_asset_check(name=f"state_of_{key.to_python_identifier()}", specs=specs)
    def state(site: SiteResource) -> Iterable[dg.AssetCheckResult]:
        from homelab_platform.operations.patch_site import fleet_of

        try:
            fleet = fleet_of(site.world)
            yield from _host_results(fleet, fleet.plan.turn(turn.host), key)
            if turn.node:
                yield _cordon_result(fleet, turn, key)
        except HomelabError as error:
            raise failure(error) from None

    return state


def _host_results(fleet: "Fleet", turn: Turn, key: dg.AssetKey) -> Iterable[dg.AssetCheckResult]:
    """Ask the host; one that does not answer is a warning, as nothing is known of it."""
    from homelab_platform.operations.patch_health import judge_restart, judge_updates

    now = datetime.now(UTC)
    try:
        with fleet.machine(turn.host) as machine:
            facts = machine.look(refresh=True)
    except Unreachable as error:
        for name in (UPDATES, RESTART):
            yield _silent(name, key, error)
        return
    metadata: dict[str, object] = {"kernel": facts.kernel, "held back": ", ".join(facts.held) or "none"}
    if facts.patched is not None:
        metadata["last patched"] = dg.MetadataValue.timestamp(facts.patched.at.timestamp())
        metadata["run"] = facts.patched.run
    listed = [update.model_dump() for update in facts.updates]
    updates = metadata | {"updates": dg.MetadataValue.md(table_markdown(listed))}
    yield _result(UPDATES, key, judge_updates(fleet.plan, turn, facts, now), updates)
    yield _result(RESTART, key, judge_restart(fleet.plan, turn, facts, now), metadata)


def _cordon_result(fleet: "Fleet", turn: Turn, key: dg.AssetKey) -> dg.AssetCheckResult:
    from homelab_platform.operations.patch_health import judge_cordon

    if fleet.nodes is None:
        raise HomelabError.of(f"host/{turn.host}", "is a node of a cluster that this site does not reach")
    try:
        states = fleet.nodes().states()
    except Unreachable as error:
        return _silent(CORDON, key, error)
    verdict = judge_cordon(fleet, turn, states)
    return _result(CORDON, key, verdict, {}, dg.AssetCheckSeverity.ERROR)


def _result(
    name: str,
    key: dg.AssetKey,
    verdict: "PatchVerdict",
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=verdict.passed,
        check_name=name,
        asset_key=key,
        description=verdict.text,
        severity=severity,
        metadata=dict(metadata),
    )


def _silent(name: str, key: dg.AssetKey, error: HomelabError) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        check_name=name,
        asset_key=key,
        description=f"Not known: {error.problems[0].what}",
        severity=dg.AssetCheckSeverity.WARN,
    )


def _check_keys(turns: Iterable[Turn]) -> list[dg.AssetCheckKey]:
    return [dg.AssetCheckKey(asset_key(make_key(LAYER, turn.host)), name) for turn in turns for name in _names(turn)]


def patch_jobs(plan: PatchPlan) -> dict[str, Any]:
    """The jobs `patch_nodes`, `rolling_update`, `pending_updates`; none for a site that patches no host."""
    if not plan.turns:
        return {}
    checks = _check_keys(plan.turns)
    return {
        "patch_nodes": _night_job(),
        "rolling_update": _rolling_job(),
        "pending_updates": dg.define_asset_job(
            "pending_updates", dg.AssetSelection.checks(*checks), description="Ask every host for its updates."
        ),
    }


def _night_job() -> dg.JobDefinition:
    text = "Patch the hosts whose window is open and was not used yet, one at a time, in the lab's order."

    @dg.op(name="patch_due_hosts", description=text)
    def patch_due_hosts(context: dg.OpExecutionContext, config: WindowConfig, site: SiteResource) -> dg.Output[None]:
        from homelab_platform.operations.patch_night import patch_due

        return _carried_out(context, site, [], lambda fleet: patch_due(fleet, context.log.info), config.dry_run)

    @dg.job(name="patch_nodes", description=text)
    def job() -> None:
        patch_due_hosts()

    return job


def _rolling_job() -> dg.JobDefinition:
    text = "Patch hosts now, one at a time, in the lab's order, whatever their windows are."

    @dg.op(name="patch_hosts_now", description=text)
    def patch_hosts_now(context: dg.OpExecutionContext, config: RollingConfig, site: SiteResource) -> dg.Output[None]:
        from homelab_platform.operations.patch_night import patch_now

        def work(fleet: "Fleet") -> "NightReport":
            return patch_now(fleet, fleet.plan.chosen(config.hosts), context.log.info)

        return _carried_out(context, site, config.hosts, work, config.dry_run)

    @dg.job(name="rolling_update", description=text)
    def job() -> None:
        patch_hosts_now()

    return job


def _carried_out(
    context: dg.OpExecutionContext,
    site: SiteResource,
    hosts: list[str],
    work: "Callable[[Fleet], NightReport]",
    dry_run: bool,
) -> dg.Output[None]:
    """Preview or patch; each host that was patched gets a materialization. Raises dagster.Failure if one failed."""
    from homelab_platform.operations.patch_night import preview
    from homelab_platform.operations.patch_site import fleet_of

    mark_process(context.instance, context.run)
    try:
        fleet = fleet_of(site.world)
        if dry_run:
            rows = [one.to_dict() for one in preview(fleet, fleet.plan.chosen(hosts), context.log.info)]
            return dg.Output(None, metadata={"timetable": dg.MetadataValue.md(table_markdown(rows))})
        report = work(fleet)
    except HomelabError as error:
        raise failure(error) from None
    rows = [result.to_dict() for result in report.hosts]
    table = dg.MetadataValue.md(table_markdown(rows))
    for event in _materializations(report):
        context.log_event(event)
    if report.error is not None:
        broken = failure(report.error)
        raise dg.Failure(broken.description, metadata={**broken.metadata, "hosts": table}, allow_retries=False)
    return dg.Output(None, metadata={"hosts": table})


def _materializations(report: "NightReport") -> Iterable[dg.AssetMaterialization]:
    """What the pages of the hosts that were patched, or had nothing due, are told."""
    for result in report.hosts:
        if result.state in ("patched", "nothing due"):
            found: dict[str, Any] = {"updates": result.updates, "restarted": result.rebooted, "run": result.run}
            key = asset_key(make_key(LAYER, result.host))
            yield dg.AssetMaterialization(key, description=result.state, metadata=found)


def report_patched(instance: dg.DagsterInstance, report: "NightReport") -> None:
    """Leave what a command patched on the hosts' pages, as a night of the graph does."""
    for event in _materializations(report):
        instance.report_runless_asset_event(event)


def patch_schedules(plan: PatchPlan, jobs: Mapping[str, object]) -> list[dg.ScheduleDefinition]:
    """When windows are looked for and hosts are asked, in the lab's zone; none for a site that patches no host."""
    if "patch_nodes" not in jobs:
        return []
    return [_look_schedule(plan, jobs["pending_updates"]), _night_schedule(plan, jobs["patch_nodes"])]


def _look_schedule(plan: PatchPlan, job: Any) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="pending_updates_by_the_clock",
        job=job,
        cron_schedule=LOOK_EVERY,
        execution_timezone=plan.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks the hosts that were applied for their updates.",
    )
    def tick(context: dg.ScheduleEvaluationContext, site: SiteResource) -> dg.RunRequest | dg.SkipReason:
        from homelab_platform.operations.patch_site import fleet_of

        try:
            fleet = fleet_of(site.world)
            begun = fleet.begun() if fleet.begun is not None else {turn.host for turn in plan.turns}
        except HomelabError as error:
            return dg.SkipReason(str(error))
        keys = _check_keys([turn for turn in plan.turns if turn.host in begun])
        if not keys:
            return dg.SkipReason("No host was applied yet; a person begins.")
        return dg.RunRequest(run_key=f"updates {context.scheduled_execution_time.isoformat()}", asset_check_keys=keys)

    return tick


def _night_schedule(plan: PatchPlan, job: Any) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="patch_nodes_by_the_clock",
        job=job,
        cron_schedule=TICK,
        execution_timezone=plan.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Starts a patch night when a window is open that was not used, or when a dead run left a cordon.",
    )
    def tick(context: dg.ScheduleEvaluationContext, site: SiteResource) -> dg.RunRequest | dg.SkipReason:
        from homelab_platform.operations.patch_night import dead_cordons, due
        from homelab_platform.operations.patch_site import fleet_of

        try:
            fleet = fleet_of(site.world)
            waiting = due(fleet)
            left = [] if waiting else dead_cordons(fleet)
        except HomelabError as error:
            return dg.SkipReason(str(error))
        if not waiting and not left:
            return dg.SkipReason("No window is open that was not used.")
        moment = context.scheduled_execution_time.isoformat()
        return dg.RunRequest(run_key=f"patch {moment}", tags={"homelab/patch": ",".join(waiting or left)})

    return tick

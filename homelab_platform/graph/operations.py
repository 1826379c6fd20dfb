"""Backups and drills in the graph: an asset for each, with a check, jobs with a config, schedules in the lab's zone.

Belongs here: giving the procedures of operations/ their place in Dagster. Not here: what a procedure does. Each asset
of these layers is also applied like any other: that makes its target and leaves its plan there.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from homelab_platform.errors import HomelabError
from homelab_platform.graph.assets import asset_key, failure
from homelab_platform.graph.metadata import table_markdown
from homelab_platform.graph.resources import SiteResource
from homelab_platform.graph.runs import mark_process
from homelab_platform.graph.work import Work, asked_of
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import layer_of, name_of

if TYPE_CHECKING:
    from homelab_platform.operations.coverage import Row

PROTECTED = "protected"
DAY, HOUR = "17 5 * * *", "7 * * * *"
"""When a seventh of each repository is read back, and when the age of backups and proofs is looked at."""


class BackupWork(Work):
    """What a backup is asked to do."""

    label: str = Field(default="", description="A name for the snapshot; one with a name is kept for 30 days.")
    data_went_on_purpose: bool = Field(
        default=False, description="Save although less than half of the last backup is there: a person knows why."
    )

    def request(self, days: list[str], *, partitioned: bool) -> dict[str, str]:
        """The same as the adapter of backups takes it."""
        return {"label": self.label, "shrunk": "yes" if self.data_went_on_purpose else ""}


class DrillWork(Work):
    """What a drill is asked to do."""

    target: str = Field(
        default="", description="The target whose newest snapshot is proven; the site's own when not said."
    )

    def request(self, days: list[str], *, partitioned: bool) -> dict[str, str]:
        """The same as the adapter of drills takes it."""
        return {"target": self.target}


WORKS: Mapping[str, type[Work]] = {"backup": BackupWork, "drill": DrillWork}
"""The configuration of the layers whose assets are procedures."""
DAILY_WORK: Mapping[str, Work] = {
    "backup": BackupWork(apply=False, pictures=False),
    "drill": DrillWork(apply=False, pictures=False),
}
"""Saving or proving alone, without applying the plan."""


class RestoreConfig(dg.Config):
    """What a restore is asked to do."""

    item: str = Field(description="What to put back: lake, platform/dagster, bucket/NAME …")
    at: str = Field(
        default="",
        description="The newest snapshot made at this time or before, ISO 8601; the newest of all if not said.",
    )
    target: str = Field(
        default="", description="From which target; from the one with the newest snapshot when not said."
    )
    into: str = Field(
        default="", description="An empty folder to write the files to; the live item is not touched then."
    )
    replace_live_item: bool = Field(
        default=False, description="Agree that the live item is replaced; the old one stays a day."
    )


class IntegrityConfig(dg.Config):
    """How much is read back."""

    read: str = Field(default="all", description="`all`, after which nothing needed is pruned; or a part such as 3/7.")
    target: str = Field(default="", description="Which target; all that are in reach when not said.")


def protection_checks(here: Mapping[str, DesiredState]) -> list[dg.AssetChecksDefinition]:
    """The check of each backup: is its newest snapshot young enough, and proven."""
    drills = {state.document["item"]: key for key, state in here.items() if layer_of(key) == "drill"}
    return [
        _check(state, drills.get(state.document["item"])) for key, state in here.items() if layer_of(key) == "backup"
    ]


def _check(state: DesiredState, drill: str | None) -> dg.AssetChecksDefinition:
    """`drill` is the asset that proves the backup: in a run of both, the verdict comes after it."""

    @dg.asset_check(
        asset=asset_key(state.key),
        name=PROTECTED,
        description="Its newest snapshot is as young as its plan says, and so is the drill that proved one.",
        additional_deps=[asset_key(drill)] if drill else [],
        blocking=False,
    )
    def protected(site: SiteResource) -> dg.AssetCheckResult:
        from homelab_platform.operations.coverage import coverage
        from homelab_platform.operations.site import protection_of

        try:
            rows = [row for row in coverage(protection_of(site.world)) if row.item == state.document["item"]]
        except HomelabError as error:
            raise failure(error) from None
        return _verdict(rows)

    return protected


def _verdict(rows: "list[Row]") -> dg.AssetCheckResult:
    wrong = [row for row in rows if row.state != "proven"]
    hard = any(row.state in ("failed", "overdue") for row in wrong) or len(wrong) == len(rows)
    said = [f"{row.target}: {row.state}{f', {row.why}' if row.why else ''}" for row in wrong]
    table = [{name: value if value is not None else "" for name, value in row.to_dict().items()} for row in rows]
    return dg.AssetCheckResult(
        passed=not wrong,
        description="; ".join(said) or "Saved and proven as its plan asks.",
        severity=dg.AssetCheckSeverity.ERROR if hard else dg.AssetCheckSeverity.WARN,
        metadata={"targets": dg.MetadataValue.md(table_markdown(table))},
    )


def operation_jobs(here: Mapping[str, DesiredState], steps: Mapping[str, str]) -> dict[str, Any]:
    """The jobs `backup`, `drill`, `protection`, `restore`, `verify_data_integrity`; none for a site without backups."""
    backups = [asset_key(key) for key in here if layer_of(key) == "backup"]
    drills = [asset_key(key) for key in here if layer_of(key) == "drill"]
    if not backups:
        return {}
    checks = dg.AssetSelection.checks(*(dg.AssetCheckKey(key, PROTECTED) for key in backups))
    found: dict[str, Any] = {
        "backup": dg.define_asset_job(
            "backup",
            dg.AssetSelection.assets(*backups).without_checks(),
            description="Save items to every target in reach.",
            config=asked_of((steps[key] for key in here if layer_of(key) == "backup"), DAILY_WORK["backup"]),
        ),
        "protection": dg.define_asset_job("protection", checks, description="Look at the age of backups and proofs."),
        "restore": _restore_job(),
        "verify_data_integrity": _integrity_job(),
    }
    if drills:
        found["drill"] = dg.define_asset_job(
            "drill",
            dg.AssetSelection.assets(*drills).without_checks(),
            description="Restore the newest backups into a scratch place, and compare.",
            config=asked_of((steps[key] for key in here if layer_of(key) == "drill"), DAILY_WORK["drill"]),
        )
    return found


def _restore_job() -> dg.JobDefinition:
    text = "Put an item back from its newest backup, or write its files into a folder."

    @dg.op(name="restore_item", description=text)
    def restore_item(context: dg.OpExecutionContext, config: RestoreConfig, site: SiteResource) -> dg.Output[None]:
        mark_process(context.instance, context.run)
        try:
            lines = _restored(site, config, context.log.info)
        except HomelabError as error:
            raise failure(error) from None
        return dg.Output(None, metadata={"what was done": dg.MetadataValue.text("\n".join(lines))})

    @dg.job(name="restore", description=text)
    def job() -> None:
        restore_item()

    return job


def _restored(site: SiteResource, config: RestoreConfig, say: Any) -> list[str]:
    from pathlib import Path

    from homelab_platform.operations.restore import moment, plan_restore, restore, restore_into
    from homelab_platform.operations.site import protection_of

    protection = protection_of(site.world)
    at = moment(config.at, protection.timezone) if config.at else None
    (choice,) = plan_restore(protection, [config.item], at=at, target=config.target or None)
    if config.into:
        manifest = restore_into(protection, choice, Path(config.into), say)
        return [f"wrote {len(manifest.files)} files to {config.into}, every byte compared"]
    if not config.replace_live_item:
        raise HomelabError.of(
            f"restore of {choice.item.name}",
            f"would replace the live item by the snapshot of {choice.snapshot.made:%Y-%m-%d %H:%M} UTC",
            "Set replace_live_item to agree, or into to write files only.",
        )
    if choice.item.name == "platform/dagster":
        raise HomelabError.of(
            "platform/dagster", "this run's own record would be replaced", "Use: homelab restore platform/dagster"
        )
    return restore(protection, choice, say)


def _integrity_job() -> dg.JobDefinition:
    text = "Read back what lies at the targets; after a clean full read, delete what no snapshot needs."

    @dg.op(name="verify_integrity", description=text)
    def verify(context: dg.OpExecutionContext, config: IntegrityConfig, site: SiteResource) -> dg.Output[None]:
        from homelab_platform.operations.integrity import verify_targets
        from homelab_platform.operations.site import protection_of

        mark_process(context.instance, context.run)
        try:
            found = verify_targets(protection_of(site.world), config.target, context.log.info, read=config.read)
        except HomelabError as error:
            raise failure(error) from None
        rows = [row.to_dict() for row in found]
        damaged = [row for row in found if row.damage]
        metadata = {"repositories": dg.MetadataValue.md(table_markdown(rows))}
        if damaged:
            places = ", ".join(f"{row.item} at {row.target}" for row in damaged)
            raise dg.Failure(
                description=f"Damaged: {places}. Make a new backup, then drill it; nothing was pruned there.",
                metadata=metadata,
                allow_retries=False,
            )
        return dg.Output(None, metadata=metadata)

    @dg.job(name="verify_data_integrity", description=text)
    def job() -> None:
        verify()

    return job


def operation_schedules(
    timezone: str, here: Mapping[str, DesiredState], jobs: Mapping[str, Any], steps: Mapping[str, str]
) -> list[dg.ScheduleDefinition]:
    """A running schedule for each cron of a plan, in the lab's zone: it runs what the plans say for that time."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, state in here.items():
        if layer_of(key) in WORKS and layer_of(key) in jobs:
            found[layer_of(key), str(state.document["schedule"])].append(key)
    made = [
        _schedule(timezone, jobs[layer], cron, {k: steps[k] for k in keys})
        for (layer, cron), keys in sorted(found.items())
    ]
    if "protection" in jobs:
        made.append(_plain_schedule(timezone, jobs["protection"], HOUR, {}))
        made.append(_daily_read(timezone, jobs["verify_data_integrity"]))
    return made


def _schedule(timezone: str, job: Any, cron: str, steps: Mapping[str, str]) -> dg.ScheduleDefinition:
    """The schedule of the assets whose steps are `steps`, all of one job."""
    words = cron.replace("*", "x").replace("/", "by").replace(",", "and").replace("-", "to").split()
    name = "_".join((job.name, *words))

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{job.name} of {', '.join(map(name_of, steps))}",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        due = context.scheduled_execution_time
        return dg.RunRequest(
            run_key=f"{name} {due.isoformat()}",
            asset_selection=[asset_key(key) for key in steps],
            run_config=asked_of(steps.values(), DAILY_WORK[job.name]),
        )

    return tick


def _plain_schedule(timezone: str, job: Any, cron: str, config: Mapping[str, Any]) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{job.name}_by_the_clock",
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        run_config=dict(config),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _daily_read(timezone: str, job: Any) -> dg.ScheduleDefinition:
    """A seventh of each repository a day, and everything on Sundays, after which is pruned."""

    @dg.schedule(
        name="verify_data_integrity_by_the_clock",
        job=job,
        cron_schedule=DAY,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        due = context.scheduled_execution_time
        read = "all" if due.isoweekday() == 7 else f"{due.isoweekday()}/7"
        config = {"ops": {"verify_integrity": {"config": {"read": read}}}}
        return dg.RunRequest(run_key=f"integrity {due.isoformat()}", run_config=config)

    return tick

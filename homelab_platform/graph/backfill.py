"""Computing marts anew for a range of days, from the command line: one run, in this process and its event log.

Belongs here: what `homelab backfill` calls. The UI's own backfill of partitions runs the same asset with the same
partitions; a sensor computes what changed.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from homelab_platform.apply.readings_world import ReadingsWorld
from homelab_platform.errors import HomelabError
from homelab_platform.graph.apply import QUIET, instance_of
from homelab_platform.graph.assets import asset_key, op_names
from homelab_platform.graph.build import build_definitions
from homelab_platform.graph.marts import days_of, remember_first_day
from homelab_platform.graph.resources import SITE, Session, site_resource
from homelab_platform.graph.tags import RANGE_END, RANGE_START
from homelab_platform.graph.work import DAILY, asked_of
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.names import silent
from homelab_platform.plan.gather import desired_states
from homelab_platform.sites.choose import SiteChoice

if TYPE_CHECKING:
    from homelab_platform.servers.site.site import Site

Progress = Callable[[str], None]


def backfill(
    site: "Site",
    lab: ResolvedLab,
    keys: Iterable[str],
    *,
    first: date | None = None,
    last: date | None = None,
    progress: Progress = silent,
) -> str:
    """Compute the marts `keys` for the days `first` to `last` (None: the first and the newest day of readings); returns
    the run's id in the event log. Raises HomelabError for a range without days, or with the problem of the mart.
    """
    from homelab_platform.sites.local import world_of

    world = world_of(lab, site)
    with instance_of(site) as instance:
        return run_backfill(world, instance, lab, keys, first=first, last=last, progress=progress)


def run_backfill(
    world: ReadingsWorld,
    instance: dg.DagsterInstance,
    lab: ResolvedLab,
    keys: Iterable[str],
    *,
    first: date | None = None,
    last: date | None = None,
    progress: Progress = silent,
) -> str:
    """Compute marts in a world that is open already; see backfill."""
    begins = world.first_day()
    if begins is None:
        raise HomelabError.of("backfill", "there are no readings yet", "`homelab ingest` takes some in.")
    remember_first_day(lab.name, begins)
    wanted = _days(lab, first, last)
    kind = SiteChoice("here", world.capabilities, lambda _lab: world)
    session = Session(lab, kind.open, lambda key, text: progress(f"{key}: {text}"))
    resource = site_resource(lab, kind.name, session)
    steps, chosen = op_names(desired_states(lab), world.capabilities), list(keys)
    job = build_definitions(lab, site=kind, resource_overrides={SITE: resource}).resolve_job_def("marts")
    result = job.execute_in_process(
        run_config=asked_of((steps[key] for key in chosen), DAILY) | QUIET,
        instance=instance,
        asset_selection=[asset_key(key) for key in chosen],
        tags={RANGE_START: wanted[0], RANGE_END: wanted[-1]},
        raise_on_error=False,
    )
    problems = [problem for found in session.problems.values() for problem in found]
    if problems:
        raise HomelabError(problems)
    if not result.success:
        raise HomelabError.of("backfill", f"run {result.run_id} failed", "Its page in the UI has the details.")
    return result.run_id


def _days(lab: ResolvedLab, first: date | None, last: date | None) -> list[str]:
    """The partitions from `first` to `last`."""
    days = days_of(lab.name).get_partition_keys()
    low, high = (day.isoformat() if day else default for day, default in ((first, days[0]), (last, days[-1])))
    wanted = [day for day in days if low <= day <= high]
    if not wanted:
        raise HomelabError.of(
            "backfill", f"there is no day from {low} to {high}", f"Readings lie between {days[0]} and {days[-1]}."
        )
    return wanted

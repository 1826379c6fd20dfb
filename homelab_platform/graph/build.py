"""Building the definitions of a lab.

Belongs here: putting assets, jobs, sensors, schedules and resources together. Nothing here touches the network, so that
a code location loads without its site.
"""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from homelab_platform.errors import HomelabError, Problem
from homelab_platform.graph.alerts import alert_checks, alert_sensors
from homelab_platform.graph.assets import build_assets, op_names
from homelab_platform.graph.checks import lab_asset, lab_file_check, reading_checks
from homelab_platform.graph.executor import lab_executor
from homelab_platform.graph.home import home_sensor
from homelab_platform.graph.host_watch import host_checks, host_watch
from homelab_platform.graph.jobs import asset_jobs
from homelab_platform.graph.labfile import LabWatch, load_or_last_good
from homelab_platform.graph.marts import extras_of, mart_checks
from homelab_platform.graph.operations import WORKS, operation_jobs, operation_schedules, protection_checks
from homelab_platform.graph.own import Own, add_own, own_check, stamp_of
from homelab_platform.graph.patching import patch_assets, patch_checks, patch_jobs, patch_plan, patch_schedules
from homelab_platform.graph.reading_sensors import reading_sensors
from homelab_platform.graph.resources import SITE, Session, site_resource
from homelab_platform.graph.schedules import build_schedules
from homelab_platform.graph.sensors import Reconciler, build_sensors
from homelab_platform.graph.upkeep import maintenance_assets, upkeep_jobs
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.operations.patch_plan import PatchPlan
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.plan.sites import SiteKind
from homelab_platform.sites.choose import SiteChoice, site_choice


def build_definitions(
    lab: ResolvedLab,
    *,
    site: SiteKind | SiteChoice = SiteKind.SMALL,
    resource_overrides: Mapping[str, object] | None = None,
    lab_file: Path | None = None,
    problems: tuple[Problem, ...] = (),
) -> dg.Definitions:
    """The Dagster definitions of `lab` on a site, by its kind or given opened.

    `resource_overrides` replaces resources (the seam for tests). With `lab_file` the reconcile sensor reads that file
    at each tick; `problems` are shown by a failing check. Raises HomelabError if the lab's assets need each other in a
    circle.
    """
    kind = site_choice(site) if isinstance(site, SiteKind) else site
    desired = desired_states(lab)
    here = {key: state for key, state in desired.items() if kind.capabilities.can(key, state.kinds)}
    watch = LabWatch(lab_file) if lab_file is not None else None
    steps = op_names(desired, kind.capabilities)
    patching = patch_plan(lab, here)
    jobs = {
        **asset_jobs(here, steps),
        **upkeep_jobs(here),
        **operation_jobs(here, steps),
        **patch_jobs(patching),
    }
    reconciler = Reconciler(lab, desired, kind, watch, steps, stamp_of(lab_file))
    described = f"{lab.source} of {lab.name}: {len(lab.hosts)} hosts, {len(lab.workloads)} workloads."
    base = dg.Definitions(
        assets=[
            lab_asset(lab.name, described),
            *build_assets(desired, kind.capabilities, extras_of(lab), WORKS),
            *maintenance_assets(here),
            *patch_assets(patching),
        ],
        asset_checks=_checks(lab, here, patching, problems),
        jobs=list(jobs.values()),
        schedules=[
            *build_schedules(lab.timezone, jobs),
            *operation_schedules(lab.timezone, here, jobs, steps),
            *patch_schedules(patching, jobs),
        ],
        sensors=[
            *build_sensors(reconciler, jobs),
            *reading_sensors(jobs, here, lab, steps),
            *host_watch(here),
        ],
        resources={SITE: site_resource(lab, kind.name, Session(lab, kind.open)), **(resource_overrides or {})},
        executor=lab_executor(lab.name),
        metadata={"lab": lab.name, "site": kind.name},
    )
    merged, own = add_own(base, lab_file) if lab_file is not None else (base, Own())
    folder = lab_file.parent if lab_file is not None else None
    kept = dg.Definitions(
        asset_checks=[*own_check(lab.name, own), *alert_checks(lab, folder)],
        sensors=[home_sensor(lab.name, desired, own), *alert_sensors(lab, desired, folder)],
    )
    return dg.Definitions.merge(merged, kept)


def _checks(
    lab: ResolvedLab, here: Mapping[str, DesiredState], patching: PatchPlan, problems: tuple[Problem, ...]
) -> list[dg.AssetChecksDefinition]:
    """Every check of the assets that the site reaches, and of the lab file."""
    return [
        lab_file_check(lab.name, problems),
        *reading_checks(here),
        *mart_checks(lab, here),
        *host_checks(here),
        *protection_checks(here),
        *patch_checks(patching),
    ]


def definitions_of_file(path: Path, *, site: SiteKind | SiteChoice = SiteKind.SMALL) -> dg.Definitions:
    """The definitions of a lab file. If it is broken: of the last good lab, or of nothing but its failing check."""
    loaded = load_or_last_good(path)
    if loaded.lab is not None:
        try:
            return build_definitions(loaded.lab, site=site, lab_file=path, problems=loaded.problems)
        except HomelabError as error:
            return _broken(path, error.problems)
    return _broken(path, loaded.problems)


def _broken(path: Path, problems: tuple[Problem, ...]) -> dg.Definitions:
    name = path.parent.name or "lab"
    text = "\n\n".join(str(problem) for problem in problems)
    return dg.Definitions(
        assets=[lab_asset(name, f"{path} has errors, and no good lab is remembered.\n\n{text}")],
        asset_checks=[lab_file_check(name, problems)],
        executor=dg.in_process_executor,
        metadata={"lab": name, "site": "none"},
    )

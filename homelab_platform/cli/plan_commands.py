"""`homelab plan` and `homelab apply`: what would change, and changing it.

Belongs here: screens, confirmation, exit codes. Not here: what differs (plan/) or how it is applied (graph/).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError, Problem

if TYPE_CHECKING:
    from homelab_platform.graph.apply import ApplyReport
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.plan.desired import DesiredState
    from homelab_platform.plan.plan import Plan, Step
    from homelab_platform.plan.state import AppliedState
    from homelab_platform.servers.site.site import Site

RefreshOption = Annotated[
    bool, typer.Option(help="Look at the outside world first; without it the plan trusts the last observation.")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", metavar="ASSET", help="Just this asset, like mart/gaps. Repeatable.")
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(plan)
    app.command()(apply)


def plan(
    lab: common.LabArgument = None,
    refresh: RefreshOption = True,
    only: OnlyOption = None,
    all_changes: Annotated[bool, typer.Option("--all", help="Show every changed value of every asset.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Show what applying the lab would change. Changes nothing. Exits 2 when changes are pending."""
    from homelab_platform.plan.render import render

    started = time.monotonic()
    resolved = common.resolved_lab(common.find_lab(lab))
    made = current_plan(resolved, refresh=refresh, only=only)
    if as_json:
        output.write_json(made.to_dict())
    else:
        output.say(f"{render(made, all_changes=all_changes)}    {output.duration(time.monotonic() - started)}")
    raise typer.Exit(2 if made.pending else 0)


def current_plan(resolved: ResolvedLab, *, refresh: bool, only: list[str] | None) -> Plan:
    """The plan of the lab against its embedded site, running or not, cut down to the assets in `only`."""
    from homelab_platform.plan.gather import desired_states
    from homelab_platform.plan.plan import make_plan, with_elsewhere
    from homelab_platform.plan.plan import only as cut
    from homelab_platform.plan.sites import CAPABILITIES
    from homelab_platform.servers.site.applied_lab import last_applied
    from homelab_platform.servers.site.known import kind_of

    desired = desired_states(resolved)
    states = _states(resolved, desired, refresh)
    wanted = known_keys(only, [*desired, *states])
    made = make_plan(desired, states, site=CAPABILITIES[kind_of(resolved.name)], lab=resolved.name)
    before = last_applied(resolved.name)
    if before is not None:
        made = with_elsewhere(made, desired, desired_states(before))
    return cut(made, wanted) if wanted else made


def _states(resolved: ResolvedLab, desired: Mapping[str, DesiredState], refresh: bool) -> Mapping[str, AppliedState]:
    """What is known of the lab's assets; nothing when its site does not run."""
    from homelab_platform.servers.site.known import is_supervised

    if not is_supervised(resolved.name):
        return {}
    from homelab_platform.servers.site.site import running

    site = running(resolved.name)
    if site is None:
        return {}
    if not refresh:
        from homelab_platform.apply.state_store import StateStore

        return StateStore(site.lakehouse.postgres).load()
    from homelab_platform.apply.observation import refreshed_states
    from homelab_platform.sites.local import world_of

    return refreshed_states(world_of(resolved, site), desired)


def known_keys(wanted: list[str] | None, known: Iterable[str]) -> set[str]:
    """The asset keys that the user named; raises HomelabError for each that the lab does not have."""
    names = list(known)
    problems = [
        Problem(key, "the lab has no such asset", did_you_mean(key, names)) for key in wanted or () if key not in names
    ]
    if problems:
        raise HomelabError(problems)
    return set(wanted or ())


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """A remedy that names the nearest of `names`."""
    from homelab_platform.lab.quantities import nearest

    near = nearest(wrong, names)
    return f"Did you mean {near}?" if near else "`homelab plan` lists what there is."


def apply(
    lab: common.LabArgument = None,
    only: OnlyOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, unless data would be lost.")] = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ASSET",
            help="Allow the loss of this asset's data (a workload that goes takes its volumes along). Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Make the lab real: apply exactly what differs, then look whether it took."""
    path = common.find_lab(lab)
    if dry_run:
        plan(path, only=only, as_json=as_json)
    resolved = common.resolved_lab(path)
    made = current_plan(resolved, refresh=True, only=only)
    named = known_keys(confirm, [step.key for step in made.steps])
    if not made.pending:
        _nothing_to_do(resolved, made, as_json)
        return
    site = common.running_site(path)
    keys, with_data = agreed(made, yes=yes or as_json, confirmed=named, quiet=as_json)
    with output.steps(quiet=as_json) as progress:
        losing = [step for step in made.pending if step.danger == "data-loss"]
        report = apply_to(site, resolved, keys=keys, consents=losing, with_data=with_data, progress=progress)
    if as_json:
        output.write_json(report.to_dict())
    else:
        say_report(report)
    raise typer.Exit(1 if report.failed else 0)


def _nothing_to_do(resolved: ResolvedLab, made: Plan, as_json: bool) -> None:
    """Say so, and remember the lab: what is edited beyond the site's reach has been seen now."""
    from homelab_platform.plan.render import render
    from homelab_platform.servers.site.applied_lab import remember_applied
    from homelab_platform.servers.site.site import running

    if as_json:
        output.write_json({"results": [], "plan": made.to_dict()})
    else:
        output.say(render(made))
    site = running(resolved.name)
    if site is not None:
        remember_applied(site.root, resolved)


def agreed(made: Plan, *, yes: bool, confirmed: set[str], quiet: bool) -> tuple[list[str], set[str]]:
    """The keys to apply, and those whose data goes for good, after the user agreed; asks only where somebody answers.

    A delete that keeps the data needs no name: who does not type it keeps it.
    """
    from homelab_platform.plan.render import render

    if not quiet:
        output.note(render(made))
    unnamed = [step for step in made.pending if step.danger == "data-loss" and step.key not in confirmed]
    losing = [step for step in unnamed if not step.keeps]
    interactive = sys.stdin.isatty() and not quiet
    if losing and not interactive:
        raise HomelabError(
            Problem(s.key, f"{s.action} would lose its data", f"If that is meant: homelab apply --confirm {s.key}")
            for s in losing
        )
    for step in losing:
        _ask_by_name(step)
    unasked = any(step.danger == "restart" or step in unnamed for step in made.pending)
    if unasked and not yes and not interactive:
        raise HomelabError.of(
            "apply",
            "something would restart or go, and nobody is here to agree",
            "If that is meant: homelab apply --yes",
        )
    if not yes and interactive:
        confirmed |= {step.key for step in unnamed if step.keeps and _gives_up(step)}
        if not typer.confirm("Apply this?"):
            raise typer.Exit(0)
    return [step.key for step in made.pending], {s.key for s in made.pending if s.keeps and s.key in confirmed}


def _gives_up(step: Step) -> bool:
    """Whether the user types the name of what goes, and so gives up what a delete keeps."""
    kept = ", ".join(step.keeps)
    answer = typer.prompt(
        f"{step.key} goes; {kept} will be kept. Type its name to delete that too, or press Enter",
        default="",
        show_default=False,
    ).strip()
    if answer and answer != step.key:
        raise HomelabError.of(step.key, "the name did not match; nothing was changed", "")
    return bool(answer)


def _ask_by_name(step: Step) -> None:
    answer = typer.prompt(f"{step.key}: {step.action} loses its data. Type its name to go on")
    if answer.strip() != step.key:
        raise HomelabError.of(step.key, "the name did not match; nothing was changed", "")


def apply_to(
    site: Site,
    resolved: ResolvedLab,
    *,
    keys: list[str] | None = None,
    consents: Collection[Step] = (),
    with_data: Collection[str] = (),
    without: Collection[str] = (),
    progress: Callable[[str], None],
    alone: AbstractContextManager[object] | None = None,
) -> ApplyReport:
    """Apply the assets `keys` on the running site, through the graph; by default whatever differs and loses no data,
    but for the layers `without`.

    `consents` are the steps whose loss of data the user agreed to. What goes keeps its data, unless its key is in
    `with_data`. `alone` is the lab's lock where the caller holds it already.
    """
    from homelab_platform.graph.apply import apply_assets
    from homelab_platform.plan.layers import layer_of
    from homelab_platform.servers.site.applied_lab import remember_applied

    if keys is None:
        made = current_plan(resolved, refresh=True, only=None)
        pending = [step.key for step in made.pending if step.danger != "data-loss"]
        keys = [key for key in pending if layer_of(key) not in without]
    report = apply_assets(site, resolved, keys, progress=progress, consents=consents, with_data=with_data, alone=alone)
    if not report.failed:
        remember_applied(site.root, resolved)
    return report


def say_report(report: ApplyReport) -> None:
    """What was applied, what failed and why, and where to look."""
    width = max((len(result.key) for result in report.results), default=0)
    for result in report.results:
        output.say(f"  {result.key:<{width}}  {result.status:<8}  {result.summary}  {output.duration(result.seconds)}")
        output.print_problems(result.problems)
    where = f" Open {report.url}" if report.results else ""
    output.say(f"Applied {len(report.applied)} of {len(report.results)}.{where}")

"""`homelab patch`: what would change on the hosts and when, and changing it now, one host after the other.

Belongs here: options and screens. Not here: the procedures (operations/patch.py, patch_night.py).
Exit codes: 0 nothing to do or done, 1 error, 2 changes pending (--dry-run).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError

if TYPE_CHECKING:
    from homelab_platform.operations.patch_night import NightReport, Preview
    from homelab_platform.operations.patch_site import Fleet
    from homelab_platform.servers.site.site import Site

SHOWN = 4


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(patch)


def patch(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HOST]...", help="Hosts of the lab. Default: all, in its order.", show_default=False),
    ] = None,
    lab: common.LabOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the timetable and what would change; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Update hosts now, one at a time: pods leave first; the first failure leaves the rest untouched."""
    from homelab_platform.operations.patch_night import patch_now, preview
    from homelab_platform.sites.local import world_of

    path = common.find_lab(lab)
    resolved, site = common.resolved_lab(path), common.running_site(path)
    fleet = world_of(resolved, site).fleet()
    turns = fleet.plan.chosen(hosts or [])
    if as_json and not (dry_run or yes):
        raise HomelabError.of("patch", "--json cannot ask", "Add --yes, or --dry-run to look first.")
    with output.steps(quiet=as_json) as progress:
        previews = preview(fleet, turns, progress)
    pending = [one for one in previews if one.pending]
    if dry_run and as_json:
        output.write_json({"hosts": [one.to_dict() for one in previews], "notes": _notes(fleet)})
    elif not as_json:
        _show(fleet, previews)
    if dry_run or not pending:
        _leave(previews, pending, as_json=as_json, dry_run=dry_run)
    if not yes and not typer.confirm(f"Patch {output.count(len(pending), 'host')} now?"):
        raise typer.Exit(0)
    with output.steps(quiet=as_json) as progress:
        report = patch_now(fleet, turns, progress)
    _tell_pages(site, report)
    _say_report(report, as_json=as_json)


def _tell_pages(site: Site, report: NightReport) -> None:
    """Leave the result on the hosts' pages in the UI."""
    from homelab_platform.graph.apply import instance_of
    from homelab_platform.graph.patching import report_patched

    with instance_of(site) as instance:
        report_patched(instance, report)


def _leave(previews: list[Preview], pending: list[Preview], *, as_json: bool, dry_run: bool) -> None:
    """End a dry run, or a run with nothing to do."""
    silent = any(one.facts is None for one in previews)
    if not pending and not silent and not as_json:
        output.say("Nothing is due.")
    if as_json and not dry_run:
        output.write_json({"hosts": [one.to_dict() for one in previews], "error": None})
    raise typer.Exit(1 if silent else 2 if pending else 0)


def _notes(fleet: Fleet) -> list[str]:
    notes = list(fleet.plan.notes)
    if fleet.unsaved:
        notes.append(f"not saved by this site, so no proof is waited for: {', '.join(fleet.unsaved)}")
    return notes


def _show(fleet: Fleet, previews: list[Preview]) -> None:
    rows = [(*_when(fleet, one), *_what(one)) for one in previews]
    output.say(output.table(("host", "group", "window", "next", "updates", "restart", "in the way"), rows))
    for one in previews:
        if one.facts is not None and one.facts.updates:
            shown = "\n".join(f"    {update}" for update in one.facts.updates)
            output.say(f"\n  {one.slot.turn.host}\n{shown}")
        if one.facts is not None and one.facts.held:
            output.say(f"\n  {one.slot.turn.host} holds back: {', '.join(one.facts.held)}")
    for line in _notes(fleet):
        output.note(line)


def _when(fleet: Fleet, one: Preview) -> tuple[str, str, str, str]:
    turn, opening = one.slot.turn, one.slot.opening
    zone = ZoneInfo(fleet.plan.timezone)
    begins = f"{opening.begin.astimezone(zone):%a %Y-%m-%d %H:%M}" if opening else "only by hand"
    return turn.host, turn.group, str(turn.window or "none"), begins


def _what(one: Preview) -> tuple[str, str, str]:
    facts = one.facts
    if facts is None:
        return "?", "?", one.why
    restart = "; ".join(facts.reboot) or "if the updates ask for it" if one.pending else "no"
    in_the_way = "; ".join(one.obstacles[:SHOWN])
    return str(len(facts.updates)), "never" if one.slot.turn.reboot == "never" else restart, in_the_way


def _say_report(report: NightReport, *, as_json: bool) -> None:
    problems = report.error.problems if report.error else ()
    if as_json:
        error = [problem.to_dict() for problem in problems] or None
        output.write_json({"hosts": [result.to_dict() for result in report.hosts], "error": error})
    else:
        rows = [
            (r.host, r.state, r.updates, "yes" if r.rebooted else "no", output.duration(r.seconds), r.why)
            for r in report.hosts
        ]
        output.say(output.table(("host", "", "updates", "restarted", "took", ""), rows))
        output.print_problems(problems)
    raise typer.Exit(1 if problems else 0)

"""`homelab doctor`: looks for causes, and says what to do.

Belongs here: the screen. Not here: the looks themselves (operations/doctor.py).
"""

from __future__ import annotations

import typer

from homelab_platform.cli import common, output


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """Look for causes: this machine, each server, what failed, and what to do. Exits 1 if something is ill."""
    from homelab_platform.cli.status_screen import gather
    from homelab_platform.operations import doctor as looks
    from homelab_platform.servers.site.site import running

    resolved = common.resolved_lab(common.find_lab(lab))
    report = gather(resolved)
    found = [
        *looks.examine_machine(report.site.root),
        *looks.examine_servers(report.site.servers if report.site.supervised else (), report.site.root / "logs"),
    ]
    site = running(resolved.name)
    if site is not None:
        found += looks.examine_site(site)
    elif not report.site.supervised:
        found.append(looks.Diagnosis("site", "ill", f"{resolved.name} is down", "Start it with `homelab up`."))
    found += looks.causes(f for f in report.health.of("error") if not f.where.startswith("server "))
    ill = [one for one in found if one.state == "ill"]
    if as_json:
        output.write_json({"lab": resolved.name, "well": not ill, "looks": [one.to_dict() for one in found]})
        raise typer.Exit(1 if ill else 0)
    for one in found:
        mark = {"well": "ok", "note": "!", "ill": "✗"}[one.state]
        output.say(f"  {mark:<3} {one.about:<20} {one.seen}")
        if one.remedy:
            output.say(f"      {'':<20} {one.remedy}")
    output.say("Nothing is ill." if not ill else f"{output.count(len(ill), 'thing')} to mend.")
    raise typer.Exit(1 if ill else 0)

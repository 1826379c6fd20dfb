"""`homelab alerts`: who hears of trouble, and whether they would.

Belongs here: the screen. Not here: the channels (operations/messengers.py).
"""

from __future__ import annotations

from typing import Annotated

import typer

from homelab_platform.cli import common, output


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(alerts)


def alerts(
    lab: common.LabArgument = None,
    trial: Annotated[bool, typer.Option("--trial", help="Send a message of trial through every channel.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Say by which channels people hear of trouble; with --trial, send one message through each."""
    from homelab_platform.operations.messengers import alerts_of, channels, try_out

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    said = alerts_of(resolved)
    found = list(channels(resolved, said, path.parent)) if said is not None else []
    told = try_out(resolved, said, path.parent) if trial and said is not None else {}
    if as_json:
        output.write_json([{"channel": c.name, "pushes": c.wakes, "fault": told.get(c.name)} for c in found])
    elif not found:
        output.say("Nobody is told of trouble. Say who below alerts: email, ntfy, webhook or home_assistant.")
    for channel in found if not as_json else ():
        state = (told[channel.name] or "took a message of trial") if trial else "not tried; --trial sends a message"
        output.say(f"  {channel.name:<14}  {state}")
    raise typer.Exit(1 if any(told.values()) else 0)

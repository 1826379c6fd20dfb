"""`homelab backfill`: marts computed anew for a range of days.

Belongs here: options and screens. Not here: how a mart is computed (readings/marts) or run (graph/backfill.py).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError

_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(backfill)


def backfill(
    marts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MART]...", help="Marts, like gaps. Default: all.", show_default=False),
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=_DAY, metavar="DAY", help="First day. Default: the first with readings."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=_DAY, metavar="DAY", help="Last day. Default: the newest.")
    ] = None,
    lab: common.LabOption = None,
) -> None:
    """Compute marts anew for a range of days, in one run, and show how far it is."""
    from homelab_platform.graph.backfill import backfill as run

    began = time.monotonic()
    path = common.find_lab(lab)
    resolved, site = common.resolved_lab(path), common.running_site(path)
    names = [name.removeprefix("mart/") for name in marts or sorted(resolved.marts)]
    for name in names:
        if name not in resolved.marts:
            known = ", ".join(sorted(resolved.marts))
            raise HomelabError.of(f"mart/{name}", "there is no such mart", f"There are: {known}.")
    with output.steps(quiet=False) as progress:
        run_id = run(
            site,
            resolved,
            [f"mart/{name}" for name in names],
            first=first.date() if first else None,
            last=last.date() if last else None,
            progress=progress,
        )
    took = output.duration(time.monotonic() - began)
    output.say(f"Computed {output.count(len(names), 'mart')}. Open {site.dagster_url}/runs/{run_id}    {took}")

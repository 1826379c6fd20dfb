"""`homelab history`: who applied, confirmed or removed what, and when.

Belongs here: the screen. Not here: the record itself (apply/history.py).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError
from homelab_platform.lab import quantities as q


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(history)


def history(
    asset: Annotated[str | None, typer.Argument(metavar="[ASSET]", help="One asset, such as bucket/lake.")] = None,
    lab: common.LabOption = None,
    since: Annotated[str | None, typer.Option("--since", metavar="AGE", help="Not older than this: 7d, 12h.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rows, the newest.")] = 50,
    as_json: common.JsonOption = False,
) -> None:
    """Say who applied, confirmed or removed what on this lab, newest first. Rows are added and never changed."""
    from homelab_platform.apply.history import read_history

    oldest = datetime.now(UTC) - _age(since) if since else None
    site = common.running_site(common.find_lab(lab))
    rows = read_history(site.lakehouse.postgres, key=asset, since=oldest, limit=limit)
    if as_json:
        output.write_json([{**asdict(row), "at": row.at.isoformat()} for row in rows])
        return
    if not rows:
        output.say("Nothing yet.")
        return
    output.say(
        output.table(
            ("when", "who", "did", "to", "run"),
            [
                (
                    row.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    f"{row.person} on {row.machine}",
                    f"{row.action}{f' ({row.note.splitlines()[0][:60]})' if row.note else ''}",
                    row.key,
                    row.run_id[:8],
                )
                for row in rows
            ],
        )
    )


def _age(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(q.duration(text)))
    except q.Bad:
        raise HomelabError.of(f"--since {text}", "not a duration", "Write one such as 12h, 7d or 4w.") from None

"""`homelab repair`: a store that went back in time, planned, asked about, repaired.

Belongs here: the screen. Not here: what is wrong and what mends it (readings/upkeep/rollback.py).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output

if TYPE_CHECKING:
    from homelab_platform.readings.upkeep.rollback import Repair

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(repair)


def repair(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Repair tables after an older PostgreSQL or bucket came back. Exits 2 when a repair waits for consent.

    Tables point at their newest whole state afterwards, and objects whose readings they lack are read again.
    """
    from homelab_platform.readings.ingest import ingest_objects
    from homelab_platform.readings.upkeep import rollback

    path = common.find_lab(lab)
    site = common.running_site(path)
    planned = rollback.plan(site.lakehouse)
    if not as_json:
        _show(planned)
    if not planned.is_needed:
        if as_json:
            output.write_json(_document(planned, done=False))
        return
    if not yes and not _consents(as_json):
        if as_json:
            output.write_json(_document(planned, done=False))
        raise typer.Exit(2)
    streams = common.resolved_lab(path).streams
    with output.steps(quiet=as_json) as progress:
        progress("pointing the tables at their newest whole states")
        keys = rollback.carry_out(site.lakehouse, planned)
        progress(f"reading {output.count(len(keys), 'object')} again")
        if keys:
            ingest_objects(site.lakehouse, keys, streams)
    if as_json:
        output.write_json(_document(planned, done=True))
    else:
        output.say("Repaired. Marts follow by themselves.")


def _consents(as_json: bool) -> bool:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        if not as_json:
            output.say("Nothing was changed. Repair it with --yes.")
        return False
    return typer.confirm("Repair this?")


def _show(planned: Repair) -> None:
    if not planned.is_needed:
        output.say("The stores agree. Nothing to repair.")
        return
    for moved in planned.tables:
        output.say(f"{moved.table}: {moved.older} went back in time: {moved.fault}")
        output.say(f"  from {moved.pointer}")
        output.say(f"  to   {moved.to}")
    for count, words in (
        (len(planned.read_again), "to be read again: the table lacks readings of them"),
        (len(planned.unknown), "to be entered in the ledger: the table has readings of them"),
    ):
        if count:
            output.say(f"{output.count(count, 'object')} {words}")
    if planned.lost:
        output.say(
            f"{output.count(sum(planned.lost.values()), 'reading')} lost: neither the table nor the raw bucket has them"
        )
        for key, rows in sorted(planned.lost.items())[:SHOWN]:
            output.say(f"  {key}: {output.count(rows, 'reading')}")
        if len(planned.lost) > SHOWN:
            output.say(f"  and {len(planned.lost) - SHOWN:,} more (--json lists them)")
        output.say("A backup of the raw bucket may have them: `homelab restore` first, then this.")


def _document(planned: Repair, *, done: bool) -> dict[str, object]:
    return {
        "needed": planned.is_needed,
        "done": done,
        "tables": [vars(moved) for moved in planned.tables],
        "read_again": planned.read_again,
        "unknown_to_ledger": planned.unknown,
        "lost": planned.lost,
        "days": [day.isoformat() for day in planned.days],
    }

"""`homelab readings undo`: a delivery taken back out of the table.

Belongs here: which objects are meant, the question, the answer. Not here: how readings leave the table
(readings/commit/withdraw.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError

if TYPE_CHECKING:
    from homelab_platform.readings.ledger import LedgerEntry
    from homelab_platform.tools.endpoints import Lakehouse


def undo(
    stream: Annotated[str, typer.Option(help="Stream whose deliveries are taken back.")],
    key: Annotated[list[str] | None, typer.Option("--object", help="Only this object. Repeatable.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what was ingested since this time (RFC 3339).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Take deliveries of a stream back: a wrong time zone, a wrong mapping. Marts follow by themselves.

    Raw objects stay in the bucket, and the ledger says that they were withdrawn. Readings that another delivery brought
    too come back from that one.
    """
    from homelab_platform.readings.commit.session import open_session
    from homelab_platform.readings.commit.withdraw import withdraw
    from homelab_platform.readings.ingest import ingest_objects

    path = common.find_lab(lab)
    site = common.running_site(path)
    streams = common.resolved_lab(path).streams
    chosen = _chosen(site.lakehouse, stream, key or [], since)
    readings = sum(entry.rows for entry in chosen)
    question = f"{output.count(readings, 'reading')} of {output.count(len(chosen), 'object')} of {stream}"
    if not yes:
        _confirm(question, chosen)
    with output.steps(quiet=as_json) as progress:
        progress(f"taking back {question}")
        with open_session(site.lakehouse, streams) as session:
            done = withdraw(session, [entry.key for entry in chosen], "withdrawn by homelab readings undo")
        again = ingest_objects(site.lakehouse, done.read_again, streams) if done.read_again else None
    brought = again.rows if again else 0
    if as_json:
        days = [day.isoformat() for day in done.days]
        output.write_json(
            {"objects": done.objects, "readings": done.readings, "days": days, "brought_by_others": brought}
        )
        return
    output.say(
        f"{output.count(done.readings, 'reading')} of {output.count(done.objects, 'object')} taken back, "
        f"on {output.count(len(done.days), 'day')}."
    )
    if brought:
        output.say(f"{output.count(brought, 'of them was', 'of them were')} brought by other deliveries too, and stay.")


def _chosen(lakehouse: Lakehouse, stream: str, keys: Sequence[str], since: str | None) -> list[LedgerEntry]:
    """The ingested objects that are meant. Raises HomelabError when there are none, or one is not there."""
    from homelab_platform.readings import ledger

    start = _moment(since) if since else None
    found = [
        entry
        for entry in ledger.entries(lakehouse, status="ingested")
        if entry.key.split("/", 1)[0] == stream
        and (not keys or entry.key in keys)
        and (start is None or entry.committed_at >= start)
    ]
    missing = sorted(set(keys) - {entry.key for entry in found})
    if missing:
        raise HomelabError.of(
            missing[0], f"no ingested object of stream {stream}", "homelab ingest --json says each file's object."
        )
    if not found:
        raise HomelabError.of(stream, "nothing to take back: no ingested object", "Look at --stream and --since.")
    return found


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HomelabError.of(f"--since {text}", "is no time", "Write it as 2026-11-30T18:00:00+01:00.") from None
    return moment.astimezone() if moment.tzinfo is None else moment


def _confirm(question: str, chosen: Sequence[LedgerEntry]) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise HomelabError.of(
            "homelab readings undo", f"would take back {question}", "Say that you mean it with --yes."
        )
    for entry in chosen[:10]:
        output.say(f"  {entry.key}: {output.count(entry.rows, 'reading')}")
    if len(chosen) > 10:
        output.say(f"  and {len(chosen) - 10:,} more")
    if not typer.confirm(f"Take back {question}?"):
        raise typer.Exit(1)

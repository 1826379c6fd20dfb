"""`homelab backup`, `drill`, `restore`, `verify-integrity`: what is saved, whether it is proven, and getting it back.

Belongs here: options and screens. Not here: the procedures (operations/) or their runs in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError, Unreachable

if TYPE_CHECKING:
    from homelab_platform.graph.apply import ApplyReport
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.layers.backups.records import Identity
    from homelab_platform.layers.backups.targets import Target
    from homelab_platform.operations.coverage import Row
    from homelab_platform.operations.restore import Choice
    from homelab_platform.operations.site import Protection
    from homelab_platform.servers.site.site import Site

ItemsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ITEM]...", help="Items, like lake or platform/dagster. Default: all.", show_default=False),
]
FromOption = Annotated[str | None, typer.Option("--from", metavar="TARGET", help="From this target.")]

backup_app = typer.Typer(help="What holds state, whether it is saved and proven.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.add_typer(backup_app, name="backup")
    app.command()(drill)
    app.command()(restore)
    app.command("verify-integrity")(verify_integrity)
    app.command()(kit)


def _opened(lab: Path | None) -> tuple[Site, ResolvedLab, Protection]:
    from homelab_platform.sites.local import world_of

    path = common.find_lab(lab)
    resolved, site = common.resolved_lab(path), common.running_site(path)
    return site, resolved, world_of(resolved, site).protection()


@backup_app.command("list")
def list_items(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """Each item at each target: its newest snapshot, its proof, and its state."""
    from homelab_platform.operations.coverage import coverage, too_few_copies

    _site, resolved, protection = _opened(lab)
    rows = coverage(protection)
    elsewhere = sorted({b.item for b in resolved.backups.values()} - set(protection.items))
    if as_json:
        away = "this site does not reach it"
        missing = [_elsewhere(resolved, item, away) for item in elsewhere]
        output.write_json([row.to_dict() for row in rows] + missing)
    else:
        output.say(_table(rows))
        if elsewhere:
            output.say(f"\nNot reached from this site, and not saved by it: {', '.join(elsewhere)}.")
        notes = {target.name: target.note for target in protection.targets if target.note}
        for line in too_few_copies(protection, rows):
            output.say(line)
        for name, text in notes.items():
            output.say(f"Target {name} is {protection.target(name).place}: {text}.")
    raise typer.Exit(1 if any(row.state in ("failed", "overdue") for row in rows) else 0)


def _elsewhere(lab: ResolvedLab, item: str, why: str) -> dict[str, Any]:
    backup = next(b for b in lab.backups.values() if b.item == item)
    nothing = dict.fromkeys(("bytes", "snapshot", "proof"))
    target = ", ".join(backup.targets)
    return {"item": item, "method": backup.method, "target": target, **nothing, "state": "out-of-reach", "why": why}


def _table(rows: list[Row]) -> str:
    now = datetime.now(UTC)

    def age(moment: datetime | None) -> str:
        return f"{output.duration((now - moment).total_seconds())} ago" if moment else "never"

    lines = [
        (
            row.item, row.target, row.state, age(row.snapshot), age(row.proof),
            output.size(row.bytes) if row.bytes is not None else "", row.why,
        )
        for row in rows
    ]  # fmt: skip
    return output.table(("item", "target", "state", "saved", "proven", "size", ""), lines)


@backup_app.command("run")
def run_backup(
    items: ItemsArgument = None,
    lab: common.LabOption = None,
    label: Annotated[str, typer.Option(help="A name for the snapshots; one with a name is kept for 30 days.")] = "",
    shrunk: Annotated[
        bool, typer.Option("--shrunk", help="Save although much of the last backup is gone: you know why.")
    ] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Save items to every target in reach, now."""
    _run("backup", items, lab, {"label": label, "data_went_on_purpose": shrunk}, as_json=as_json)


def drill(
    items: ItemsArgument = None,
    lab: common.LabOption = None,
    target: FromOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Restore the newest snapshots into a scratch place and compare them with what was saved."""
    _run("drill", items, lab, {"target": target or ""}, as_json=as_json)


def _run(job: str, items: list[str] | None, lab: Path | None, config: dict[str, object], *, as_json: bool) -> None:
    from homelab_platform.graph.apply import run_assets
    from homelab_platform.graph.operations import DAILY_WORK

    work = DAILY_WORK[job].model_copy(update=config)
    site, resolved, protection = _opened(lab)
    wanted = {protection.item(name).name for name in items or protection.items}
    _refuse_busy(protection, wanted, job)
    plans = protection.plans
    keys = [f"{job}/{name}" for name, plan in plans.items() if plan.item in wanted and (job == "backup" or plan.drill)]
    with output.steps(quiet=as_json) as progress:
        report = run_assets(site, resolved, job, keys, work, progress=progress)
    _say_report(report, as_json=as_json)


def _refuse_busy(protection: Protection, items: Iterable[str], job: str) -> None:
    """Raise HomelabError that says who works on one of these items, where and since when."""
    for item in sorted(items):
        holder = protection.journal.holder(item)
        if holder is not None:
            raise HomelabError.of(f"{job} of {item}", f"is under way: {holder}", "Wait until it is done.")


def _say_report(report: ApplyReport, *, as_json: bool) -> None:
    if as_json:
        output.write_json(report.to_dict())
    else:
        width = max((len(result.key) for result in report.results), default=0)
        for result in report.results:
            word = "done" if result.status == "applied" else result.status
            output.say(f"  {result.key:<{width}}  {word:<8} {output.duration(result.seconds)}")
            output.print_problems(result.problems)
        output.say(f"Open {report.url}")
    raise typer.Exit(1 if report.failed else 0)


@backup_app.command("target")
def make_target(
    name: Annotated[str, typer.Argument(help="A target of the lab.")],
    lab: common.LabOption = None,
    new: Annotated[bool, typer.Option("--new", help="Make its empty folder or bucket this target.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, not even whether the machine's key is the right one.")
    ] = False,
) -> None:
    """Show a target: its place, its id, the id of its key, the room there. With --new, make it."""
    _site, _resolved, protection = _opened(lab)
    target = protection.target(name)
    identity = _established(target, protection, yes=yes) if new else target.identity()
    rows = [
        ("place", target.place), ("id", identity.id), ("key", identity.key),
        ("made", f"{identity.made:%Y-%m-%d %H:%M} UTC"), ("free", _room(target.room())), ("worth", target.note),
    ]  # fmt: skip
    for word, value in rows:
        if value:
            output.say(f"  {word:<7} {value}")


def _established(target: Target, protection: Protection, *, yes: bool) -> Identity:
    """The target, made; a machine that was never met is learnt first, if a person says that it is the right one."""
    from homelab_platform.layers.backups.depots import SftpDepot
    from homelab_platform.layers.backups.remote import RemoteTarget
    from homelab_platform.layers.images.first_contact import learn_host_key
    from homelab_platform.tools.ssh.errors import UnknownHostKey
    from homelab_platform.tools.ssh.scan import shown_key

    try:
        return target.establish(protection.protects)
    except Unreachable as error:
        if not isinstance(error.__cause__, UnknownHostKey) or not isinstance(target, RemoteTarget):
            raise
        depot = target.depot
        if not isinstance(depot, SftpDepot):
            raise
        shown = shown_key(depot.sftp.target)
        output.say(f"{target.place} was never met. It shows the host key {shown.fingerprint}.")
        output.say("Compare: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub at the machine itself.")
        if not yes and not typer.confirm("Is it the same?"):
            raise typer.Exit(1) from None
        learn_host_key(depot.sftp.access.known_hosts, depot.sftp.target.name, shown.key)
        return target.establish(protection.protects)


def _room(found: int | None) -> str:
    return output.size(found) if found is not None else ""


def kit(
    lab: common.LabArgument = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it, instead of here.")] = None,
) -> None:
    """Write the emergency kit: a page for paper that brings everything back without this machine."""
    from homelab_platform.files import write_whole
    from homelab_platform.operations.kit import leave

    _site, resolved, protection = _opened(lab)
    file = (out or Path(f"emergency-kit-{resolved.name}.html")).absolute()
    if protection.kit is None:
        raise HomelabError.of("kit", "this site saves nothing itself", "Run it on a site of this machine.")
    write_whole(file, protection.kit(protection))
    for target in protection.targets:
        try:
            target.identity()
            leave(protection, target)
        except HomelabError as error:
            output.note(f"No copy at {target.name}: {error.problems[0].what}")
    output.say(str(file))
    output.say(
        "Print it, and write the key onto it (`homelab backup key`). Each backup leaves the page at its targets."
    )


@backup_app.command("key")
def show_key(lab: common.LabArgument = None) -> None:
    """Print the recovery key. Without it no backup can be read: keep it on paper, away from this machine."""
    from homelab_platform import paths
    from homelab_platform.layers.backups.recovery_key import recovery_key

    file = paths.recovery_key_path(common.lab_name(common.find_lab(lab)))
    output.say(recovery_key(file, make=False))
    output.note(f"It lies in {file}. Write it down: without it no backup can be read.")


def restore(
    items: ItemsArgument = None,
    lab: common.LabOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every item, in the order that a new machine needs.")
    ] = False,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="The newest snapshot made then or before.")] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="PLACE", help="Write the files into this empty folder; change nothing else.")
    ] = None,
    target: FromOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put items back from their backups: a plan first; each is untouched until its copy is verified."""
    from homelab_platform.operations.restore import moment, plan_restore, restore_into
    from homelab_platform.operations.restore import restore as put_back

    if bool(items) == everything:
        raise HomelabError.of("restore", "name what to restore, or say --all", "homelab backup list shows the items.")
    _site, _resolved, protection = _opened(lab)
    when = moment(at, protection.timezone) if at else None
    plan = plan_restore(protection, items or [], at=when, target=target)
    output.note(_plan_table(plan, into))
    if into is None and not yes and not typer.confirm("Replace the live items?"):
        raise typer.Exit(0)
    with output.steps() as progress:
        for choice in plan:
            if into is not None:
                place = into / choice.item.name.replace("/", "_") if len(plan) > 1 else into
                done = [
                    f"{len(restore_into(protection, choice, place, progress).files)} files in {place}, all compared"
                ]
            else:
                done = put_back(protection, choice, progress)
            for line in done:
                output.say(f"{choice.item.name}: {line}")


def _plan_table(plan: list[Choice], into: Path | None) -> str:
    rows = [
        (
            choice.item.name,
            f"{choice.snapshot.made:%Y-%m-%d %H:%M} UTC",
            choice.target.name,
            output.size(choice.snapshot.bytes),
            f"proven {choice.proof.at:%Y-%m-%d}" if choice.proof else "not proven by a drill",
            output.duration(choice.forecast) if choice.forecast else "?",
            f"files into {into}" if into else choice.item.effect,
        )
        for choice in plan
    ]
    return output.table(("item", "as of", "from", "size", "proof", "takes", "what happens"), rows)


def verify_integrity(
    lab: common.LabArgument = None,
    target: FromOption = None,
    read: Annotated[
        str, typer.Option(help="all, after which nothing needed is pruned; or a part such as 3/7.")
    ] = "all",
    as_json: common.JsonOption = False,
) -> None:
    """Read every byte at the targets back; after a clean read, delete what no snapshot needs."""
    from homelab_platform.operations.integrity import verify_targets

    _site, _resolved, protection = _opened(lab)
    with output.steps(quiet=as_json) as progress:
        found = verify_targets(protection, target or "", progress, read=read)
    if as_json:
        output.write_json([row.to_dict() for row in found])
    else:
        lines = [
            (
                row.item,
                row.target,
                output.size(row.bytes),
                "; ".join(row.damage) or "whole",
                "pruned" if row.pruned else "",
            )
            for row in found
        ]
        output.say(output.table(("item", "target", "size", "", ""), lines))
    raise typer.Exit(1 if any(row.damage for row in found) else 0)

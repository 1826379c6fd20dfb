"""`homelab up`, `down`, `status`, `open`: the embedded site as a person sees it.

Belongs here: the screens of starting, stopping and looking. Not here: how servers run (servers/) or what is applied
(plan_commands).
"""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from homelab_platform.cli import common, output, plan_commands
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say
from homelab_platform.plan.sites import SiteKind

if TYPE_CHECKING:
    from homelab_platform.cli.first_readings import Answer
    from homelab_platform.graph.apply import ApplyReport
    from homelab_platform.lab.resolved import ResolvedLab
    from homelab_platform.servers.site.site import Site, SiteStatus
    from homelab_platform.tools.endpoints import Lakehouse


PROTECTION = ("backup", "drill")
"""Layers that come last: saving and proving what the others have made."""
PAGES = ("trino", "nifi", "minio")
"""Servers with a page of their own, where a site runs them."""


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command("open")(open_page)


def up(
    lab: common.LabArgument = None,
    port: Annotated[int | None, typer.Option(help="Port of the UI; chosen when not given, then kept.")] = None,
    apply: Annotated[bool, typer.Option(help="Apply the lab once the servers run.")] = True,
    profile: Annotated[
        Literal["small", "full", "lab"] | None,
        typer.Option(
            help="small: PostgreSQL and S3. full: NiFi, Trino and a broker besides. lab: small, and it steers the "
            "lab's hosts over SSH and its cluster. Remembered."
        ),
    ] = None,
    objects: Annotated[
        Literal["seaweedfs", "minio"] | None, typer.Option(help="Who serves S3. Chosen once, then remembered.")
    ] = None,
    move: Annotated[bool, typer.Option("--move", help="Copy the objects to the server that --objects names.")] = False,
    ssh_key: Annotated[
        Path | None, typer.Option(help="Private key for the lab's hosts; else your own. Remembered.", exists=True)
    ] = None,
    ssh_user: Annotated[
        str | None, typer.Option(help="Who logs in there; else the lab's deploy account or first admin. Remembered.")
    ] = None,
    new_hosts: Annotated[
        Literal["refuse", "accept"] | None,
        typer.Option(help="What to do with a host whose key is not in known_hosts beside the lab file. Remembered."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Of the lab's cluster; else fetched from its first server. Remembered.", exists=True),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    """Start the lab's embedded site in the background and make the lab real on it. Safe to repeat."""
    from homelab_platform.paths import site_path
    from homelab_platform.servers.site.move import move_objects
    from homelab_platform.servers.site.site import open_site
    from homelab_platform.servers.site.site import up as start

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    with ExitStack() as until_applied, output.steps(quiet=as_json) as progress:
        if move and objects:
            move_objects(site_path(resolved.name), objects, progress)
        state = start(
            path,
            lab_name=resolved.name,
            progress=progress,
            dagster_port=port,
            profile=SiteKind(profile) if profile else None,
            objects=objects,
            reach=_reach(ssh_key, ssh_user, new_hosts, kubeconfig),
            lab=resolved,
            before_graph=_alone(until_applied) if apply else None,
        )
        site = open_site(resolved.name)
        report, answer = _made_real(site, resolved, progress, until_applied) if apply else (None, None)
    _tell_up(site, state, report, answer, as_json=as_json)
    raise typer.Exit(1 if report is not None and report.failed else 0)


def _alone(until_applied: ExitStack) -> Callable[[Lakehouse], None]:
    """Takes the lab's lock before the daemon's first tick: its sensors rest until `up` has applied."""
    from homelab_platform.apply import locks

    def take(lakehouse: Lakehouse) -> None:
        until_applied.enter_context(locks.held(lakehouse.postgres, locks.LAB, "up", wait=0))

    return take


def _made_real(site: Site, lab: ResolvedLab, progress: Say, alone: ExitStack) -> tuple[ApplyReport, Answer]:
    """Apply the lab to its site that runs and ask it for a first answer; what saves and proves comes after that.

    `alone` holds the lab's lock already; the first of the two runs lets go of it.
    """
    from homelab_platform.cli.first_readings import first_answer

    report = plan_commands.apply_to(site, lab, without=PROTECTION, progress=progress, alone=alone)
    answer = first_answer(site, lab.streams, progress)
    if not report.failed:  # now there is something to save
        report = report.followed_by(plan_commands.apply_to(site, lab, progress=progress))
    return report, answer


def _tell_up(
    site: Site, state: SiteStatus, report: ApplyReport | None, answer: Answer | None, *, as_json: bool
) -> None:
    if as_json:
        output.write_json(
            {
                "site": state.to_dict(),
                "applied": report.to_dict() if report else None,
                "first_query": answer.to_dict() if answer else None,
            }
        )
    else:
        _say_up(site, state)
        if report:
            plan_commands.say_report(report)
        if answer:
            output.say(f"\n{answer.text()}")
        output.say("\nStop it with `homelab down`; the data stays.")


def _reach(key: Path | None, user: str | None, new_hosts: str | None, kubeconfig: Path | None) -> dict[str, str]:
    """What was said of the ways to the lab, by the names that a site remembers them by."""
    from homelab_platform.sites import reach as names

    said = {names.SSH_KEY: key, names.SSH_USER: user, names.NEW_HOSTS: new_hosts, names.KUBECONFIG: kubeconfig}
    return {
        name: str(value.absolute() if isinstance(value, Path) else value)
        for name, value in said.items()
        if value is not None
    }


def _say_up(site: Site, state: SiteStatus) -> None:
    output.say(f"Site of lab {site.lab_name} is up ({output.size(state.memory)} in memory).")
    output.say(f"  UI    {site.dagster_url}")
    for name, url in site.pages().items():
        output.say(f"  {name:<5} {url}")
    output.say(f"  data  {site.root}")
    if site.kind is SiteKind.FULL:
        from homelab_platform.servers.engines import ENGINES

        limits = (f"{ENGINES[name].title} {ENGINES[name].memory}" for name in ("trino", "nifi", "mqtt"))
        output.say(f"  limit {', '.join(limits)}")


def down(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """Stop the embedded site. Its data stays; `homelab up` goes on where it was."""
    from homelab_platform.paths import site_path
    from homelab_platform.servers.site.site import down as stop

    root = site_path(common.lab_name(common.find_lab(lab)))
    with output.steps(quiet=as_json) as progress:
        progress("stopping the servers")
        stopped = stop(root)
    if as_json:
        output.write_json({"stopped": stopped, "data": str(root)})
    else:
        output.say(f"Stopped. The data stays in {root}." if stopped else "It was not running. Nothing was done.")


def status(lab: common.LabArgument = None, as_json: common.JsonOption = False) -> None:
    """How the lab is and what needs you. Exits 0 if nothing does, 1 if something is broken, 2 if something waits."""
    from homelab_platform.cli.status_screen import gather

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    report = gather(resolved)
    if as_json:
        output.write_json(report.to_dict())
    else:
        for line in report.lines():
            output.say(line)
    raise typer.Exit(report.exit_code)


def open_page(
    what: Annotated[
        str | None, typer.Argument(help="An asset like table/sensor_data, trino, nifi or minio; nothing for the UI.")
    ] = None,
    lab: common.LabOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Open the Dagster UI, or the page of one asset, in the browser; prints the address."""
    site = common.running_site(common.find_lab(lab))
    url = site.dagster_url
    pages = site.pages()
    if what in pages:
        url = pages[what]
    elif what in PAGES:
        raise HomelabError.of(what, "this site does not run it", _how_to_have(what))
    elif what is not None:
        keys = _asset_keys(site)
        if what not in keys:
            hint = plan_commands.did_you_mean(what, keys)
            raise HomelabError.of(what, "no asset of this lab has this name", hint)
        url = f"{url}/assets/{what}"
    if as_json:
        output.write_json({"url": url})
        return
    output.say(url)
    webbrowser.open(url)


def _how_to_have(what: str) -> str:
    if what == "minio":
        return "`homelab up --objects minio` gives a new site MinIO instead of SeaweedFS."
    return f"`homelab up --profile full` starts {what} too."


def _asset_keys(site: Site) -> list[str]:
    from homelab_platform.plan.gather import desired_states

    states: dict[str, object] = dict(desired_states(common.resolved_lab(site.lab_path)))
    return sorted(states)

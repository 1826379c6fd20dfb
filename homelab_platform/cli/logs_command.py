"""`homelab logs`: what a server of the site, a run of the graph or a workload of the cluster said.

Belongs here: finding which of the three is meant, and its screen. Not here: how logs are kept (servers/supervise,
Dagster, Kubernetes).
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homelab_platform.cli import common, output
from homelab_platform.errors import HomelabError
from homelab_platform.plan.sites import SiteKind

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab, ResolvedWorkload
    from homelab_platform.servers.site.site import Site
    from homelab_platform.tools.dagster import LogLine

RUN_ID = re.compile(r"[0-9a-f]{6,8}(-[0-9a-f-]*)?\Z")
FOLLOW_EVERY = 0.5
NOISE = re.compile(r"\bDEBUG\b")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    what: Annotated[
        str | None,
        typer.Argument(help="A server (code, nifi), a run (the first 8 letters of its id), an asset, or a workload."),
    ] = None,
    lab: common.LabOption = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="The last lines.")] = 60,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what a server says from now.")] = False,
    as_json: common.JsonOption = False,
) -> None:
    """What a server, a run or a workload said; without a name, what there is and which runs failed last."""
    from homelab_platform.paths import site_path

    path = common.find_lab(lab)
    resolved = common.resolved_lab(path)
    folder = site_path(resolved.name) / "logs"
    if what is None:
        _list(resolved, folder, as_json)
        return
    file = folder / f"{what}.log"
    if "/" not in what and file.is_file():
        _server(what, file, lines, follow=follow, as_json=as_json)
    elif what in resolved.workloads or what.startswith("workload/"):
        _workload(resolved, what.removeprefix("workload/"), lines, as_json)
    elif "/" in what or RUN_ID.match(what):
        _run(resolved, what, lines, as_json)
    else:
        raise HomelabError.of(what, "no server, run, asset or workload has this name", _known(resolved, folder))


def _known(resolved: ResolvedLab, folder: Path) -> str:
    servers = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none"
    workloads = ", ".join(sorted(resolved.workloads)) or "none"
    return f"Servers: {servers}. Workloads: {workloads}. Runs: `homelab logs` lists the last."


def _list(resolved: ResolvedLab, folder: Path, as_json: bool) -> None:
    """The servers that have a log, and the runs that failed last."""
    servers = sorted(folder.glob("*.log"))
    failed = _failed_runs(resolved)
    if as_json:
        output.write_json({"servers": {file.stem: str(file) for file in servers}, "failed_runs": failed})
        return
    for file in servers:
        output.say(f"  {file.stem:<12} {output.size(file.stat().st_size):>10}  {file}")
    for run in failed:
        output.say(f"  {run['run']:<12} {run['job']:<10}  failed at {run['at']}: {run['why']}")
    if not servers and not failed:
        output.say("Nothing was logged yet; `homelab up` starts the site.")


def _failed_runs(resolved: ResolvedLab) -> list[dict[str, str]]:
    from datetime import UTC, datetime, timedelta

    from homelab_platform.servers.site.site import running
    from homelab_platform.tools.dagster import DagsterStorage

    site = running(resolved.name)
    if site is None:
        return []
    storage = DagsterStorage(site.dagster_postgres)
    runs = storage.runs(datetime.now(UTC) - timedelta(days=7))
    return [
        {
            "run": run.run_id[:8],
            "job": run.job,
            "at": f"{run.created:%Y-%m-%d %H:%M} UTC",
            "why": (storage.reason(run.run_id).splitlines() or ["no reason is recorded"])[0],
        }
        for run in [run for run in runs if run.status == "FAILURE"][:10]
    ]


def _server(name: str, file: Path, lines: int, *, follow: bool, as_json: bool) -> None:
    with file.open(encoding="utf-8", errors="replace") as stream:
        last = list(deque((line.rstrip("\n") for line in stream), maxlen=lines))
        if as_json:
            output.write_json({"server": name, "file": str(file), "lines": last})
            return
        for line in last:
            output.say(line)
        if follow:
            for line in _growing(file, stream.tell()):
                output.say(line)


def _growing(file: Path, position: int) -> Iterator[str]:
    """Lines as they are written, until Ctrl-C; begins anew with a file that was rotated."""
    while True:
        if file.exists() and file.stat().st_size < position:
            position = 0
        with file.open(encoding="utf-8", errors="replace") as stream:
            stream.seek(position)
            for line in stream:
                yield line.rstrip("\n")
            position = stream.tell()
        time.sleep(FOLLOW_EVERY)


def _run(resolved: ResolvedLab, what: str, lines: int, as_json: bool) -> None:
    """A run's events, or those of the run that last worked on an asset."""
    from homelab_platform.servers.site.site import open_site
    from homelab_platform.tools.dagster import DagsterStorage

    site = open_site(resolved.name)
    storage = DagsterStorage(site.dagster_postgres)
    wanted = _run_of_asset(site, what) if "/" in what else what
    found = storage.run_ids(wanted)
    if not found:
        raise HomelabError.of(what, "no run has this id", "`homelab logs` lists those that failed last.")
    if len(found) > 1:
        raise HomelabError.of(what, f"several runs begin so: {', '.join(found)}", "Give more of the id.")
    events = [line for line in storage.log(found[0]) if not NOISE.search(line.text)]
    if "/" in what:
        step = re.sub(r"\W", "_", what.replace("/", "__"))
        events = [line for line in events if line.step in ("", step)]
    page = f"{site.dagster_url}/runs/{found[0]}"
    if as_json:
        output.write_json({"run": found[0], "page": page, "events": [_event(line) for line in events[-lines:]]})
        return
    for line in events[-lines:]:
        output.say(f"{line.at:%H:%M:%S}  {line.step:<28}  {'✗ ' if line.failed else ''}{line.text}".rstrip())
    output.note(page)


def _event(line: LogLine) -> dict[str, Any]:
    return {"at": line.at, "step": line.step, "text": line.text, "failed": line.failed}


def _run_of_asset(site: Site, key: str) -> str:
    from homelab_platform.apply.state_store import StateStore

    known = StateStore(site.lakehouse.postgres).load().get(key)
    if known is None or not known.run_id:
        raise HomelabError.of(key, "no run is recorded that applied it", "`homelab plan` says what there is.")
    return known.run_id


def _workload(resolved: ResolvedLab, name: str, lines: int, as_json: bool) -> None:
    """What the pods of a workload say, and why they are not ready, from the cluster."""
    from homelab_platform.servers.site.site import open_site
    from homelab_platform.sites.lab import reach_of
    from homelab_platform.tools.kube.api import Cluster
    from homelab_platform.tools.kube.pods import logs_of, why_not_ready

    site = open_site(resolved.name)
    workload = _workload_of(resolved, site, name)
    cluster = Cluster(reach_of(resolved, site).kubeconfig())
    reasons = why_not_ready(cluster, workload.namespace, name)
    said = logs_of(cluster, workload.namespace, name, lines)
    if as_json:
        output.write_json({"workload": name, "not_ready": reasons, "pods": said})
        return
    for reason in reasons:
        output.say(f"not ready: {reason}")
    for pod, text in said.items():
        output.say(f"── {pod}")
        output.say(text.rstrip() or "(nothing)")
    if not said:
        output.say(f"{name} has no pods in {workload.namespace}.")


def _workload_of(resolved: ResolvedLab, site: Site, name: str) -> ResolvedWorkload:
    workload = resolved.workloads.get(name)
    if workload is None:
        raise HomelabError.of(name, "the lab has no such workload", f"It has: {', '.join(sorted(resolved.workloads))}.")
    if site.kind is not SiteKind.LAB:
        fault = f"a site of kind {site.kind} does not reach the cluster"
        raise HomelabError.of(name, fault, "`homelab up --profile lab` starts one that does; else: kubectl logs.")
    return workload

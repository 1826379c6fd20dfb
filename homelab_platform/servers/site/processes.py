"""The processes of an embedded site, as the supervisor is told them.

Belongs here: commands, environments, order. Not here: keeping them running (supervisor.py) or the graph itself.

Dagster runs as three processes: one code server that both others use (each would start its own otherwise), the
webserver and the daemon. The code server is Dagster's proxy kind: it can load a changed lab while runs go on.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from homelab_platform import paths
from homelab_platform.errors import HomelabError
from homelab_platform.names import LOOPBACK
from homelab_platform.plan.sites import PROFILE_VARIABLE, SiteKind
from homelab_platform.secrets.sops import KEY_VARIABLES
from homelab_platform.secrets.values import variables_of
from homelab_platform.servers import minio, postgres, seaweedfs
from homelab_platform.servers.site import engines
from homelab_platform.servers.site.files import Layout, SiteFile
from homelab_platform.servers.supervise.environment import OF_THE_GRAPH
from homelab_platform.servers.supervise.spec import Answer, Health, ProcessSpec, RunPlan

LOCATION = "homelab"
DEFINITIONS = "homelab_platform.definitions"
PAGE = "homelab_platform.graph.page"
COLLECTOR = "homelab_platform.agents.collector.main"
SERVERS = ("postgres", "objects")
READ_SECRETS = ("code", "daemon", "bridge")
"""The processes that turn references into values: they alone get the variables that the lab names, and keys of sops."""
HOST = LOOPBACK
PATIENT = {
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "1800",
    "DAGSTER_REPOSITORY_GRPC_TIMEOUT_SECONDS": "1800",
    "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS": "600",
    "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "600",
    "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "10",
}
"""Seconds that Dagster's processes wait for the code server. Its own 60 s make a run fail, whose worker then starts and
is ignored, on a machine at a load of 30; what really hangs is noticed by the supervisor's looks at each process."""
FRUGAL = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""Threads otherwise keep an arena of memory each, and Arrow's own allocator keeps what it once had; the system's gives
it back."""
DAGSTER_DATABASE, LAKE_DATABASE = "dagster", "lake"


def make_plan(layout: Layout, site: SiteFile, *, dagster: bool, collector: bool) -> RunPlan:
    """Everything that this site runs."""
    specs = [postgres.process(layout.postgres, site.ports["postgres"]), objects_process(layout, site)]
    if site.full:
        specs += engines.engine_processes(layout, site, graph_environment(layout, site))
    if dagster:
        specs += _dagster(layout, site)
    if site.profile is SiteKind.LAB:
        specs.append(engines.bridge_process(layout, graph_environment(layout, site)))
    elif collector and importlib.util.find_spec(COLLECTOR) is not None:
        specs.append(_collector(layout, site))
    names = (*OF_THE_GRAPH, *KEY_VARIABLES, *variables_of(Path(site.lab_path)))
    told = tuple(replace(spec, inherit=names) if spec.name in READ_SECRETS else spec for spec in specs)
    return RunPlan(layout.mark, str(layout.logs), str(layout.secrets_file), told)


def objects_process(layout: Layout, site: SiteFile) -> ProcessSpec:
    """The site's S3 server."""
    chosen = site.ports
    if site.objects == "minio":
        return minio.process(layout.minio, chosen["s3"], chosen.get("console"))
    weed = seaweedfs.SeaweedPorts(chosen["s3"], chosen["master"], chosen["volume"], chosen["filer"])
    return seaweedfs.process(layout.objects, weed, signing_key="objects_signing_key")


def graph_environment(layout: Layout, site: SiteFile) -> dict[str, str]:
    """What the processes of the graph are told; the password comes apart from it, as a secret."""
    return {
        "DAGSTER_HOME": str(layout.dagster_home),
        "HOMELAB_DATA": str(layout.root.parent),
        "HOMELAB_SITE": str(layout.root),
        "HOMELAB_LAB": site.lab_path,
        PROFILE_VARIABLE: site.profile,
        "HOMELAB_PG_HOST": HOST,
        "HOMELAB_PG_PORT": str(site.ports["postgres"]),
        "HOMELAB_PG_USER": postgres.SUPERUSER,
        "HOMELAB_PG_DATABASE": DAGSTER_DATABASE,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        **PATIENT,
        **FRUGAL,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _dagster(layout: Layout, site: SiteFile) -> list[ProcessSpec]:
    code, ui = site.ports["code"], site.ports["ui"]
    environment = graph_environment(layout, site)
    workspace = str(layout.dagster_home / "workspace.yaml")
    start = [sys.executable, "-m"]

    def spec(name: str, *command: str, port: int | None, after: tuple[str, ...], answer: Answer | None) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(*start, *command),
            folder=str(layout.dagster_home),
            environment=environment,
            secrets={"HOMELAB_PG_PASSWORD": "postgres_password"},
            port=port,
            after=after,
            gate=str(layout.prepared),
            health=Health((answer,) if answer else ()),
            start_timeout=300,
            stop_timeout=15,
        )

    served = ("--module-name", DEFINITIONS, "--location-name", LOCATION, "--host", HOST, "--port", str(code))
    page = ("--workspace", workspace, "--host", HOST, "--port", str(ui), "--uvicorn-log-level", "warning")
    return [
        spec(
            "code", "dagster", "code-server", "start", *served, port=code, after=("postgres",), answer=Answer(code, "")
        ),
        spec("ui", PAGE, *page, port=ui, after=("code",), answer=Answer(ui, "/server_info")),
        spec("daemon", "dagster._daemon", "run", "--workspace", workspace, port=None, after=("code",), answer=None),
    ]


def _collector(layout: Layout, site: SiteFile) -> ProcessSpec:
    return ProcessSpec(
        name="collector",
        command=(sys.executable, "-m", COLLECTOR, "--site", str(layout.root)),
        folder=str(layout.root),
        environment=graph_environment(layout, site),
        after=SERVERS,
        gate=str(layout.prepared),
        stop_timeout=15,
    )


def write_dagster_home(layout: Layout, site: SiteFile) -> None:
    """Put `dagster.yaml` (the project's own, which reads the environment) and `workspace.yaml` into DAGSTER_HOME."""
    source = paths.project_path("dagster.yaml")
    if not source.exists():
        raise HomelabError.of(
            str(source), "is missing", "Set HOMELAB_PROJECT to the project's folder, or run from a clone of it."
        )
    shutil.copyfile(source, layout.dagster_home / "dagster.yaml")
    server = f"host: {HOST}\n      port: {site.ports['code']}\n      location_name: {LOCATION}"
    text = f"# Written by `homelab up` at every start.\nload_from:\n  - grpc_server:\n      {server}\n"
    (layout.dagster_home / "workspace.yaml").write_text(text)

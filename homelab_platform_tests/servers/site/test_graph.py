"""The whole embedded site, Dagster included, as `homelab up` starts it."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from typing import Any

import psutil
import pytest

from homelab_platform import paths
from homelab_platform.apply.adapter import apply_one
from homelab_platform.plan.gather import desired_states
from homelab_platform.servers.site.files import Layout
from homelab_platform.servers.site.site import Site, down, open_site, reload_code, restart, status, up
from homelab_platform.servers.supervise import processes
from homelab_platform.servers.supervise.spec import load_state
from homelab_platform.sites.local import world_of
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.plan.labs import small_lab, stream

pytestmark = [pytest.mark.servers, pytest.mark.slow]

LAB = "pi-cluster"
PARTS = ["postgres", "objects", "code", "ui", "daemon", "collector"]
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def ask(url: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)["data"]


def members(layout: Layout) -> list[psutil.Process]:
    state = load_state(layout.run)
    assert state is not None
    tops = [psutil.Process(child.pid) for child in state.children.values()]
    return [process for top in tops for process in (top, *top.children(recursive=True))]


def a_dropped_file_is_watched_and_taken(site: Site) -> None:
    """A stream of files is applied only once somebody looks into its folder, and what is dropped there is taken."""
    lab = small_lab(streams={"station": stream("station", "files", source_settings={"path": "drop/station"})})
    flow = desired_states(lab)["flow/station"]
    world = world_of(lab, site)
    apply_one(world, flow)
    assert world.adapter("flow").probe(flow).matches(flow)
    dropped = site.root / "drop" / "station" / "roof.csv"
    dropped.write_text("ts,device,sensor,value\n2026-11-20T10:00:00Z,roof,temperature,21.5\n")
    assert processes.wait_until((dropped.parent / "done" / dropped.name).exists, 60)
    with ObjectStore(site.lakehouse.objects) as store:
        assert len(list(store.list(site.lakehouse.raw_bucket, "station/files/"))) == 1


@pytest.mark.timeout(400)
def test_the_whole_site_starts_answers_recovers_and_stops(layout: Layout) -> None:
    began = time.monotonic()
    state = up(paths.project_path("examples", LAB, "lab.yaml"), lab_name=LAB)
    took = time.monotonic() - began
    assert took < 120  # alone on two cores 20 s; other tests share the machine
    assert sorted(server.name for server in state.servers) == sorted(PARTS)
    assert state.running and state.dagster_url
    assert 0 < state.memory < 1536 << 20

    site = open_site(LAB)
    entries = ask(site.dagster_url, LOCATIONS)["workspaceOrError"]["locationEntries"]
    assert entries == [{"name": "homelab", "locationOrLoadError": {"__typename": "RepositoryLocation"}}]

    ours = {process.pid for process in members(layout)}
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.net_connections("inet")
        if connection.laddr and connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }
    assert listening == {"127.0.0.1"}
    password = site.lakehouse.postgres.password
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert password not in " ".join(word for command in commands for word in command)
    assert not any(password in file.read_text(errors="replace") for file in layout.logs.iterdir())

    a_dropped_file_is_watched_and_taken(site)

    reload_code(site)
    daemon = {server.name: server for server in state.servers}["daemon"].pid
    os.kill(daemon, signal.SIGKILL)
    restart(layout.root, "code")
    assert processes.wait_until(lambda: status(layout.root).running, 90)
    after = {server.name: server for server in status(layout.root).servers}
    assert after["daemon"].restarts == 1
    assert after["code"].restarts == 0

    pids = [process.pid for process in members(layout)]
    assert down(layout.root) is True
    assert [pid for pid in pids if processes.start_of(pid)] == []

"""The platform in pods of a real cluster: installed by our own adapters, spoken to as a browser does, weighed.

Belongs here: what the test and the benchmark of the platform on the cluster share. Not here: what they expect.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homelab_platform.apply import locks
from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.tools.endpoints import ObjectsEndpoint, PostgresEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform.wire.reading import Reading, object_key, pack
from homelab_platform_tests.layers.kubernetes.lab_scene import CLUSTER, LabScene
from homelab_platform_tests.sites.platform_image import NAME, platform_image
from homelab_platform_tests.testlab.cluster import TestCluster
from homelab_platform_tests.testlab.init import hierarchies
from homelab_platform_tests.testlab.lab_images import WORKLOADS

PLATFORM = "dagster"
PATIENCE = 120.0
"""Seconds within which the page answers, whatever just died."""
TAKEN_IN = 10.0
"""Seconds after which the sensor has surely come by."""
PARTS = ("web", "daemon", "code")
WORKLOAD_LINES = """workloads:
  postgresql: {{on: pi-1, namespace: {space}, size: 1Gi, memory: 256Mi}}
  seaweedfs: {{on: pi-1, namespace: {space}, size: 2Gi}}
  dagster:
    namespace: {space}
    expose: cluster
    image: {image}
    values: {{pullPolicy: Never, runs: {{kept: 20, lookEvery: 5}}}}
"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { runId status rootRunId tags { key value } } } }"
RUNS = "query { runsOrError(limit: 200) { ... on Runs { results { runId status jobName rootRunId } } } }"
EVENTS = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  __typename ... on MessageEvent { timestamp message } } } } }"""
LAUNCH = """mutation($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}, executionMetadata: {tags: $tags}}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on PipelineNotFoundError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
OVER = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass
class PlatformScene(LabScene):
    """A lab whose cluster carries PostgreSQL, an S3 server and the platform, all in the namespace `space`."""

    space: str = "platform"

    def install(self) -> dict[str, float]:
        """Bring namespaces, policies and the three workloads there; seconds that each took."""
        took = {}
        for key in (CLUSTER, "workload/postgresql", "workload/seaweedfs", f"workload/{PLATFORM}"):
            began = time.monotonic()
            self.apply(key)
            took[key] = time.monotonic() - began
        return took

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """What the page's GraphQL interface says; it is asked through a port of this machine, and again if that port
        leads to a pod that just went.
        """
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                said = self._asked(body)
            except (HomelabError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
                continue
            assert "errors" not in said, said["errors"]
            return said["data"]

    def _asked(self, body: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        with self.reached(PLATFORM, 3000) as port:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", data=body, headers=headers)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=30) as answer:
                said: dict[str, Any] = json.load(answer)
        return said

    def launch(self, job: str, *assets: str, tags: Mapping[str, str] | None = None) -> str:
        """Start a run as the page's button does; its id."""
        selector: dict[str, Any] = {
            "repositoryLocationName": "homelab",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": key.split("/")} for key in assets]
            selector["assetCheckSelection"] = []
        listed = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        done = self.ask(LAUNCH, {"selector": selector, "tags": listed})["launchRun"]
        assert done["__typename"] == "LaunchRunSuccess", done
        return str(done["run"]["runId"])

    def run(self, run: str) -> dict[str, Any]:
        """A run: status, tags, the run that it began with."""
        found: dict[str, Any] = self.ask(RUN, {"id": run})["runOrError"]
        return found | {"tags": {tag["key"]: tag["value"] for tag in found["tags"]}}

    def runs(self) -> list[dict[str, Any]]:
        """The newest runs."""
        found: list[dict[str, Any]] = self.ask(RUNS)["runsOrError"]["results"]
        return found

    def events(self, run: str) -> list[tuple[str, float, str]]:
        """What happened in a run: kind, moment in seconds, words."""
        found = self.ask(EVENTS, {"id": run})["logsForRun"]["events"]
        return [(event["__typename"], float(event["timestamp"]) / 1000, event["message"]) for event in found]

    def until_over(self, run: str, patience: float = 120) -> str:
        """Wait until a run has ended; how."""
        self.cluster.wait_for(f"run {run[:8]} ends", lambda: self.run(run)["status"] in OVER, patience)
        return str(self.run(run)["status"])

    def until_said(self, run: str, words: str, patience: float = 120) -> None:
        """Wait until a run has said this."""
        self.cluster.wait_for(
            f"run {run[:8]} says {words!r}",
            lambda: any(words in text for _, _, text in self.events(run)),
            patience,
        )

    def to_first_step(self, run: str) -> float:
        """Seconds from the launch of a run to the start of its first step."""
        events = self.events(run)
        began = min(moment for kind, moment, _ in events if kind == "RunEnqueuedEvent")
        return min(moment for kind, moment, _ in events if kind == "ExecutionStepStartEvent") - began

    def until_at_rest(self, patience: float = 240) -> None:
        """Wait until what the lab asks for is there, and no run is under way."""

        def rests() -> bool:
            runs = self.runs()
            done = any(run["jobName"] == "apply" and run["status"] == "SUCCESS" for run in runs)
            return done and all(run["status"] in OVER for run in runs)

        self.cluster.wait_for("the platform rests", rests, patience)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The Jobs of runs by the id of their run."""
        found = self.cluster.get("jobs", "-n", self.space)["items"]
        return {job["metadata"]["labels"]["dagster/run-id"]: job for job in found}

    def pod_of(self, run: str) -> dict[str, Any]:
        """The pod of a run. Raises AssertionError unless there is exactly one."""
        pods = self.cluster.get("pods", "-n", self.space, "-l", f"dagster/run-id={run}")["items"]
        assert len(pods) == 1, [pod["metadata"]["name"] for pod in pods]
        return dict(pods[0])

    def pod(self, part: str) -> dict[str, Any]:
        """The pod of a part of the platform that is not about to go."""
        chosen = f"app.kubernetes.io/instance={PLATFORM},app.kubernetes.io/component={part}"
        pods = self.cluster.get("pods", "-n", self.space, "-l", chosen)["items"]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        assert len(alive) == 1, [pod["metadata"]["name"] for pod in pods]
        return dict(alive[0])

    def may(self, part: str, *words: str, space: str | None = None) -> bool:
        """Whether the service account of a part may do this: `create jobs.batch`, `list secrets`."""
        account = f"--as=system:serviceaccount:{self.space}:{PLATFORM}-{part}"
        done = self.cluster.kubectl("auth", "can-i", *words, account, "-n", space or self.space, check=False)
        return done.stdout.strip() == "yes"

    @contextmanager
    def locked(self, *keys: str) -> Iterator[None]:
        """Within: whoever would change one of these assets waits."""
        password = self.secret("postgresql-admin", self.space)["password"]
        with ExitStack() as stack:
            port = stack.enter_context(self.reached("postgresql", 5432))
            endpoint = PostgresEndpoint("127.0.0.1", port, "postgres", "lake", password)
            for key in keys:
                stack.enter_context(locks.held(endpoint, key, "a test"))
            yield

    def put_readings(self, objects: int) -> None:
        """Put so many objects with readings into the raw bucket, one after the other has been taken in."""
        now, secret = datetime.now(UTC), self.secret("seaweedfs-s3", self.space)
        with self.reached("seaweedfs", 8333) as port:
            place = ObjectsEndpoint(f"http://127.0.0.1:{port}", secret["access-key"], secret["secret-key"])
            with ObjectStore(place) as store:
                for number in range(objects):
                    readings = (Reading(now.replace(microsecond=n), "pi-1", "cpu", 20.0 + n) for n in range(60))
                    key = object_key("machines", now.date(), "pi-1", f"object-{number}")
                    store.put("readings-raw", key, pack(b"".join(reading.line() for reading in readings)))
                    time.sleep(TAKEN_IN)

    def memory(self) -> dict[str, tuple[int, int]]:
        """By part: resident bytes of its processes (shared pages count in each), and their proportional share."""
        return {part: _weigh(str(self.pod(part)["metadata"]["uid"])) for part in PARTS}


def _weigh(uid: str) -> tuple[int, int]:
    pids = {
        int(word)
        for hierarchy in hierarchies()
        for file in hierarchy.glob(f"homelab-*/**/pod{uid}/**/cgroup.procs")
        for word in file.read_text().split()
    }
    rss = pss = 0
    for pid in pids - {0}:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        rss, pss = rss + kib["Rss"] * 1024, pss + kib["Pss"] * 1024
    return rss, pss


def bring_images(cluster: TestCluster) -> None:
    """Make the images of the platform and its servers, and bring them to every node."""
    servers = [WORKLOADS[name](silent) for name in ("postgresql", "seaweedfs")]
    cluster.bring(*servers, platform_image())


def platform_scene(cluster: TestCluster, folder: Path, space: str) -> PlatformScene:
    """The test lab's example with nothing but PostgreSQL, an S3 server and the platform, in the folder `folder`."""
    file = cluster.lab.write_lab(folder)
    text = file.read_text()
    start, end = text.index("workloads:\n"), text.index("streams:\n")
    wanted = WORKLOAD_LINES.format(space=space, image=NAME)
    file.write_text(f"{text[:start]}{wanted}\n{text[end:]}")
    return PlatformScene(cluster, folder, space=space)

"""Whether a workload answers, seen from outside its pods.

Belongs here: one try of one health check of the catalogue, through a port that the API server forwards, so that it
works from any machine that holds a kubeconfig. Not here: how often it is tried.
"""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.kube.api import Cluster

if TYPE_CHECKING:
    from homelab_platform.catalog.parts import Health

FORWARD_TIMEOUT = 10.0
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_MINIMUM = {"Deployment": "availableReplicas", "StatefulSet": "readyReplicas", "DaemonSet": "numberAvailable"}
CONTROLLERS = frozenset(_MINIMUM)
"""Kinds whose pods can be counted."""
_WANTED = {"DaemonSet": "desiredNumberScheduled"}


@dataclass(frozen=True)
class Verdict:
    """Whether it answered, what was seen, and how long the answer took in seconds."""

    ok: bool
    said: str
    seconds: float


@dataclass(frozen=True)
class Target:
    """A workload on a cluster: `ports` that take connections (TCP), by name as its Service has them."""

    name: str
    namespace: str
    ports: Mapping[str, int]
    health: Health | None
    secrets: tuple[str, ...] = ()
    """Names of the Secrets that were made for it."""
    services: Mapping[str, str] = field(default_factory=dict)
    """The Service of each port that is not behind one called like the workload."""
    controllers: tuple[tuple[str, str], ...] = ()
    """Kind and name of what its release runs pods with; empty where nothing is known of it."""
    idle: bool = False
    """Whether it is meant to have no pods, so that nothing can answer."""

    def service(self, port: str) -> str:
        """What kubectl calls the Service behind which a port lies."""
        return f"service/{self.services.get(port, self.name)}"


def ask(cluster: Cluster, kubectl: Path, target: Target) -> Verdict:
    """Try the workload's health check once. Raises ClusterUnreachable when the API server itself does not answer.

    A workload without a check of its own must have as many pods ready as it wants, and take connections on its first
    port, if it has one.
    """
    began = time.monotonic()
    health = target.health
    if target.idle:
        ok, said = _ready(cluster, target)
    elif health is not None and health.http is not None:
        ok, said = _http(cluster, kubectl, target, path=health.http, port=health.port or "http", statuses=health.status)
    elif health is not None and health.tcp is not None:
        ok, said = _tcp(cluster, kubectl, target, health.tcp)
    elif health is not None and health.sql is not None:
        ok, said = _sql(cluster, kubectl, target, health.sql)
    elif health is not None and health.object is not None:
        ok, said = _object(cluster, target, health.object, health.condition)
    else:
        ok, said = _ready(cluster, target)
        if ok and target.ports and health is None:
            ok, more = _tcp(cluster, kubectl, target, next(iter(target.ports)))
            said = f"{said}, {more}"
    return Verdict(ok, said, time.monotonic() - began)


def _http(
    cluster: Cluster, kubectl: Path, target: Target, *, path: str, port: str, statuses: tuple[int, ...]
) -> tuple[bool, str]:
    number = target.ports.get(port)
    if number is None:
        return False, f"its Service has no port {port}"
    wanted = " or ".join(map(str, statuses))
    try:
        status = get(cluster, kubectl, target.namespace, target.service(port), port=number, path=path)[0]
    except HomelabError as error:
        return False, error.problems[0].what
    if status in statuses:
        return True, f"GET {path} on :{number} answered {status}"
    return False, f"GET {path} on :{number} answered {status or 'nothing'}, not {wanted}"


def get(cluster: Cluster, kubectl: Path, namespace: str, what: str, *, port: int, path: str) -> tuple[int, bytes]:
    """GET a path of a service or pod: status and body; status 0 when the connection gave no answer.

    By a forwarded port, which ends inside the pod: a network policy that lets only its callers in does not matter, as
    it would on the API server's own proxy. Raises HomelabError when no pod can be reached.
    """
    import http.client

    with forwarded(cluster, kubectl, namespace, what, port) as local:
        connection = http.client.HTTPConnection("127.0.0.1", local, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def _tcp(cluster: Cluster, kubectl: Path, target: Target, port: str) -> tuple[bool, str]:
    number = target.ports.get(port)
    if number is None:
        return False, f"its Service has no port {port}"
    try:
        with (
            forwarded(cluster, kubectl, target.namespace, target.service(port), number) as local,
            socket.create_connection(("127.0.0.1", local), timeout=5) as connection,
        ):
            connection.settimeout(0.5)
            try:
                # the forwarding itself always accepts; a port where nothing listens is closed at once
                alive = connection.recv(1) != b""
            except TimeoutError:
                alive = True
    except HomelabError as error:
        return False, error.problems[0].what
    except OSError as error:
        return False, f":{number} does not answer ({error.strerror or error})"
    return alive, f":{number} {'accepts connections' if alive else 'closes every connection'}"


SUPERUSER = "postgres"


def _sql(cluster: Cluster, kubectl: Path, target: Target, statement: str) -> tuple[bool, str]:
    """Run a statement as the superuser whose password is in one of the workload's own Secrets; without such a Secret
    all that can be asked is whether a PostgreSQL takes connections."""
    from homelab_platform.tools import postgres
    from homelab_platform.tools.endpoints import PostgresEndpoint

    port = next(iter(target.ports), "")
    password = _password(cluster, target)
    if password is None:
        return _tcp(cluster, kubectl, target, port)
    try:
        with forwarded(cluster, kubectl, target.namespace, target.service(port), target.ports[port]) as local:
            endpoint = PostgresEndpoint("127.0.0.1", local, user=SUPERUSER, database=SUPERUSER, password=password)
            with postgres.connect(endpoint, timeout=5, autocommit=True) as connection:
                connection.execute(statement.encode())
    except HomelabError as error:
        return False, error.problems[0].what
    return True, f"{statement} on :{target.ports[port]} answered"


def _password(cluster: Cluster, target: Target) -> str | None:
    for name in target.secrets:
        metadata = {"name": name, "namespace": target.namespace}
        found = cluster.get({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        value = ((found or {}).get("data") or {}).get("password")
        if value:
            return base64.b64decode(value).decode()
    return None


def _object(cluster: Cluster, target: Target, named: str, condition: str | None) -> tuple[bool, str]:
    """Whether a controller has its pods, or a custom resource its condition. `named` is `Kind/name`, or
    `Kind.group/version/name` of a custom resource."""
    kind, _, name = named.replace("{name}", target.name).rpartition("/")
    plain = next((known for known in _MINIMUM if known.lower() == kind.lower()), None)
    if plain is not None:
        return _controller(cluster, target.namespace, plain, name) or (False, f"{plain} {name} is not there")
    kind, _, group = kind.partition(".")
    manifest = {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": target.namespace}}
    wanted = condition or "Ready"
    try:
        live = cluster.get(manifest)
    except HomelabError as error:
        return False, error.problems[0].what
    found = next((c for c in ((live or {}).get("status") or {}).get("conditions") or () if c["type"] == wanted), None)
    if found is None:
        return False, f"{kind} {name} {'is not there' if live is None else f'says nothing of {wanted} yet'}"
    said = f": {found['message']}" if found.get("message") and found["status"] != "True" else ""
    return found["status"] == "True", f"{kind} {name} is {'' if found['status'] == 'True' else 'not '}{wanted}{said}"


def _ready(cluster: Cluster, target: Target) -> tuple[bool, str]:
    """Whether everything that its release runs pods with has as many as it wants."""
    asked = target.controllers or tuple((kind, target.name) for kind in _MINIMUM)
    found = [verdict for kind, name in asked if (verdict := _controller(cluster, target.namespace, kind, name))]
    if not found:
        return False, "it has no pods"
    return next((verdict for verdict in found if not verdict[0]), found[0])


def _controller(cluster: Cluster, namespace: str, kind: str, name: str) -> tuple[bool, str] | None:
    """None for one that is not there."""
    manifest = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    live = cluster.get(manifest)
    if live is None:
        return None
    ready, wanted = pod_counts(kind, live)
    return ready >= wanted, f"{ready} of {wanted} pods ready"


def pod_counts(kind: str, live: Mapping[str, Any]) -> tuple[int, int]:
    """How many pods of a controller are ready, and how many it wants; `kind` is one of CONTROLLERS."""
    status = live.get("status") or {}
    wanted = status.get(_WANTED[kind], 0) if kind in _WANTED else (live.get("spec") or {}).get("replicas", 1)
    return int(status.get(_MINIMUM[kind]) or 0), int(wanted)


@contextmanager
def forwarded(cluster: Cluster, kubectl: Path, namespace: str, what: str, port: int) -> Iterator[int]:
    """A port of this machine's loopback that leads to a pod's or a service's port, as long as the block runs.

    Raises HomelabError when it cannot be had: no pod is ready, or nothing is called `what`.
    """
    command = [
        str(kubectl), "--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace,
        "port-forward", "--address", "127.0.0.1", what, f":{port}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    try:
        yield _local_port(process, what)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _local_port(process: subprocess.Popen[str], what: str) -> int:
    import selectors

    stream = process.stdout
    if stream is None:
        raise RuntimeError("kubectl was started without a pipe")
    said = ""
    deadline = time.monotonic() + FORWARD_TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not selector.select(timeout=deadline - time.monotonic()):
                break
            line = stream.readline()
            if not line:
                break
            found = _FORWARDED.search(line)
            if found:
                return int(found[1])
            said = line.strip()
    raise HomelabError.of(what, f"cannot be reached: {said.removeprefix('error: ') or 'no pod answers'}")

"""What the tests of flows through NiFi share: a lab with one stream, senders, and a bucket that can be taken away."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homelab_platform.lab.resolved import ResolvedBucket, ResolvedGrant, ResolvedLab
from homelab_platform.layers.flows.nifi import NifiFlowAdapter
from homelab_platform.names import silent
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.gather import desired_states
from homelab_platform.servers.supervise import ports
from homelab_platform.tools.endpoints import Engines, Lakehouse, NifiEndpoint
from homelab_platform.tools.objects.client import ObjectStore
from homelab_platform_tests.plan.labs import small_lab, stream

TS = "2026-09-20T10:00:{:02}Z"


def reading(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A good reading."""
    return {"ts": TS.format(number % 60), "device": f"d{number // 60}", "sensor": "t", "value": number + 0.5} | fields


@dataclass(frozen=True)
class Answer:
    """What a sender got: status, body as JSON where it is some, headers in lower case."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def post(url: str, body: Any, timeout: float = 40, **headers: str) -> Answer:
    """POST as a sender does; bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            status, text, found = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, text, found = error.code, error.read(), error.headers
        error.close()
    with suppress(ValueError):
        return Answer(status, dict(json.loads(text)), {k.lower(): v for k, v in found.items()})
    return Answer(status, {"text": text.decode("utf-8", "replace")}, {k.lower(): v for k, v in found.items()})


@dataclass
class NifiLab:
    """A lab with one stream through NiFi, and its adapter."""

    adapter: NifiFlowAdapter
    lakehouse: Lakehouse
    desired: DesiredState
    lab: ResolvedLab
    root: Path
    endpoint: NifiEndpoint

    @property
    def stream(self) -> str:
        """The stream's name."""
        return str(self.desired.document["name"])

    @property
    def url(self) -> str:
        """Where its readings are posted to."""
        return str(json.loads((self.root / "entrances.json").read_text())[self.stream]["url"])

    def apply(self, say: Callable[[str], None] = silent) -> None:
        """Bring the flow to its desired state, as the graph does, and see that it is there."""
        self.adapter.change(self.desired, self.adapter.probe(self.desired), say)
        found = self.adapter.probe(self.desired)
        assert found.matches(self.desired), found

    def with_settings(self, **settings: Any) -> NifiLab:
        """The same lab after somebody changed the stream's source settings."""
        old = self.lab.streams[self.stream]
        changed = old.model_copy(update={"source_settings": {**old.source_settings, **settings}})
        lab = self.lab.model_copy(update={"streams": {self.stream: changed}})
        adapter = NifiFlowAdapter(lab, self.lakehouse, Engines(nifi=self.endpoint), self.root)
        return replace(self, lab=lab, adapter=adapter, desired=desired_states(lab)[self.desired.key])

    def objects(self) -> dict[str, bytes]:
        """The stream's raw objects, as they lie in the bucket."""
        with ObjectStore(self.lakehouse.objects) as store:
            keys = [found.key for found in store.list(self.lakehouse.raw_bucket, f"{self.stream}/")]
            return {key: store.get(self.lakehouse.raw_bucket, key) for key in keys}


@contextmanager
def nifi_lab(
    lakehouse: Lakehouse, nifi: NifiEndpoint, root: Path, *, source: str = "http", grants: bool = False, **settings: Any
) -> Iterator[NifiLab]:
    """A lab with a stream of its own in this NiFi; the flow is gone afterwards."""
    name = f"s{secrets.token_hex(4)}"
    buckets = {"readings-raw": ResolvedBucket(name="readings-raw", owner="platform")}
    if grants:
        grant = ResolvedGrant(right="put", under=(f"{name}/",))
        buckets["readings-raw"] = buckets["readings-raw"].model_copy(update={"access": {"nifi": grant}})
    wanted = stream(name, source, source_settings={"path": "/readings", "site": "home", "via": "nifi", **settings},
                    prefix=f"{name}/")  # fmt: skip
    lab = small_lab(streams={name: wanted}, buckets=buckets)
    adapter = NifiFlowAdapter(lab, lakehouse, Engines(nifi=nifi), root)
    made = NifiLab(adapter, lakehouse, desired_states(lab)[f"flow/{name}"], lab, root, nifi)
    try:
        yield made
    finally:
        _force_away(nifi, name)


def _force_away(nifi: NifiEndpoint, stream: str) -> None:
    """Delete a flow whatever it holds."""
    from homelab_platform.tools.nifi import changes, states
    from homelab_platform.tools.nifi import flows as probes
    from homelab_platform.tools.nifi.client import NifiClient

    with NifiClient(nifi) as client:
        entity = probes.find(client, stream)
        if entity is not None:
            states.stop(client, f"flow/{stream}", entity["id"])
            client.finish(
                f"/process-groups/{entity['id']}/empty-all-connections-requests",
                {
                    "request": _request(
                        client.call("POST", f"/process-groups/{entity['id']}/empty-all-connections-requests")
                    )
                },
                stream,
            )
        changes.remove_flow(client, stream, silent, timeout=10)


def _request(answer: dict[str, Any]) -> dict[str, Any]:
    found = dict(answer["dropRequest"])
    return {**found, "requestId": found["id"], "complete": True}


class Gate:
    """A TCP way to a server that can be shut: whoever connects then is refused, and what was connected is cut off."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = ports.choose(1)[0]
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Let connections pass."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections and cut those that there are."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=10)
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def wait_for(check: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)

"""Flows that come through NiFi: each stream's flow definition uploaded, kept as it is in git, drained before it goes.

Belongs here: the flow of one stream as an asset. Not here: NiFi's interface (tools/nifi*.py), what a flow is told
(parameters.py), where senders reach it (entrances.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from homelab_platform.apply.adapter import Exhibit, Observation
from homelab_platform.errors import HomelabError
from homelab_platform.lab.resolved import ResolvedLab, ResolvedStream
from homelab_platform.layers.flows.entrances import Entrance, Entrances
from homelab_platform.layers.flows.parameters import LOOPBACK, definition_of, has_entrance, parameters, path_of
from homelab_platform.layers.flows.values import Given, Values
from homelab_platform.names import RAW_BUCKET, Say
from homelab_platform.plan.desired import DesiredState
from homelab_platform.plan.layers import name_of
from homelab_platform.plan.specs import read
from homelab_platform.secrets.values import lab_folder, reveal
from homelab_platform.tools.endpoints import Engines, Lakehouse, NifiEndpoint, ObjectsEndpoint
from homelab_platform.wire.json_types import Document, Json

if TYPE_CHECKING:
    from homelab_platform.tools.nifi.flows import FlowHealth, FlowSpec, Group

ROLE = "nifi"
VERSIONS = "flows/versions"
LISTEN_TIMEOUT = 20.0


class NifiFlowAdapter:
    """Flows by stream. `root` is the site's folder: it holds entrances, keys and older versions of flows."""

    def __init__(self, lab: ResolvedLab, lakehouse: Lakehouse, engines: Engines, root: Path) -> None:
        self._lab = lab
        self._lakehouse = lakehouse
        self._endpoint = engines.nifi
        self._root = root
        self._entrances = Entrances(root)

    @property
    def _nifi(self) -> NifiEndpoint:
        if self._endpoint is None:
            raise HomelabError.of("NiFi", "this site has none", "Start it with `homelab up --profile full`.")
        return self._endpoint

    def probe(self, desired: DesiredState) -> Observation:
        """The running flow against its definition, parameters and states."""
        from homelab_platform.tools.nifi import flows
        from homelab_platform.tools.nifi.client import NifiClient

        stream = name_of(desired.key)
        with NifiClient(self._nifi) as client:
            entity = flows.find(client, stream)
            if entity is None:
                return Observation(exists=False)
            group = flows.read_group(client, entity)
            health = flows.group_health(client, stream, group.id)
        facts: dict[str, Json] = {"waiting": health.waiting, "received in 5 min": health.received}
        entrance = self._entrances.get(stream)
        if entrance is not None:
            facts["readings are posted to"] = entrance.url
        if group.mark.previous:
            facts["version before"] = str(self._root / VERSIONS / group.mark.previous)
        lines = self._differences(desired, group, entrance)
        return Observation(True, group.mark.fingerprint, lines, facts)

    def _differences(self, desired: DesiredState, group: Group, entrance: Entrance | None) -> tuple[str, ...]:
        from homelab_platform.tools.nifi import flows

        stream = read(ResolvedStream, desired.document)
        if has_entrance(stream.source) and entrance is None:
            return ("nobody remembers where its senders reach it",)
        spec = self._spec(desired, self._given(stream, entrance))
        return tuple(one.line for one in flows.differences(spec, spec.definition(), group))

    def change(self, desired: DesiredState, observed: Observation, say: Say) -> None:
        """Make or renew the flow in place; queues stay. Old versions are kept in the site's folder."""
        from homelab_platform.layers.flows.sources import prepare
        from homelab_platform.tools.nifi import changes
        from homelab_platform.tools.nifi.client import NifiClient

        stream = read(ResolvedStream, desired.document)
        entrance = self._entrance(stream, observed) if has_entrance(stream.source) else None
        given = self._given(stream, entrance, make_key=True)
        spec = self._spec(desired, given)
        spec.definition()  # whatever is wrong with it shows before anything is touched
        prepare(given)
        if entrance is not None:
            self._entrances.put(spec.stream, entrance)
        with NifiClient(self._nifi) as client:
            changes.apply_flow(client, spec, say, versions=self._root / VERSIONS)
        if entrance is not None:
            self._wait_listening(spec.stream, entrance)
            say(f"readings are posted to {entrance.url}")

    def remove(self, key: str, document: Document, say: Say) -> None:
        """Stop what comes in, drain the queues, delete. Raises HomelabError with what is left if they do not drain."""
        from homelab_platform.tools.nifi import changes
        from homelab_platform.tools.nifi.client import NifiClient

        stream = name_of(key)
        with NifiClient(self._nifi) as client:
            changes.remove_flow(client, stream, say)
        self._entrances.forget(stream)

    def work(self, desired: DesiredState, request: Mapping[str, str], say: Say) -> Iterable[Exhibit]:
        """Throughput, queues, bulletins, and how to send a reading."""
        from homelab_platform.tools.nifi import flows

        stream = name_of(desired.key)
        health = flows.flow_health(self._nifi, stream)
        entrance = self._entrances.get(stream)
        if entrance is not None:
            yield Exhibit("readings are posted to", "url", entrance.url)
            yield Exhibit("try it", "markdown", f"```sh\n{entrance.curl()}\n```")
        yield from exhibits(health)
        yield Exhibit("canvas", "url", f"{self._nifi.url}/nifi/")

    def _entrance(self, stream: ResolvedStream, observed: Observation) -> Entrance:
        """The entrance that the flow shall have: the one it had, on another port only if somebody else took it."""
        from homelab_platform.servers.supervise import ports

        known = self._entrances.get(stream.name)
        host = urlsplit(self._nifi.url).hostname or LOOPBACK[0]
        if known is not None and (observed.exists or ports.is_free(known.port)):
            port = known.port
        else:
            port = ports.choose(1, avoid=self._entrances.ports())[0]
        return Entrance(f"http://{host}:{port}{path_of(stream)}", self._token(stream, known))

    def _token(self, stream: ResolvedStream, known: Entrance | None) -> str:
        """What senders present: what the lab file says, and for the bridge from MQTT something only it knows."""
        if stream.source == "mqtt":
            return known.token if known and known.token else secrets.token_urlsafe(24)
        reference = stream.source_settings.get("token")
        return reveal(str(reference), lab_folder(self._root)) if reference else ""

    def _given(self, stream: ResolvedStream, entrance: Entrance | None, *, make_key: bool = False) -> Given:
        name = self._lakehouse.raw_bucket if stream.bucket == RAW_BUCKET else stream.bucket
        if entrance is not None and stream.source == "http":
            entrance = Entrance(entrance.url, self._token(stream, entrance))
        objects = self._objects(stream.bucket, name, make_key)
        return Given(stream.name, stream, objects, name, self._nifi, self._root, entrance)

    def _objects(self, bucket: str, name: str, make: bool) -> ObjectsEndpoint:
        """The S3 server with NiFi's own key, which may do no more than write where the lab lets it; else the site's."""
        from homelab_platform.tools.objects.access import KeyFile, endpoint_for, user_of
        from homelab_platform.tools.objects.grants import open_bucket_access

        declared = self._lab.buckets.get(bucket)
        if declared is None or ROLE not in declared.access:
            return self._lakehouse.objects
        keys = KeyFile(self._root)
        access, _ = open_bucket_access(self._lakehouse, keys)
        if access is None:
            return self._lakehouse.objects
        if make:
            access.put_right(name, declared.access)
        return endpoint_for(self._lakehouse.objects, keys, user_of(self._lakehouse.raw_bucket, ROLE))

    def _spec(self, desired: DesiredState, given: Given) -> FlowSpec:
        from homelab_platform.tools.nifi.flows import FlowSpec

        values: Values = parameters(given)
        source = definition_of(given.declared.source)
        return FlowSpec(given.stream, source, values.plain, values.secret, desired.fingerprint)

    def _wait_listening(self, stream: str, entrance: Entrance) -> None:
        """NiFi calls a processor running that could not open its port: see for ourselves."""
        from homelab_platform.servers.supervise import ports
        from homelab_platform.tools.nifi import flows

        if urlsplit(entrance.url).hostname not in LOOPBACK:
            return
        deadline = time.monotonic() + LISTEN_TIMEOUT
        while ports.is_free(entrance.port):
            if time.monotonic() > deadline:
                health = flows.flow_health(self._nifi, stream)
                said = f": {health.bulletins[0].message[:300]}" if health.bulletins else ""
                raise HomelabError.of(f"flow/{stream}", f"nothing listens on port {entrance.port}{said}")
            time.sleep(0.1)


def exhibits(health: FlowHealth) -> Iterable[Exhibit]:
    """What there is to see of a flow's health."""
    yield Exhibit("requests in 5 min", "number", health.received)
    yield Exhibit("bytes in 5 min", "number", health.received_bytes)
    yield Exhibit("waiting", "number", health.waiting)
    yield Exhibit("oldest waits for seconds", "number", round(health.oldest, 1))
    yield Exhibit(
        "queues",
        "table",
        [{"queue": q.name, "waiting": q.waiting, "bytes": q.bytes, "full %": q.full} for q in health.queues],
    )
    if health.bulletins:
        yield Exhibit(
            "bulletins",
            "table",
            [{"at": b.at, "level": b.level, "who": b.source, "what": b.message[:500]} for b in health.bulletins[:20]],
        )
    if health.stopped:
        yield Exhibit("stopped", "text", ", ".join(health.stopped))

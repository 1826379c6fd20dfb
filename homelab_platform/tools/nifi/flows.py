"""NiFi's flows as they are: probes over its REST interface.

Belongs here: finding the flow of a stream, comparing it with its definition, its queues, bulletins and throughput.
Nothing here changes anything but the lists that NiFi makes to be read. Not here: changes (changes.py), the calls
themselves (client.py), definitions (definition.py).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.endpoints import NifiEndpoint
from homelab_platform.tools.nifi import definition as nifi_definition
from homelab_platform.tools.nifi.client import Json, NifiClient
from homelab_platform.tools.nifi.definition import Difference

MARK_LINE = "Kept by homelab: what is changed here by hand is put back."
ANSWERING = "org.apache.nifi.processors.standard.HandleHttpResponse"
_SCRYPT = {"n": 4096, "r": 8, "p": 1, "dklen": 16}


@dataclass(frozen=True)
class FlowSpec:
    """What should run for a stream: the definition's name, its parameters, and the fingerprint to leave there.

    `secrets` are the values of parameters that the definition declares sensitive.
    """

    stream: str
    source: str
    parameters: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    fingerprint: str = ""

    @property
    def asset(self) -> str:
        """The asset's key."""
        return f"flow/{self.stream}"

    @property
    def context(self) -> str:
        """The name of its parameter context."""
        return f"homelab {self.stream}"

    def definition(self) -> Json:
        """Its flow definition. Raises HomelabError when a parameter is not declared, or a declared one has no value."""
        found = nifi_definition.load(self.source)
        names = nifi_definition.declared(found)
        given = {*self.parameters, *self.secrets}
        if given != set(names):
            missing, extra = sorted(set(names) - given), sorted(given - set(names))
            what = "; ".join(
                text
                for text in (
                    f"no value for {', '.join(missing)}" if missing else "",
                    f"it knows no {', '.join(extra)}" if extra else "",
                )
                if text
            )
            raise HomelabError.of(self.asset, f"the flow definition {self.source}.json: {what}")
        loose = [name for name in self.secrets if not names[name]["sensitive"]]
        if loose:
            raise HomelabError.of(self.asset, f"{self.source}.json does not declare {', '.join(loose)} sensitive")
        return found


@dataclass(frozen=True)
class Mark:
    """What we leave in a group's comments: whose it is, its fingerprint, how its secrets can be known again.

    `previous` names the version before, as it lies in the site's folder.
    """

    asset: str
    fingerprint: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    previous: str = ""

    def text(self) -> str:
        """The comments."""
        content = {"asset": self.asset, "fingerprint": self.fingerprint, "secrets": dict(self.secrets)}
        return f"{MARK_LINE}\n{json.dumps({**content, 'previous': self.previous}, sort_keys=True)}"

    @classmethod
    def read(cls, comments: str) -> Mark | None:
        """The mark in a group's comments; None when they hold none."""
        for line in comments.splitlines():
            if line.startswith("{"):
                try:
                    raw = json.loads(line)
                    return cls(raw["asset"], raw["fingerprint"], raw["secrets"], raw.get("previous", ""))
                except (ValueError, KeyError, TypeError):
                    continue
        return None


def secret_mark(value: str, salt: str = "") -> str:
    """What a secret is known again by: a salted scrypt hash, which does not give a weak secret away cheaply."""
    chosen = salt or secrets.token_hex(8)
    digest = hashlib.scrypt(value.encode(), salt=chosen.encode(), **_SCRYPT).hex()
    return f"{chosen}:{digest}"


def same_secret(mark: str, value: str) -> bool:
    """Whether this mark is one of this secret."""
    salt = mark.partition(":")[0]
    return bool(salt) and hmac.compare_digest(mark, secret_mark(value, salt))


@dataclass(frozen=True)
class Group:
    """A process group that holds a flow, with everything that a comparison needs."""

    id: str
    entity: Json
    mark: Mark
    snapshot: Json
    processors: tuple[Json, ...]
    services: tuple[Json, ...]
    context: Json | None

    @property
    def contents(self) -> Json:
        """Its components, as a definition has them."""
        return dict(self.snapshot["flowContents"])

    def defaults(self) -> dict[str, dict[str, str | None]]:
        """The default of each property, by component and property; see nifi_definition.compare."""
        found: dict[str, dict[str, str | None]] = {}
        for kind, entities in (("processor", self.processors), ("service", self.services)):
            for entity in entities:
                component = entity["component"]
                described = component.get("config", component).get("descriptors") or {}
                found[f"{kind} {component['name']}"] = {
                    nifi_definition.slug(name): one.get("defaultValue") for name, one in described.items()
                }
        return found


def find(client: NifiClient, stream: str) -> Json | None:
    """The process group of a stream: the one that carries its mark, else one of its name without any mark."""
    groups = client.get("/flow/process-groups/root")["processGroupFlow"]["flow"]["processGroups"]
    nameless = None
    for entity in groups:
        component = entity["component"]
        mark = Mark.read(component.get("comments") or "")
        if mark is not None and mark.asset == f"flow/{stream}":
            return dict(entity)
        if mark is None and component["name"] == stream:
            nameless = dict(entity)
    return nameless


def read_group(client: NifiClient, entity: Mapping[str, Any]) -> Group:
    """Everything about a process group."""
    number = entity["id"]
    component = entity["component"]
    bound = (component.get("parameterContext") or {}).get("id")
    return Group(
        number,
        dict(entity),
        Mark.read(component.get("comments") or "") or Mark(""),
        client.get(f"/process-groups/{number}/download"),
        tuple(client.get(f"/process-groups/{number}/processors")["processors"]),
        tuple(
            service
            for service in client.get(f"/flow/process-groups/{number}/controller-services")["controllerServices"]
            if service["component"]["parentGroupId"] == number
        ),
        client.get(f"/parameter-contexts/{bound}") if bound else None,
    )


def differences(spec: FlowSpec, definition: Mapping[str, Any], group: Group) -> list[Difference]:
    """Where a group is not as it should be: components, parameters, secrets, states, each in a line for people."""
    found = nifi_definition.compare(definition["flowContents"], group.contents, group.defaults())
    found += parameter_differences(spec, group)
    found += state_differences(group)
    return found


def parameter_differences(spec: FlowSpec, group: Group) -> list[Difference]:
    """Parameters that are missing or not as they should be. A secret is known by the mark that was left of it."""
    have: dict[str, Json] = {}
    if group.context is not None:
        have = {one["parameter"]["name"]: one["parameter"] for one in group.context["component"]["parameters"]}
    found: list[Difference] = []
    for name, value in sorted(spec.parameters.items()):
        if name not in have:
            found.append(Difference("parameter", name, f"parameter {name} is missing"))
        elif (have[name].get("value") or "") != value:
            said = have[name].get("value") or "empty"
            found.append(Difference("parameter", name, f"parameter {name} is {said}, not {value or 'empty'}"))
    for name, value in sorted(spec.secrets.items()):
        if name not in have:
            found.append(Difference("parameter", name, f"parameter {name} is missing"))
        elif not same_secret(group.mark.secrets.get(name, ""), value):
            found.append(Difference("parameter", name, f"parameter {name} (secret) is not the one that it should be"))
    known = {*spec.parameters, *spec.secrets}
    found += [
        Difference("parameter", name, f"parameter {name} was added by hand")
        for name in sorted(have)
        if name not in known
    ]
    return found


def state_differences(group: Group) -> list[Difference]:
    """Components that do not run, with NiFi's reason where there is one."""
    found: list[Difference] = []
    for entity in group.services:
        component = entity["component"]
        if component["state"] != "ENABLED":
            found.append(_not(component, "service", component["state"].lower()))
    for entity in group.processors:
        component = entity["component"]
        if component.get("extensionMissing"):
            what = f"processor {component['name']}: this NiFi has no {component['type'].rpartition('.')[2]}"
            found.append(Difference("processor", component["name"], what))
        elif component["state"] != "RUNNING":
            found.append(_not(component, "processor", component["state"].lower()))
    return found


def _not(component: Mapping[str, Any], kind: str, state: str) -> Difference:
    errors = component.get("validationErrors") or []
    why = f": {'; '.join(errors)}"[:400] if errors else ""
    return Difference(kind, component["name"], f"{kind} {component['name']} is {state}{why}")


@dataclass(frozen=True)
class Bulletin:
    """A message of NiFi about a component; it keeps them for five minutes. `at` is as NiFi shows it."""

    at: str
    level: str
    source: str
    message: str


@dataclass(frozen=True)
class Queue:
    """A connection between two components: FlowFiles and bytes that wait, how full it is (percent), age in seconds.

    `answers`: it only holds answers to senders, whose readings are in the bucket or were refused.
    """

    name: str
    waiting: int
    bytes: int
    full: int
    oldest: float
    answers: bool = False


@dataclass(frozen=True)
class FlowHealth:
    """How a stream's flow is doing. Counts and bytes are of the last five minutes."""

    stream: str
    exists: bool
    stopped: tuple[str, ...] = ()
    bulletins: tuple[Bulletin, ...] = ()
    queues: tuple[Queue, ...] = ()
    received: int = 0
    received_bytes: int = 0
    sent: int = 0

    @property
    def waiting(self) -> int:
        """FlowFiles that wait, answers left out."""
        return sum(queue.waiting for queue in self.queues if not queue.answers)

    @property
    def oldest(self) -> float:
        """Seconds for which the oldest of them has waited."""
        return max((queue.oldest for queue in self.queues if not queue.answers), default=0.0)


def flow_health(endpoint: NifiEndpoint, stream: str) -> FlowHealth:
    """Bulletins, queues and their ages, and what does not run, of one stream. Raises HomelabError if NiFi is away."""
    with NifiClient(endpoint) as client:
        entity = find(client, stream)
        return FlowHealth(stream, exists=False) if entity is None else group_health(client, stream, entity["id"])


def group_health(client: NifiClient, stream: str, number: str) -> FlowHealth:
    """The same for the process group of this number."""
    found = client.get(f"/flow/process-groups/{number}/status", recursive="true")
    status = found["processGroupStatus"]["aggregateSnapshot"]
    processors = client.get(f"/process-groups/{number}/processors")["processors"]
    answering = {entity["component"]["name"] for entity in processors if entity["component"]["type"] == ANSWERING}
    board = client.get("/flow/bulletin-board", groupId=number, limit="100")["bulletinBoard"]["bulletins"]
    bulletins = [entity["bulletin"] for entity in board if "bulletin" in entity]
    return FlowHealth(
        stream,
        exists=True,
        stopped=tuple(sorted(p["component"]["name"] for p in processors if p["component"]["state"] != "RUNNING")),
        bulletins=tuple(Bulletin(b["timestamp"], b["level"], b["sourceName"], b["message"]) for b in bulletins),
        queues=tuple(
            _queue(client, one["connectionStatusSnapshot"], answering) for one in status["connectionStatusSnapshots"]
        ),
        received=status["flowFilesReceived"],
        received_bytes=status["bytesReceived"],
        sent=status["flowFilesSent"],
    )


def _queue(client: NifiClient, status: Mapping[str, Any], answering: set[str]) -> Queue:
    waiting = int(status["flowFilesQueued"])
    return Queue(
        f"{status['sourceName']} → {status['destinationName']}",
        waiting,
        int(status["bytesQueued"]),
        max(int(status.get("percentUseCount") or 0), int(status.get("percentUseBytes") or 0)),
        _oldest(client, status["id"]) if waiting else 0.0,
        status["destinationName"] in answering,
    )


def _oldest(client: NifiClient, connection: str) -> float:
    """Seconds for which the oldest of the first hundred FlowFiles of a queue has been in NiFi."""
    what = "the list of a queue"
    place = f"/flowfile-queues/{connection}/listing-requests"
    started = client.call("POST", place, what=what)["listingRequest"]
    request = started
    for _ in range(200):
        if request.get("finished"):
            break
        request = client.get(f"{place}/{started['id']}")["listingRequest"]
    client.call("DELETE", f"{place}/{started['id']}", what=what)
    ages = [one.get("lineageDuration") or 0 for one in request.get("flowFileSummaries") or ()]
    return max(ages, default=0) / 1000

"""Flow definitions: what lies in git, made ready for one stream, and compared with what runs.

Belongs here: reading `nifi/flows/*.json` and saying how a running flow differs from one. Not here: NiFi's interface
(client.py), looking and changing (flows.py, changes.py). A definition is what NiFi itself exports and loads
("Download flow definition"), so that anyone can load it by hand too.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from homelab_platform import paths
from homelab_platform.errors import HomelabError

Json = dict[str, Any]

PYTHON_BUNDLE = "python-extensions"
PROCESSOR_SETTINGS = {
    "schedulingStrategy": "scheduling",
    "schedulingPeriod": "run schedule",
    "concurrentlySchedulableTaskCount": "concurrent tasks",
    "executionNode": "execution node",
    "penaltyDuration": "penalty",
    "yieldDuration": "yield",
    "bulletinLevel": "bulletin level",
    "runDurationMillis": "run duration in ms",
    "autoTerminatedRelationships": "relationships that end here",
    "retriedRelationships": "relationships tried again",
    "retryCount": "retries",
    "backoffMechanism": "back-off",
    "maxBackoffPeriod": "longest back-off",
}
"""Settings of a processor: NiFi's name in definitions and in its REST interface, and how people call them."""
CONNECTION_SETTINGS = {
    "backPressureObjectThreshold": "back-pressure objects",
    "backPressureDataSizeThreshold": "back-pressure size",
    "flowFileExpiration": "expiration",
    "prioritizers": "prioritizers",
}
SERVICE_SETTINGS = {"bulletinLevel": "bulletin level"}
_NESTED = ("processGroups", "remoteProcessGroups", "inputPorts", "outputPorts", "funnels")
_SHOWN = 80


@dataclass(frozen=True)
class Difference:
    """One way in which a running flow is not as it should be. `structural`: more than a setting of one component."""

    kind: str
    name: str
    line: str
    structural: bool = False


@dataclass(frozen=True)
class Component:
    """A processor, service or connection of a definition."""

    kind: str
    name: str
    type: str
    settings: Mapping[str, Any]
    words: Mapping[str, str] = field(repr=False)
    properties: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How people call it."""
        return f"{self.kind} {self.name}"


def sources() -> tuple[str, ...]:
    """The kinds of source that there is a flow definition for."""
    return tuple(sorted(file.stem for file in paths.project_path("nifi", "flows").glob("*.json")))


def load(source: str) -> Json:
    """The flow definition for a kind of source. Raises HomelabError when there is none or it cannot be read."""
    file = paths.project_path("nifi", "flows", f"{source}.json")
    if source not in sources():
        raise HomelabError.of(
            str(file), f"there is no flow definition for {source}", f"There are: {', '.join(sources())}."
        )
    try:
        found: Json = json.loads(file.read_text())
        contexts = found["parameterContexts"]
        if len(contexts) != 1 or "processors" not in found["flowContents"]:
            raise KeyError("one parameter context")
    except (ValueError, KeyError) as error:
        raise HomelabError.of(
            str(file), f"is no flow definition: {error}", "Download it anew from NiFi, with one parameter context."
        ) from None
    return found


def declared(definition: Mapping[str, Any]) -> dict[str, Json]:
    """The parameters that a definition declares, by name: `description`, `sensitive` and perhaps a `value`."""
    (context,) = definition["parameterContexts"].values()
    return {one["name"]: one for one in context["parameters"]}


def instance(definition: Mapping[str, Any], name: str, context: str) -> Json:
    """The definition as it is uploaded for one stream: `name` is the group's, `context` the parameter context's.

    Values of parameters are left out: the context is made and filled before, so that no secret stands in a definition.
    """
    made: Json = copy.deepcopy(dict(definition))
    (declaring,) = made["parameterContexts"].values()
    for one in declaring["parameters"]:
        one.pop("value", None)
    made["parameterContexts"] = {context: {**declaring, "name": context}}
    made["flowContents"] |= {"name": name, "parameterContextName": context}
    return made


def components(contents: Mapping[str, Any]) -> dict[str, Component]:
    """The components of a definition's `flowContents` by title. Of two with one name the second is called `… (2)`."""
    found: dict[str, Component] = {}
    seen: Counter[str] = Counter()
    for component in _each(contents):
        seen[component.title] += 1
        number = seen[component.title]
        found[component.title if number == 1 else f"{component.title} ({number})"] = component
    return found


def _each(contents: Mapping[str, Any]) -> Iterator[Component]:
    for one in contents.get("processors", ()):
        settings = {key: _plain(one.get(key)) for key in PROCESSOR_SETTINGS}
        yield Component(
            "processor", one["name"], one["type"], settings, PROCESSOR_SETTINGS, dict(one.get("properties") or {})
        )
    for one in contents.get("controllerServices", ()):
        settings = {key: _plain(one.get(key)) for key in SERVICE_SETTINGS}
        yield Component(
            "service", one["name"], one["type"], settings, SERVICE_SETTINGS, dict(one.get("properties") or {})
        )
    for one in contents.get("connections", ()):
        settings = {key: _plain(one.get(key)) for key in CONNECTION_SETTINGS}
        name = connection_name(one["source"]["name"], one["destination"]["name"], one["selectedRelationships"])
        yield Component("connection", name, "", settings, CONNECTION_SETTINGS)
    for kind in _NESTED:
        for one in contents.get(kind, ()):
            title = re.sub(r"([A-Z])", r" \1", kind.removesuffix("s")).lower()
            yield Component(title, str(one.get("name") or one.get("identifier")), "", {}, {})


def connection_name(source: str, destination: str, relationships: Iterable[str]) -> str:
    """How a connection is called: NiFi gives it no name of its own."""
    return f"{source} → {destination} ({', '.join(sorted(relationships))})"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def slug(name: str) -> str:
    """A property's name however a version of NiFi spells it: `container-queue-size` became `Container Queue Size`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def compare(
    wanted: Mapping[str, Any], running: Mapping[str, Any], defaults: Mapping[str, Mapping[str, str | None]]
) -> list[Difference]:
    """How a running flow's `flowContents` differ from those of its definition.

    `defaults` gives for the title of a running component the default of each of its properties, by slug.
    """
    ours, theirs = components(wanted), components(running)
    found: list[Difference] = []
    for title, component in ours.items():
        other = theirs.get(title)
        if other is None:
            found.append(Difference(component.kind, component.name, f"{title} is missing", structural=True))
        elif other.type != component.type:
            what = f"{title} is a {_short(other.type)}, not a {_short(component.type)}"
            found.append(Difference(component.kind, component.name, what, structural=True))
        else:
            found += _settings(title, component, other)
            found += _properties(title, component, other, defaults.get(title, {}))
    for title, component in theirs.items():
        if title not in ours:
            found.append(Difference(component.kind, component.name, f"{title} was added by hand", structural=True))
    return found


def _settings(title: str, wanted: Component, running: Component) -> Iterator[Difference]:
    for key, value in wanted.settings.items():
        other = running.settings.get(key)
        if value is not None and other != value:
            line = f"{title}: {wanted.words[key]} is {_said(other)}, not {_said(value)}"
            yield Difference(wanted.kind, wanted.name, line)


def _properties(
    title: str, wanted: Component, running: Component, defaults: Mapping[str, str | None]
) -> Iterator[Difference]:
    theirs = {slug(name): value for name, value in running.properties.items()}
    ours = {slug(name): (name, value) for name, value in wanted.properties.items()}
    for key, (name, value) in ours.items():
        other = theirs.get(key)
        if other != value and not (other is None and value == defaults.get(key)):
            yield Difference(wanted.kind, wanted.name, f"{title}: {name} is {_said(other)}, not {_said(value)}")
    for name, value in running.properties.items():
        key = slug(name)
        if key not in ours and value is not None and value != defaults.get(key):
            line = f"{title}: {name} was set to {_said(value)} by hand"
            yield Difference(wanted.kind, wanted.name, line)


def _said(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]

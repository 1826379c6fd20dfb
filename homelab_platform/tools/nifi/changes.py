"""NiFi's flows changed: made, brought up to date in place, stopped, drained, taken away.

Belongs here: every write to a NiFi. Not here: looking (flows.py), the calls themselves (client.py). A change of one
component's settings stops that component alone, so that senders notice nothing; queues always stay. Every change may
be repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.files import write_whole
from homelab_platform.names import Say
from homelab_platform.tools.nifi import definition as nifi_definition
from homelab_platform.tools.nifi import flows, states
from homelab_platform.tools.nifi.client import Json, NifiClient
from homelab_platform.tools.nifi.definition import Difference
from homelab_platform.tools.nifi.flows import FlowSpec, Group, Mark

VERSIONS_KEPT = 20
DRAIN_TIMEOUT = 60.0
_COLUMNS, _WIDE, _HIGH = 4, 480.0, 240.0


def apply_flow(client: NifiClient, spec: FlowSpec, say: Say, *, versions: Path | None = None) -> None:
    """Make the flow of a stream as it should be, running, its queues kept; then leave the fingerprint.

    `versions` is the folder where what ran before is kept as a flow definition. Raises HomelabError that names flow,
    component and NiFi's reason, without leaving the fingerprint.
    """
    definition = spec.definition()
    entity = flows.find(client, spec.stream)
    if entity is None:
        say(f"uploading the flow definition {spec.source}.json")
        number = _create(client, spec, definition)
        previous = ""
    else:
        number = entity["id"]
        previous = _update(client, spec, definition, flows.read_group(client, entity), say, versions=versions)
    states.start(client, spec.asset, number)
    _check(client, spec, definition, number)
    marks = {name: flows.secret_mark(value) for name, value in spec.secrets.items()}
    _comment(client, number, Mark(spec.asset, spec.fingerprint, marks, previous))


def _check(client: NifiClient, spec: FlowSpec, definition: Mapping[str, Any], number: str) -> None:
    """Raise HomelabError when NiFi took something else than it was given: it accepts unknown names without a word."""
    group = flows.read_group(client, client.get(f"/process-groups/{number}"))
    wrong = nifi_definition.compare(definition["flowContents"], group.contents, group.defaults())
    wrong += flows.state_differences(group)
    if wrong:
        lines = "; ".join(one.line for one in wrong[:5])
        raise HomelabError.of(
            spec.asset, f"NiFi did not take the flow as it is: {lines}", f"Look at nifi/flows/{spec.source}.json."
        )


def _create(client: NifiClient, spec: FlowSpec, definition: Mapping[str, Any]) -> str:
    context = _fill_context(client, spec, definition, None)
    snapshot = nifi_definition.instance(definition, spec.stream, spec.context)
    count = len(client.get("/flow/process-groups/root")["processGroupFlow"]["flow"]["processGroups"])
    fields = {
        "file": (f"{spec.stream}.json", json.dumps(snapshot), "application/json"),
        "groupName": spec.stream,
        "positionX": str(count % _COLUMNS * _WIDE),
        "positionY": str(count // _COLUMNS * _HIGH),
        "clientId": client.id,
        "disconnectedNodeAcknowledged": "false",
    }
    made = client.call("POST", "/process-groups/root/process-groups/upload", fields=fields, what=spec.asset)
    number = str(made["id"])
    _comment(client, number, Mark(spec.asset))
    _bind(client, spec, client.get(f"/process-groups/{number}"), context)
    return number


def _update(
    client: NifiClient,
    spec: FlowSpec,
    definition: Mapping[str, Any],
    group: Group,
    say: Say,
    *,
    versions: Path | None,
) -> str:
    """Bring a running flow up to date, and return the name under which the version before was kept."""
    found = nifi_definition.compare(definition["flowContents"], group.contents, group.defaults())
    parameters = flows.parameter_differences(spec, group)
    for one in (*found, *parameters):
        say(one.line)
    previous = group.mark.previous
    if found and versions is not None:
        previous = keep_version(group, spec.stream, versions)
    _comment(client, group.id, Mark(spec.asset, "", group.mark.secrets, previous))
    ours = [one for one in parameters if one.name in spec.parameters or one.name in spec.secrets]
    context = _fill_context(client, spec, definition, ours)
    _bind(client, spec, client.get(f"/process-groups/{group.id}"), context)
    if any(one.structural or one.kind == "service" for one in found):
        _replace(client, spec, definition, group.id, say)
    elif found:
        _patch(client, spec, definition, group, found)
    # only now: what ran before may have referred to them
    _fill_context(client, spec, definition, [one for one in parameters if one not in ours])
    return previous


def _patch(
    client: NifiClient, spec: FlowSpec, definition: Mapping[str, Any], group: Group, found: Iterable[Difference]
) -> None:
    """Change the settings of single processors and connections, each stopped for as long as that takes."""
    touched = {(one.kind, one.name) for one in found}
    wanted = nifi_definition.components(definition["flowContents"])
    services = {one["component"].get("versionedComponentId"): one["id"] for one in group.services}
    for entity in group.processors:
        name = entity["component"]["name"]
        if ("processor", name) in touched:
            component = wanted[f"processor {name}"]
            known = {nifi_definition.slug(one): one for one in entity["component"]["config"]["properties"]}
            properties: dict[str, str | None] = dict.fromkeys(
                known.values()
            )  # what is not ours goes back to its default
            for key, value in component.properties.items():
                properties[known.get(nifi_definition.slug(key), key)] = services.get(value, value)
            settings = {key: value for key, value in component.settings.items() if value is not None}
            config = {**settings, "properties": properties}
            states.stop_processor(client, spec.asset, entity["id"])
            _put(client, f"/processors/{entity['id']}", {"config": config}, f"{spec.asset}: processor {name}")
    for entity in client.get(f"/process-groups/{group.id}/connections")["connections"]:
        one = entity["component"]
        title = nifi_definition.connection_name(
            one["source"]["name"], one["destination"]["name"], one["selectedRelationships"]
        )
        if ("connection", title) in touched:
            settings = dict(wanted[f"connection {title}"].settings)
            _put(client, f"/connections/{entity['id']}", settings, f"{spec.asset}: connection {title}")


def _replace(client: NifiClient, spec: FlowSpec, definition: Mapping[str, Any], number: str, say: Say) -> None:
    """Replace the group's contents; what stays the same component keeps its queue. NiFi refuses to lose one.

    Services have to be disabled meanwhile, and with them everything stops: senders are told to come back.
    """
    say("the flow's structure changes: it stops for a moment")
    states.let_answers_go(client, number)
    states.stop(client, spec.asset, number)
    snapshot = nifi_definition.instance(definition, spec.stream, spec.context)
    entity = client.get(f"/process-groups/{number}")
    body = {"processGroupRevision": entity["revision"], "versionedFlowSnapshot": snapshot}
    try:
        started = client.call("POST", f"/process-groups/{number}/replace-requests", body, what=spec.asset)
        client.finish("/process-groups/replace-requests", started, spec.asset)
    except HomelabError:
        states.start(client, spec.asset, number)  # the old flow goes on
        raise


def _fill_context(
    client: NifiClient, spec: FlowSpec, definition: Mapping[str, Any], found: list[Difference] | None
) -> str:
    """Make the parameter context or change those of its parameters that `found` names (None: all); returns its id."""
    declared = nifi_definition.declared(definition)
    values = {**spec.parameters, **spec.secrets}
    contexts = client.get("/flow/parameter-contexts")["parameterContexts"]
    entity = next((one for one in contexts if one["component"]["name"] == spec.context), None)
    names = set(values) if found is None or entity is None else {one.name for one in found}

    def described(name: str) -> Json:
        if name not in values:
            return {"parameter": {"name": name}}  # without a value: it goes
        about: Json = {"description": declared[name].get("description") or "", "sensitive": declared[name]["sensitive"]}
        return {"parameter": {**about, "name": name, "value": values[name]}}

    parameters = [described(name) for name in sorted(names)]
    if entity is None:
        body: Json = {"revision": client.revision(), "component": {"name": spec.context, "parameters": parameters}}
        return str(client.call("POST", "/parameter-contexts", body, what=f"{spec.asset}: parameters")["id"])
    number = str(entity["id"])
    if parameters:
        fresh = client.get(f"/parameter-contexts/{number}")
        component = {"id": number, "name": spec.context, "parameters": parameters}
        body = {"id": number, "revision": fresh["revision"], "component": component}
        place = f"/parameter-contexts/{number}/update-requests"
        client.finish(place, client.call("POST", place, body, what=f"{spec.asset}: parameters"), spec.asset)
    return number


def _bind(client: NifiClient, spec: FlowSpec, entity: Mapping[str, Any], context: str) -> None:
    """Give the group its parameter context, and the stream's name, unless it has them."""
    component = entity["component"]
    if (component.get("parameterContext") or {}).get("id") == context and component["name"] == spec.stream:
        return
    change = {"name": spec.stream, "parameterContext": {"id": context}}
    _put(client, f"/process-groups/{entity['id']}", change, spec.asset)


def _comment(client: NifiClient, number: str, mark: Mark) -> None:
    _put(client, f"/process-groups/{number}", {"comments": mark.text()}, mark.asset)


def _put(client: NifiClient, path: str, change: Mapping[str, Any], what: str) -> None:
    """Change parts of a component, on its newest version."""
    entity = client.get(path)
    body = {"revision": entity["revision"], "component": {"id": entity["id"], **change}}
    client.call("PUT", path, body, what=what)


def keep_version(group: Group, stream: str, folder: Path) -> str:
    """Keep what runs as a flow definition (it holds no secret), and return the file's name; the oldest go."""
    name = f"{stream}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{group.mark.fingerprint[:8] or 'unknown'}.json"
    write_whole(folder / name, json.dumps(group.snapshot, indent=1, sort_keys=True) + "\n")
    kept = sorted(folder.glob(f"{stream}-[0-9]*T[0-9]*Z-*.json"))
    for old in kept[:-VERSIONS_KEPT]:
        old.unlink()
    return name


def drain(client: NifiClient, asset: str, number: str, say: Say, timeout: float = DRAIN_TIMEOUT) -> flows.FlowHealth:
    """Stop what brings data in, and wait until the queues are empty or `timeout` seconds are over; what is left."""
    stream = asset.partition("/")[2]
    states.let_answers_go(client, number)
    for entity in states.entrances(client, number):
        states.stop_processor(client, asset, entity["id"])
    say("nothing comes in any more; waiting for the queues")
    deadline = time.monotonic() + timeout
    while True:
        left = flows.group_health(client, stream, number)
        if not left.waiting or time.monotonic() > deadline:
            return left
        time.sleep(0.3)


def remove_flow(client: NifiClient, stream: str, say: Say, *, timeout: float = DRAIN_TIMEOUT) -> None:
    """Drain the flow of a stream and delete it with its parameters; one that is gone already is no error.

    Raises HomelabError when something is left in its queues after `timeout` seconds: the flow then stays, takes nothing
    in, and goes on writing what it has.
    """
    asset = f"flow/{stream}"
    entity = flows.find(client, stream)
    context = f"homelab {stream}"
    if entity is not None:
        number = entity["id"]
        left = drain(client, asset, number, say, timeout)
        if left.waiting:
            queues = ", ".join(
                f"{q.waiting} ({q.bytes:,} bytes) in {q.name}" for q in left.queues if q.waiting and not q.answers
            )
            said = f"; NiFi says: {left.bulletins[0].message[:200]}" if left.bulletins else ""
            raise HomelabError.of(
                asset,
                f"was not deleted: after {timeout:.0f} s its queues still hold {queues}{said}",
                "It takes nothing in any more and goes on writing. Look whether the bucket answers, then try again.",
            )
        states.stop(client, asset, number)
        states.drop_answers(client, number)
        fresh = client.get(f"/process-groups/{number}")
        query = {"version": str(fresh["revision"]["version"]), "clientId": client.id}
        client.call("DELETE", f"/process-groups/{number}", query=query, what=asset)
        say("the flow is deleted")
    _remove_context(client, context, asset)


def _remove_context(client: NifiClient, name: str, asset: str) -> None:
    for entity in client.get("/flow/parameter-contexts")["parameterContexts"]:
        component = entity["component"]
        if component["name"] == name and not component.get("boundProcessGroups"):
            query = {"version": str(entity["revision"]["version"]), "clientId": client.id}
            client.call("DELETE", f"/parameter-contexts/{entity['id']}", query=query, what=asset)

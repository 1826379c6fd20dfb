"""States of NiFi's components: enabled, started, stopped, each waited for and verified.

Belongs here: what NiFi takes its time for. A service may stay ENABLING and a processor STARTING for ever: then the
error names it. Not here: what components there should be (changes.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from homelab_platform.errors import HomelabError
from homelab_platform.tools.nifi import flows
from homelab_platform.tools.nifi.client import Json, NifiClient, NifiRefused

ENABLE_TIMEOUT = 60.0
VALID_TIMEOUT = 180.0
"""Seconds; a full NiFi image may make an environment for our processor first."""
START_TIMEOUT = 60.0
STOP_TIMEOUT = 45.0
IDLE_TIMEOUT = 5.0


def start(client: NifiClient, asset: str, group: str) -> None:
    """Enable the services and start the processors of a group; returns once all of it runs.

    Raises HomelabError that names what does not, and NiFi's reason.
    """
    client.call("PUT", f"/flow/process-groups/{group}/controller-services", {"id": group, "state": "ENABLED"})
    _until(
        lambda: [f"service {c['name']} is {c['state'].lower()}{_errors(c)}" for c in _services(client, group)
                 if c["state"] != "ENABLED"],
        asset, ENABLE_TIMEOUT,
    )  # fmt: skip
    for entity in _processors(client, group):
        if entity["component"]["state"] == "DISABLED":
            _run_status(client, entity["id"], "STOPPED", asset)
    _until(
        lambda: [f"processor {c['name']} is not valid{_errors(c)}" for c in _components(client, group)
                 if c["validationStatus"] != "VALID"],
        asset, VALID_TIMEOUT,
    )  # fmt: skip
    client.call("PUT", f"/flow/process-groups/{group}", {"id": group, "state": "RUNNING"}, what=asset)
    _until(
        lambda: [f"processor {c['name']} is {c['state'].lower()}{_errors(c)}" for c in _components(client, group)
                 if c["state"] != "RUNNING"],
        asset, START_TIMEOUT,
    )  # fmt: skip


def stop(client: NifiClient, asset: str, group: str) -> None:
    """Stop the processors and disable the services of a group; returns once nothing of it works any more."""
    client.call("PUT", f"/flow/process-groups/{group}", {"id": group, "state": "STOPPED"}, what=asset)
    for entity in _processors(client, group):
        _wait_stopped(client, asset, entity["id"])
    client.call("PUT", f"/flow/process-groups/{group}/controller-services", {"id": group, "state": "DISABLED"})
    _until(
        lambda: [f"service {c['name']} is {c['state'].lower()}" for c in _services(client, group)
                 if c["state"] != "DISABLED"],
        asset, ENABLE_TIMEOUT,
    )  # fmt: skip


def stop_processor(client: NifiClient, asset: str, number: str) -> None:
    """Stop one processor, and wait until its last thread has ended."""
    entity = client.get(f"/processors/{number}")
    if entity["component"]["state"] not in ("STOPPED", "DISABLED"):
        _run_status(client, number, "STOPPED", asset)
    _wait_stopped(client, asset, number)


def _wait_stopped(client: NifiClient, asset: str, number: str) -> None:
    """Wait for a processor's threads; those that do not end in time are terminated, which loses nothing: NiFi puts
    back what they worked on.
    """
    deadline = time.monotonic() + STOP_TIMEOUT
    while True:
        entity = client.get(f"/processors/{number}")
        busy = entity["status"]["aggregateSnapshot"]["activeThreadCount"]
        if entity["component"]["state"] in ("STOPPED", "DISABLED") and not busy:
            return
        if time.monotonic() > deadline:
            client.call("DELETE", f"/processors/{number}/threads", what=f"{asset}: {entity['component']['name']}")
            deadline += STOP_TIMEOUT
        time.sleep(0.05)


def entrances(client: NifiClient, group: str) -> list[Json]:
    """The processors that bring data in: those that no other one feeds."""
    fed = {
        one["component"]["destination"]["id"]
        for one in client.get(f"/process-groups/{group}/connections")["connections"]
        if one["component"]["source"]["id"] != one["component"]["destination"]["id"]
    }
    return [entity for entity in _processors(client, group) if entity["id"] not in fed]


def let_answers_go(client: NifiClient, group: str) -> None:
    """Wait a few seconds for a moment in which no sender waits: stopping the entrance would cut its answer off."""
    deadline = time.monotonic() + IDLE_TIMEOUT
    while time.monotonic() < deadline:
        status = client.get(f"/flow/process-groups/{group}/status")["processGroupStatus"]["aggregateSnapshot"]
        if not status["flowFilesQueued"]:
            return
        time.sleep(0.05)


def drop_answers(client: NifiClient, group: str) -> None:
    """Empty the queues that hold nothing but answers to senders who have gone."""
    answering = {
        entity["id"] for entity in _processors(client, group) if entity["component"]["type"] == flows.ANSWERING
    }
    for entity in client.get(f"/process-groups/{group}/connections")["connections"]:
        if entity["component"]["destination"]["id"] not in answering:
            continue
        place = f"/flowfile-queues/{entity['id']}/drop-requests"
        request = client.call("POST", place)["dropRequest"]
        for _ in range(100):
            if request.get("finished"):
                break
            time.sleep(0.05)
            request = client.get(f"{place}/{request['id']}")["dropRequest"]
        client.call("DELETE", f"{place}/{request['id']}")


def _run_status(client: NifiClient, number: str, state: str, asset: str) -> None:
    """Set the state of a processor, once more when somebody was quicker."""
    for attempt in range(3):
        entity = client.get(f"/processors/{number}")
        body = {"revision": entity["revision"], "state": state, "disconnectedNodeAcknowledged": False}
        what = f"{asset}: processor {entity['component']['name']}"
        try:
            client.call("PUT", f"/processors/{number}/run-status", body, what=what)
            return
        except NifiRefused as error:
            if error.status != 409 or attempt == 2:
                raise
            time.sleep(0.2)


def _processors(client: NifiClient, group: str) -> list[Json]:
    return list(client.get(f"/process-groups/{group}/processors")["processors"])


def _components(client: NifiClient, group: str) -> list[dict[str, Any]]:
    return [entity["component"] for entity in _processors(client, group)]


def _services(client: NifiClient, group: str) -> list[dict[str, Any]]:
    found = client.get(f"/flow/process-groups/{group}/controller-services")["controllerServices"]
    return [entity["component"] for entity in found if entity["component"]["parentGroupId"] == group]


def _errors(component: dict[str, Any]) -> str:
    errors = component.get("validationErrors") or []
    return f": {'; '.join(errors)}"[:500] if errors else ""


def _until(wrong: Callable[[], list[str]], asset: str, timeout: float) -> None:
    """Wait until nothing is wrong any more. Raises HomelabError with what still is after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.02
    while True:
        found = wrong()
        if not found:
            return
        if time.monotonic() > deadline:
            raise HomelabError.of(asset, "; ".join(found), f"NiFi had {timeout:.0f} s for it. Look at its canvas.")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)

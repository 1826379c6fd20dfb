"""Flows through a real NiFi: what senders are told, what is kept, how drift goes back, how a flow goes away."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.names import silent
from homelab_platform.tools.endpoints import Lakehouse, NifiEndpoint
from homelab_platform.tools.nifi import flows as probes
from homelab_platform.tools.nifi import states
from homelab_platform.tools.nifi.client import NifiClient
from homelab_platform_tests.layers.flows.nifi_lab import Answer, Gate, NifiLab, nifi_lab, post, reading, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def flow(lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path) -> Iterator[NifiLab]:
    """A running HTTP flow of this test's own."""
    with nifi_lab(lakehouse, nifi, tmp_path) as made:
        made.apply()
        yield made


@pytest.fixture
def gated(lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path) -> Iterator[tuple[NifiLab, Gate]]:
    """The same, with a bucket that can be taken away."""
    place = urlsplit(lakehouse.objects.url)
    gate = Gate(place.hostname or "", place.port or 80)
    behind = replace(lakehouse, objects=replace(lakehouse.objects, url=f"http://127.0.0.1:{gate.port}"))
    try:
        with nifi_lab(behind, nifi, tmp_path) as made:
            made.apply()
            yield replace(made, lakehouse=lakehouse), gate
            gate.shut()
            gate.open()
    finally:
        gate.shut()


def component(endpoint: NifiEndpoint, stream: str, name: str) -> dict[str, Any]:
    with NifiClient(endpoint) as client:
        entity = probes.find(client, stream)
        assert entity is not None
        found = client.get(f"/process-groups/{entity['id']}/processors")["processors"]
        return next(one for one in found if one["component"]["name"] == name)


def stop(endpoint: NifiEndpoint, stream: str, name: str) -> None:
    with NifiClient(endpoint) as client:
        states.stop_processor(client, "", component(endpoint, stream, name)["id"])


def test_a_batch_is_answered_once_it_is_in_the_bucket_and_a_second_time_lands_on_the_same_object(flow: NifiLab) -> None:
    batch = [reading(n) for n in range(50)]
    first = post(f"{flow.url}?producer=greenhouse", batch)
    assert (first.status, first.body["readings"]) == (201, 50)
    ((key, body),) = flow.objects().items()
    assert key == first.body["object"]
    assert key.split("/")[2] == "greenhouse"
    assert [json.loads(line) for line in gzip.decompress(body).splitlines()] == batch
    again = post(f"{flow.url}?producer=greenhouse", batch)
    assert (again.status, again.body["object"]) == (200, key)
    assert list(flow.objects()) == [key]


def test_gzip_and_lines_are_taken_as_well(flow: NifiLab) -> None:
    lines = b"\n".join(json.dumps(reading(n)).encode() for n in range(3))
    assert post(flow.url, gzip.compress(lines)).body["readings"] == 3
    assert post(flow.url, reading(7)).body["readings"] == 1


def test_bad_input_is_refused_with_the_reason_and_nothing_is_stored(flow: NifiLab) -> None:
    mixed = post(flow.url, [reading(1), reading(2, ts="yesterday"), reading(3, value="warm")])
    assert mixed.status == 400
    assert mixed.headers["content-type"] == "application/json"
    assert [(item["item"], item["field"]) for item in mixed.body["items"]] == [(2, "ts"), (3, "value")]
    assert post(flow.url, b"hello").body["items"] == [{"item": 1, "reason": "not JSON: unexpected character at 1"}]
    assert post(flow.url, b"").status == 400
    assert post(flow.url, b" " * (17 << 20)).status == 413
    assert post(flow.url.replace("/readings", "/elsewhere"), [reading()]).status == 404
    assert flow.objects() == {}


def test_a_stream_with_a_token_lets_nobody_else_in_and_the_token_is_nowhere_to_be_read(
    lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "t0ken-of-the-greenhouse"
    (tmp_path / "token").write_text(secret)
    said: list[str] = []
    with nifi_lab(lakehouse, nifi, tmp_path, token="file:token") as made:
        made.apply(said.append)
        assert post(made.url, [reading()]).status == 401
        assert post(made.url, [reading()], Authorization="Bearer wrong").status == 401
        assert post(made.url, [reading()], Authorization=f"Bearer {secret}").status == 201
        shown = [*said, str(made.adapter.probe(made.desired)), json.dumps(made.desired.document)]
        shown += [str(exhibit) for exhibit in made.adapter.work(made.desired, {}, said.append)]
        (tmp_path / "token").write_text("another-token-altogether")
        shown.append(str(made.adapter.probe(made.desired)))
        assert "http.token (secret) is not the one that it should be" in shown[-1]
        made.apply(said.append)
        assert post(made.url, [reading(1)], Authorization=f"Bearer {secret}").status == 401
        assert post(made.url, [reading(1)], Authorization="Bearer another-token-altogether").status == 201
        with NifiClient(nifi) as client:
            entity = probes.find(client, made.stream)
            assert entity is not None
            shown.append(str(probes.read_group(client, entity)))
    shown += [*said, *capfd.readouterr()]
    for hidden in (secret, "another-token-altogether", lakehouse.objects.secret_key):
        assert not [text for text in shown if hidden in text]


def test_a_dead_bucket_gives_503_with_a_time_to_come_back_and_afterwards_nothing_is_lost(
    gated: tuple[NifiLab, Gate],
) -> None:
    flow, gate = gated
    assert post(flow.url, [reading(0)]).status == 201
    gate.shut()
    refused = [post(flow.url, [reading(n)]) for n in range(1, 4)]
    assert [(one.status, one.headers.get("retry-after")) for one in refused] == [(503, "5")] * 3
    health = probes.flow_health(flow.endpoint, flow.stream)
    assert any("nothing was stored" in bulletin.message for bulletin in health.bulletins)
    gate.open()

    def comes_back() -> bool:
        return post(flow.url, [reading(1)]).status in (200, 201)

    wait_for(comes_back)
    assert {post(flow.url, [reading(n)]).status for n in (2, 3)} == {201}
    assert len(flow.objects()) == 4


def test_who_has_waited_too_long_is_told_to_come_back_and_nothing_of_it_is_stored(flow: NifiLab) -> None:
    stop(flow.endpoint, flow.stream, "wait")
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(post(flow.url, [reading()])), daemon=True)
    sender.start()
    wait_for(lambda: probes.flow_health(flow.endpoint, flow.stream).waiting == 1)
    wait_for(lambda: probes.flow_health(flow.endpoint, flow.stream).oldest > 20.5)
    with NifiClient(flow.endpoint) as client:
        entity = probes.find(client, flow.stream)
        assert entity is not None
        states.start(client, flow.desired.key, entity["id"])
    sender.join(30)
    assert [(one.status, one.headers.get("retry-after")) for one in answers] == [(503, "5")]
    assert flow.objects() == {}
    assert post(flow.url, [reading()]).status == 201


def test_what_was_changed_by_hand_is_seen_in_words_and_put_back(flow: NifiLab) -> None:
    stop(flow.endpoint, flow.stream, "store")
    store = component(flow.endpoint, flow.stream, "store")
    change = {"concurrentlySchedulableTaskCount": 1, "properties": {"Region": "mars"}}
    with NifiClient(flow.endpoint) as client:
        body = {"revision": store["revision"], "component": {"id": store["id"], "config": change}}
        client.call("PUT", f"/processors/{store['id']}", body)
    seen = flow.adapter.probe(flow.desired).differences
    assert seen == (
        "processor store: concurrent tasks is 1, not 4",
        "processor store: Region is mars, not #{s3.region}",
        "processor store is stopped",
    )
    flow.apply()
    assert post(flow.url, [reading()]).status == 201
    kept = list((flow.root / "flows" / "versions").glob(f"{flow.stream}-*.json"))
    assert len(kept) == 1
    assert "mars" in kept[0].read_text()


def test_a_processor_added_by_hand_goes_and_one_deleted_by_hand_comes_back(flow: NifiLab) -> None:
    with NifiClient(flow.endpoint) as client:
        entity = probes.find(client, flow.stream)
        assert entity is not None
        group = probes.read_group(client, entity)
        extra = {
            "type": "org.apache.nifi.processors.standard.LogAttribute",
            "bundle": group.contents["processors"][0]["bundle"] | {"artifact": "nifi-standard-nar"},
            "name": "mine",
        }
        extra["bundle"] = next(one["bundle"] for one in group.contents["processors"] if one["name"] == "receive")
        client.call(
            "POST", f"/process-groups/{group.id}/processors", {"revision": client.revision(), "component": extra}
        )
        states.stop(client, flow.desired.key, group.id)
        for one in client.get(f"/process-groups/{group.id}/connections")["connections"]:
            if one["component"]["destination"]["name"] == "answer":
                client.call("DELETE", f"/connections/{one['id']}", query={"version": str(one["revision"]["version"])})
    lines = flow.adapter.probe(flow.desired).differences
    assert "processor mine was added by hand" in lines
    assert "connection store → answer (failure, invalid, success, unavailable) is missing" in lines
    assert "service requests is disabled" in lines
    flow.apply()
    assert post(flow.url, [reading()]).status == 201


def test_an_update_in_place_keeps_what_is_queued(flow: NifiLab) -> None:
    stop(flow.endpoint, flow.stream, "store")
    answers: list[Answer] = []
    senders = [
        threading.Thread(target=lambda n=n: answers.append(post(flow.url, [reading(n)])), daemon=True) for n in range(5)
    ]
    for sender in senders:
        sender.start()
    wait_for(lambda: probes.flow_health(flow.endpoint, flow.stream).waiting == 5)
    changed = flow.with_settings(site="attic")  # the fingerprint changes, and the store has to be started
    changed.apply()
    wait_for(lambda: len(flow.objects()) == 5)
    for sender in senders:
        sender.join(30)
    assert [answer.status for answer in answers] == [201] * 5, "no sender noticed anything"


def test_a_change_of_structure_keeps_what_is_queued(flow: NifiLab) -> None:
    stop(flow.endpoint, flow.stream, "store")
    senders = [threading.Thread(target=post, args=(flow.url, [reading(n)]), daemon=True) for n in range(3)]
    for sender in senders:
        sender.start()
    wait_for(lambda: probes.flow_health(flow.endpoint, flow.stream).waiting == 3)
    with NifiClient(flow.endpoint) as client:
        entity = probes.find(client, flow.stream)
        assert entity is not None
        states.stop(client, flow.desired.key, entity["id"])
        service = probes.read_group(client, entity).services[0]
        body = {
            "revision": service["revision"],
            "component": {"id": service["id"], "properties": {"Request Expiration": "2 min"}},
        }
        client.call("PUT", f"/controller-services/{service['id']}", body)
    assert "service requests: Request Expiration is 2 min, not 1 min" in flow.adapter.probe(flow.desired).differences
    flow.apply()
    wait_for(lambda: len(flow.objects()) == 3)
    for sender in senders:
        sender.join(30)


def test_a_flow_that_does_not_drain_stays_and_one_that_does_goes(gated: tuple[NifiLab, Gate]) -> None:
    flow, _gate = gated
    from homelab_platform.tools.nifi import changes

    stop(flow.endpoint, flow.stream, "store")
    sender = threading.Thread(target=post, args=(flow.url, [reading()]), daemon=True)
    sender.start()
    wait_for(lambda: probes.flow_health(flow.endpoint, flow.stream).waiting == 1)
    with NifiClient(flow.endpoint) as client, pytest.raises(HomelabError, match=r"still hold 1 .* in wait → store"):
        changes.remove_flow(client, flow.stream, silent, timeout=1)
    assert flow.adapter.probe(flow.desired).exists
    with NifiClient(flow.endpoint) as client:
        entity = probes.find(client, flow.stream)
        assert entity is not None
        states.start(client, flow.desired.key, entity["id"])
    flow.adapter.remove(flow.desired.key, flow.desired.document, silent)
    assert not flow.adapter.probe(flow.desired).exists
    assert len(flow.objects()) == 1, "what was queued was written before the flow went"
    sender.join(30)


def test_nifi_writes_with_a_key_that_may_do_nothing_else(
    lakehouse: Lakehouse, nifi: NifiEndpoint, tmp_path: Path
) -> None:
    with nifi_lab(lakehouse, nifi, tmp_path, grants=True) as made:
        made.apply()
        batch = [reading()]
        assert [post(made.url, batch).status for _ in range(2)] == [201, 200]
        with NifiClient(nifi) as client:
            entity = probes.find(client, made.stream)
            assert entity is not None
            context = probes.read_group(client, entity).context
        assert context is not None
        shown = {one["parameter"]["name"]: one["parameter"].get("value") for one in context["component"]["parameters"]}
        assert shown["s3.access_key"] != lakehouse.objects.access_key


def test_a_definition_with_an_unknown_property_is_named_and_leaves_no_fingerprint(
    flow: NifiLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from homelab_platform import paths

    project = tmp_path / "project"
    (project / "nifi" / "flows").mkdir(parents=True)
    definition = json.loads(paths.project_path("nifi", "flows", "http.json").read_text())
    for processor in definition["flowContents"]["processors"]:
        if processor["name"] == "store":
            processor["properties"]["Bukket"] = "x"
    (project / "nifi" / "flows" / "http.json").write_text(json.dumps(definition))
    monkeypatch.setenv("HOMELAB_PROJECT", str(project))
    monkeypatch.setattr(states, "VALID_TIMEOUT", 3.0)
    changed = flow.with_settings(site="attic")
    with pytest.raises(HomelabError, match=r"(?s)store.*Bukket"):
        changed.apply()
    assert changed.adapter.probe(changed.desired).fingerprint == ""

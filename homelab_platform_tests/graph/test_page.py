"""The door before Dagster's page: what a web page in the owner's browser could try, on the real page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homelab_platform.graph.door import LOOPBACK_NAMES, Door, host_of, mutates, names_from, refusal

MUTATION = "mutation{setNuxSeen}"
QUERY = "{version}"
JSON = {"content-type": "application/json"}
HOST = {"host": "127.0.0.1:3000"}
EVIL = {"host": "127.0.0.1:3000", "origin": "http://evil.example", "sec-fetch-site": "cross-site"}


@pytest.mark.parametrize(
    ("method", "headers", "address"),
    [
        ("GET", {"host": "evil.example"}, ""),
        ("GET", {"host": "127.0.0.1.evil.example:3000"}, ""),
        ("GET", {}, ""),
        ("GET", HOST, f"query={quote(MUTATION)}"),
        ("GET", EVIL, f"query={quote('query a {version} ' + MUTATION)}&operationName=a"),
        ("HEAD", HOST, f"query={quote(QUERY)}&query={quote(MUTATION)}"),
        ("POST", HOST | {"content-type": "text/plain"}, f"query={quote(MUTATION)}"),
        ("POST", HOST | {"content-type": "text/plain; application/json"}, ""),
        ("POST", HOST | {"content-type": "application/graphql"}, ""),
        ("POST", HOST | {"content-type": "application/x-www-form-urlencoded"}, ""),
        ("POST", HOST, ""),
        ("POST", EVIL | JSON, ""),
        ("POST", HOST | JSON | {"sec-fetch-site": "same-site"}, ""),
        ("POST", HOST | JSON | {"origin": "null"}, ""),
        ("POST", HOST | JSON | {"origin": "http://127.0.0.1:8080"}, ""),
        ("PUT", HOST | JSON, ""),
        ("DELETE", HOST, ""),
    ],
)
def test_what_is_refused(method: str, headers: dict[str, str], address: str) -> None:
    assert refusal(method, headers, address, LOOPBACK_NAMES)


@pytest.mark.parametrize(
    ("method", "headers", "address"),
    [
        ("GET", HOST, ""),
        ("GET", {"host": "LOCALHOST:3000"}, f"query={quote(QUERY)}"),
        ("GET", {"host": "[::1]:3000"}, ""),
        ("HEAD", HOST, ""),
        ("POST", HOST | JSON, ""),
        ("POST", HOST | {"content-type": "application/json; charset=utf-8", "origin": "http://127.0.0.1:3000"}, ""),
        ("POST", HOST | JSON | {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}, ""),
    ],
)
def test_what_is_answered(method: str, headers: dict[str, str], address: str) -> None:
    assert refusal(method, headers, address, LOOPBACK_NAMES) == ""


def test_an_ingress_adds_its_names() -> None:
    names = names_from({"HOMELAB_PAGE_NAMES": "dagster.lab.example.org, homelab-platform"})
    assert refusal("GET", {"host": "dagster.lab.example.org"}, "", names) == ""
    assert refusal("GET", {"host": "dagster.lab.example.com"}, "", names)


@given(st.text(max_size=80))
def test_no_host_is_taken_for_ours_that_is_not(text: str) -> None:
    if host_of(text) in LOOPBACK_NAMES:
        assert any(name in text.lower() for name in LOOPBACK_NAMES)


@given(st.sampled_from(["", "query a {version} ", "fragment f on Query {version} "]), st.text("{} \n#,", max_size=5))
def test_a_mutation_is_seen_wherever_it_stands(before: str, after: str) -> None:
    document = f"{before}{MUTATION}"
    assert mutates(document)
    assert mutates(document + " # {") and not mutates(f"{before}{QUERY}")


def test_a_connection_for_subscriptions_takes_no_mutation_and_no_foreign_page() -> None:
    heard: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            heard.append(message["text"])

    def connect(headers: dict[str, str], *queries: str) -> list[Any]:
        sent: list[Any] = []
        texts = [json.dumps({"type": "start", "payload": {"query": query}}) for query in queries]
        waiting = [{"type": "websocket.receive", "text": text} for text in texts] + [{"type": "websocket.disconnect"}]

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
        asyncio.run(Door(page, LOOPBACK_NAMES)(scope, receive, send))
        return sent

    assert connect(HOST, "subscription {x}", MUTATION, "subscription {y}") == []
    assert len(heard) == 1 and "subscription {x}" in heard[0]
    for headers in ({"host": "evil.example"}, EVIL):
        assert connect(headers, "subscription {z}")[0]["type"] == "websocket.close"
    assert len(heard) == 1


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page as a site starts it, with an empty workspace."""
    home: Path = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (home / "workspace.yaml").write_text("load_from: []\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-Wignore", "-m", "homelab_platform.graph.page", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workspace", str(home / "workspace.yaml")],
        env={**os.environ, "DAGSTER_HOME": str(home)},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    yield address
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def ask(address: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(address, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
def test_a_web_page_can_neither_run_nor_read_the_graph(page: str) -> None:
    graphql, in_address = f"{page}/graphql", f"{page}/graphql?query={quote(MUTATION)}"
    evil = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    body = json.dumps({"query": MUTATION}).encode()
    attempts = [
        (in_address, {"Host": "evil.example", **evil}, None),  # an <img> of a page that rebinds its name
        (in_address, evil, None),  # an <img>
        (in_address, {"Content-Type": "text/plain", **evil}, b""),  # a POST that needs no preflight
        (graphql, {"Content-Type": "text/plain; application/json", **evil}, body),
        (f"{page}/server_info", {"Host": "evil.example"}, None),  # reading by a name that points here
    ]
    for address, headers, data in attempts:
        status, text = ask(address, headers, data)
        assert status == 403, (address, headers)
        assert text.startswith("Refused: ")
    # The page itself, and our own programs, are answered as before.
    own = {"Content-Type": "application/json", "Origin": page, "Sec-Fetch-Site": "same-origin"}
    assert json.loads(ask(graphql, own, body)[1]) == {"data": {"setNuxSeen": True}}
    assert json.loads(ask(graphql, {"Content-Type": "application/json"}, body)[1]) == {"data": {"setNuxSeen": True}}
    assert "version" in json.loads(ask(f"{graphql}?query={quote(QUERY)}")[1])["data"]
    assert ask(f"{page}/asset-groups")[0] == 200

"""The whole loop on real hosts and a real cluster: described, made real, measured, changed, unplugged.

One test, because making a lab takes minutes; each part has a function of its own, named for what it shows. Everything
is done by the command `homelab`, as a person would; only the plug is pulled by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.servers.install.helm import kubectl_binary
from homelab_platform_tests.operations.test_patch_real_host import ASKS_FOR_A_RESTART, offer
from homelab_platform_tests.testlab import demo, lab
from homelab_platform_tests.testlab.demo import Loop

pytestmark = [pytest.mark.testlab, pytest.mark.servers, pytest.mark.slow]

CHECK = """
query ($path: [String!]!) {
  assetCheckExecutions(assetKey: {path: $path}, checkName: "answers", limit: 1) { evaluation { success description } }
}
"""

PATCHED = """
query ($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 1) { description } } }
}
"""


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A lab of its own that was made real from nothing."""
    running = lab.start()
    # Not below pytest's own folder: another session of pytest shuts that one to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="homelab-loop-") as folder:
        try:
            found, _ = demo.begin(running, Path(folder), print)
            try:
                demo.close_the_loop(found)
                yield found
            finally:
                found.down()
        finally:
            running.leave()


@pytest.mark.timeout(900)
def test_a_lab_is_made_real_keeps_itself_and_is_changed_piece_by_piece(loop: Loop) -> None:
    a_second_apply_finds_nothing_to_do(loop)
    the_hosts_own_telemetry_can_be_asked_and_drawn(loop)
    the_way_from_hosts_to_marts_is_one_picture(loop)
    an_edit_touches_exactly_what_it_means(loop)
    people_have_their_own_way_into_the_cluster(loop)
    updates_are_named_made_and_leave_nothing_to_apply(loop)
    a_pulled_plug_turns_red_and_green_again_by_itself(loop)


def a_second_apply_finds_nothing_to_do(loop: Loop) -> None:
    assert loop.pending() == []
    before = loop.applied()
    assert loop.apply() == {}
    assert loop.applied() == before


def the_hosts_own_telemetry_can_be_asked_and_drawn(loop: Loop) -> None:
    rows = loop.query(
        "SELECT device, max(value) AS top FROM hive.default.sensor_data WHERE sensor = 'memory' GROUP BY 1"
    )
    assert {row["device"] for row in rows} == {"pi-1", "pi-2", "pi-3"}
    assert all(0 < row["top"] <= 100 for row in rows)


def the_way_from_hosts_to_marts_is_one_picture(loop: Loop) -> None:
    query = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"
    nodes = ask(loop, query, {})["assetNodes"]
    after: dict[str, set[str]] = {}
    for node in nodes:
        for before in node["dependencyKeys"]:
            after.setdefault("/".join(before["path"]), set()).add("/".join(node["assetKey"]["path"]))
    reached, front = set(), {"host/pi-3"}
    while front:
        reached |= front
        front = {later for key in front for later in after.get(key, ())} - reached
    assert {"flow/machines", "table/sensor_data", "mart/readings_hourly"} <= reached


def an_edit_touches_exactly_what_it_means(loop: Loop) -> None:
    """One workload's value, one host's firewall rule, one mart: those three, whoever of us and the daemon is first."""
    before = loop.applied()
    edit(loop, r"(nginx: \{.*)memory: 32Mi", r"\1memory: 48Mi")
    edit(
        loop,
        r"(pi-3: \{board: pi4-2gb, os: raspios, )",
        r"\1firewall: {extra: {allow: [8088], from: lan, why: test}}, ",
    )
    marts = loop.lab_file.parent / "marts"
    marts.mkdir()
    (marts / "warmest.sql").write_text(
        "SELECT date, device, max(max) AS busiest FROM marts.readings_hourly WHERE sensor = 'cpu'\n"
        "GROUP BY date, device\n"
    )
    (marts / "warmest.yaml").write_text(
        "about: The busiest moment of each machine.\ncolumns:\n  date: {type: date, about: day}\n"
        "  device: {type: text, about: machine}\n  busiest: {type: number, unit: '%', about: busiest moment}\n"
        "sort: [device]\n"
    )
    results = loop.apply("--yes")
    assert all(result["status"] == "applied" for result in results.values()), results
    loop.wait_for("nothing is pending any more", lambda: loop.pending() == [])
    assert {k for k, at in loop.applied().items() if at != before.get(k)} == {
        "workload/nginx", "host/pi-3", "mart/warmest",
    }  # fmt: skip
    assert "8088" in loop.lab.host("pi-3").ssh("nft list ruleset").stdout
    assert "8088" not in loop.lab.host("pi-2").ssh("nft list ruleset").stdout


def edit(loop: Loop, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, loop.lab_file.read_text())
    assert count == 1, pattern
    loop.lab_file.write_text(text)


def people_have_their_own_way_into_the_cluster(loop: Loop) -> None:
    file = loop.lab_file.parent / "ada.kubeconfig"
    loop.homelab("kubeconfig", "ada", "--lab", str(loop.lab_file), "--output", str(file))
    assert file.stat().st_mode & 0o077 == 0
    asked = [str(kubectl_binary()), f"--kubeconfig={file}", "auth", "whoami", "-o", "json"]
    known = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)["status"]["userInfo"]
    assert known["username"] == "ada" and "homelab:admin" in known["groups"]
    assert "There are: ada." in loop.homelab("kubeconfig", "eve", "--lab", str(loop.lab_file), codes=(1,), errors=True)


def updates_are_named_made_and_leave_nothing_to_apply(loop: Loop) -> None:
    """A real site asks real hosts; what it saves is proven, or it would not patch."""
    host = loop.lab.host("pi-3")
    offer(host, ("homelab-dummy", "1.0", ":"))
    host.ssh("apt-get -q update && apt-get -y -q install homelab-dummy", timeout=120)
    offer(host, ("homelab-dummy", "1.1", ASKS_FOR_A_RESTART))
    loop.lab_file.write_text(
        f"{loop.lab_file.read_text()}\npatching: {{settle: 1s, window: every Sunday 03:00-05:00}}\n"
    )
    found = {
        row["host"]: row for row in loop.asked("patch", "--dry-run", "--lab", str(loop.lab_file), codes=(2,))["hosts"]
    }
    assert list(found) == ["pi-2", "pi-1", "pi-3"], "agents, servers, the rest"
    assert [update["name"] for update in found["pi-3"]["updates"]] == ["homelab-dummy"]
    assert found["pi-1"]["why"] == found["pi-2"]["why"] == ""
    done = loop.asked("patch", "pi-3", "--yes", "--lab", str(loop.lab_file))
    assert [(row["state"], row["updates"], row["rebooted"]) for row in done["hosts"]] == [("patched", 1, True)]
    event = ask(loop, PATCHED, {"key": {"path": ["patch", "pi-3"]}})["assetOrError"]["assetMaterializations"]
    assert event[0]["description"] == "patched"
    loop.wait_for("nothing is pending", lambda: loop.pending() == [])


def a_pulled_plug_turns_red_and_green_again_by_itself(loop: Loop) -> None:
    host = loop.lab.host("pi-3")
    loop.wait_for("pi-3 answers", lambda: verdict(loop, "pi-3") is True, 60)
    host.unplug()
    try:
        loop.wait_for("pi-3 is red", lambda: verdict(loop, "pi-3") is False, 60)
    finally:
        host.plug()
    loop.wait_for("pi-3 is green", lambda: verdict(loop, "pi-3") is True, 60)


def verdict(loop: Loop, host: str) -> bool | None:
    """What the check of a host says in the UI; None before it said anything."""
    found = ask(loop, CHECK, {"path": ["host", host]})["assetCheckExecutions"]
    return bool(found[0]["evaluation"]["success"]) if found and found[0]["evaluation"] else None


def ask(loop: Loop, query: str, variables: dict[str, Any]) -> Any:
    """What the UI's server answers."""
    site = json.loads((loop.data / "test-lab" / "site.json").read_text())
    body = json.dumps({"query": query, "variables": variables}).encode()
    url = f"http://127.0.0.1:{site['ports']['ui']}/graphql"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        found = json.load(answer)
    assert "errors" not in found, found["errors"]
    return found["data"]

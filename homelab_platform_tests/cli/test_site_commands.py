"""A whole life of a small lab on its embedded site, through the command line alone: real servers, real Dagster."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.paths import PROJECT

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]

LAB = """\
lab: attic
domain: attic.example.org
timezone: Europe/London
hosts:
  pi-1: {board: pi5-8gb, os: raspios, address: 192.168.1.10, k3s: server}
network: {lan: 192.168.1.0/24, gateway: 192.168.1.1}
streams:
  machine:
    from: machine
    sensors:
      cpu: {unit: '%', range: [0, 100], every: 10s}
    keep: {raw: 30d, table: 2y}
"""
WAITING = "SELECT count(*) AS n FROM hive.default.sensor_data WHERE device = 'greenhouse'"


@dataclass(frozen=True)
class Attic:
    """The lab's folder and how to call the command there."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `homelab` in the lab's folder; the exit code is part of what is expected."""
        command = [sys.executable, "-c", "from homelab_platform.cli.main import run; run()", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def status(self) -> Any:
        """What `homelab status --json` says; its exit code is the one that it names."""
        command = [sys.executable, "-c", "from homelab_platform.cli.main import run; run()", "status", "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        said = json.loads(done.stdout)
        assert done.returncode == said["exit_code"], done.stderr
        return said

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def attic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attic]:
    """The lab's site, up for all tests of this module."""
    folder = tmp_path_factory.mktemp("attic")
    (folder / "lab.yaml").write_text(LAB, encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="homelab-cli-") as data:
        environment = {**os.environ, "HOMELAB_DATA": data, "COLUMNS": "200"}
        environment.pop("HOMELAB_LAB", None)
        lab = Attic(folder, environment)
        try:
            (folder / "up.json").write_text(lab.run("up", "--json").stdout, encoding="utf-8")
            yield lab
        finally:
            lab.run("down")


@contextmanager
def edited(attic: Attic, before: str, after: str) -> Iterator[None]:
    """The lab file with one text replaced, for the length of a block."""
    path = attic.folder / "lab.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_up_answers_a_first_query_with_readings_of_this_machine(attic: Attic) -> None:
    said = json.loads((attic.folder / "up.json").read_text(encoding="utf-8"))
    assert said["site"]["running"] is True
    assert {result["status"] for result in said["applied"]["results"]} == {"applied"}
    assert {row[1] for row in said["first_query"]["rows"]} >= {"cpu", "memory", "disk"}


def test_a_second_up_changes_nothing(attic: Attic) -> None:
    before = attic.status()["site"]["servers"]
    assert attic.json("up")["applied"]["results"] == []
    after = attic.status()["site"]["servers"]
    assert [server["pid"] for server in after] == [server["pid"] for server in before]


def test_the_whole_site_stays_small(attic: Attic) -> None:
    assert attic.status()["site"]["memory"] <= 1.2 * 2**30


def test_plan_of_an_applied_lab_is_empty_and_leaves_with_0(attic: Attic) -> None:
    said = attic.json("plan")
    assert [step["key"] for step in said["steps"] if step["action"] != "none"] == []
    assert "host/pi-1" in said["external"]


def test_the_seeds_own_query_works_as_it_stands(attic: Attic) -> None:
    sql = "SELECT * FROM hive.default.sensor_data WHERE date > CURRENT_DATE - INTERVAL '7' DAY;"
    rows = attic.json("query", sql)
    assert {"ts", "device", "sensor", "value", "unit", "quality"} <= set(rows[0])
    lines = attic.run("query", sql, "--format", "csv", "--limit", "2").stdout.splitlines()
    assert len(lines) == 3


def test_a_foreign_csv_counts_once_however_often_it_is_ingested(attic: Attic) -> None:
    path = attic.folder / "greenhouse.csv.gz"
    rows = "".join(f"2026-03-0{day} 12:00:00,{day + 0.5}\n" for day in range(1, 6))
    path.write_bytes(gzip.compress(f"when,celsius\n{rows}".encode()))
    options = [
        "--map",
        "ts=when",
        "--map",
        "value=celsius",
        "--set",
        "device=greenhouse",
        "--set",
        "sensor=temperature",
        "--tz",
        "Europe/London",
        "--stream",
        "garden",
        "--new-stream",
    ]
    assert "5 readings" in attic.run("ingest", path, *options).stdout
    assert "was ingested before" in attic.run("ingest", path, *options).stdout
    assert attic.json("query", WAITING) == [{"n": 5}]
    copy = attic.folder / "copy.csv"
    copy.write_bytes(gzip.decompress(path.read_bytes()))
    assert "5 already there" in attic.run("ingest", copy, *options).stdout
    assert attic.json("query", WAITING) == [{"n": 5}]


def test_a_line_that_is_no_reading_is_shown_with_its_number_and_reason(attic: Attic) -> None:
    path = attic.folder / "mixed.ndjson"
    path.write_text(
        '{"ts":"2026-03-01T00:00:00Z","device":"shed","sensor":"door","value":1}\nnot json\n', encoding="utf-8"
    )
    attic.run("ingest", path, "--stream", "shed", "--new-stream")
    found = [row for row in attic.json("readings", "rejected") if "mixed" in row["source"]]
    assert [(row["line"], row["raw"]) for row in found] == [(2, "not json")]
    assert found[0]["reason"]


def test_a_wrong_delivery_is_named_and_taken_back(attic: Attic) -> None:
    path = attic.folder / "cellar.csv"
    path.write_text(
        "time,device,temp\n"
        + "".join(f"2026-03-01T00:{n // 60:02}:{n % 60:02}Z,cellar,{n}\n" for n in range(250))
        + "2026-03-01T00:00:00Z,cellar,77\n"
    )
    typo = attic.run("ingest", path, "--stream", "machines", code=1).stderr
    assert "did you mean machine?" in typo
    said = attic.run("ingest", path, "--stream", "cellar", "--new-stream", code=1)
    assert "250 readings" in said.stdout
    assert "1 line contradict" in said.stderr
    assert attic.json("query", WAITING.replace("greenhouse", "cellar")) == [{"n": 250}]
    assert "--yes" in attic.run("readings", "undo", "--stream", "cellar", code=1).stderr
    assert attic.json("readings", "undo", "--stream", "cellar", "--yes")["readings"] == 250
    assert attic.json("query", WAITING.replace("greenhouse", "cellar")) == [{"n": 0}]
    empty = attic.folder / "words.csv"
    empty.write_text("time,temp\n" + "".join(f"2026-03-01T00:00:{n:02}Z,off\n" for n in range(30)))
    assert "--map value=COLUMN" in attic.run("ingest", empty, code=1).stderr


def test_a_file_that_is_not_there_sends_nothing(attic: Attic) -> None:
    said = attic.run("ingest", attic.folder / "greenhose.csv", code=1)
    assert "greenhose.csv" in said.stderr


def test_an_edit_is_planned_applied_and_then_done(attic: Attic) -> None:
    with edited(attic, "raw: 30d", "raw: 40d"):
        planned = attic.run("plan", "--no-refresh", code=2).stdout
        assert re.search(r"bucket/readings-raw +update", planned), planned
        assert "mart/" not in planned
        applied = attic.json("apply", "--yes")
        assert [(r["key"], r["status"]) for r in applied["results"]] == [("bucket/readings-raw", "applied")]
        attic.run("plan")
    attic.run("apply", "--yes", "--confirm", "bucket/readings-raw")


def test_shorter_retention_is_a_loss_of_data_that_has_to_be_confirmed_by_name(attic: Attic) -> None:
    with edited(attic, "raw: 30d", "raw: 7d"):
        refused = attic.run("apply", "--yes", code=1)
        assert "homelab apply --confirm bucket/readings-raw" in refused.stderr
        mistyped = attic.run("apply", "--yes", "--confirm", "bucket/reading-raw", code=1)
        assert "Did you mean bucket/readings-raw?" in mistyped.stderr
        attic.run("plan", code=2)
        attic.run("apply", "--confirm", "bucket/readings-raw")
        attic.run("plan")
    attic.run("apply", "--yes")


def test_a_broken_lab_is_refused_before_anything_happens(attic: Attic) -> None:
    with edited(attic, "192.168.1.10,", "192.168.1.1,"):
        said = attic.run("apply", "--yes", code=1)
        assert "lab.yaml:5:" in said.stderr
    attic.run("plan")


def test_an_unknown_asset_is_named_with_the_nearest_one(attic: Attic) -> None:
    said = attic.run("apply", "--only", "mart/gap", code=1)
    assert "Did you mean mart/gaps?" in said.stderr


def test_a_wrong_query_points_at_the_column_and_offers_the_right_one(attic: Attic) -> None:
    said = attic.run("query", "SELECT valu FROM hive.default.sensor_data", code=1)
    assert "Did you mean value?" in said.stderr


def test_the_ui_answers_where_open_says(attic: Attic) -> None:
    url = attic.json("open", "table/sensor_data")["url"]
    with urllib.request.urlopen(url, timeout=30) as page:
        assert page.status == 200


def test_status_counts_the_streams_readings(attic: Attic) -> None:
    said = attic.run("status", code=attic.status()["exit_code"]).stdout
    assert re.search(r"machine [\d,]+ readings today, newest", said), said
    assert re.search(r"elsewhere +\d+ assets? out of reach of this site", said), said


def test_a_run_that_fails_is_in_status_doctor_and_logs_until_it_works_again(attic: Attic) -> None:
    """A run with a configuration that cannot work, launched as the UI does, through its door."""
    before = attic.status()["health"]
    assert before["assets"]["in_sync"] == before["assets"]["within_reach"] > 0
    url = attic.json("open")["url"]
    config = "{ops: {mart__readings_daily: {config: {dates: [never]}}}}"
    launch = (
        'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "homelab", repositoryName: '
        f'"__repository__", jobName: "marts"}}, runConfigData: "{config}"}}) '
        "{ __typename ... on LaunchRunSuccess { run { runId } } } }"
    )
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", data=json.dumps({"query": launch}).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        run = json.load(answer)["data"]["launchRun"]["run"]["runId"]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (broken := _broken_jobs(attic)):
        time.sleep(2)
    (finding,) = broken
    assert finding["where"] == "job marts" and run[:8] in finding["remedy"]
    assert attic.status()["exit_code"] == 1
    assert "job marts" in attic.run("doctor", code=1).stdout
    events = attic.json("logs", run[:8])
    assert events["run"] == run and any(event["failed"] for event in events["events"])
    assert any(one["run"] == run[:8] for one in attic.json("logs")["failed_runs"])
    attic.run("backfill", "readings_daily")
    assert _broken_jobs(attic) == []
    assert attic.json("logs", "code", "-n", "3")["lines"]


def _broken_jobs(attic: Attic) -> list[dict[str, str]]:
    return [one for one in attic.status()["health"]["findings"] if one["where"].startswith("job ")]


def test_make_dev_refuses_beside_the_running_site(attic: Attic) -> None:
    program = [str(PROJECT / "scripts" / "dev"), str(Path(sys.executable).parents[1]), str(attic.folder)]
    done = subprocess.run(program, env=attic.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "the site of lab attic runs" in done.stderr


def test_simulated_readings_are_counted_and_marked_as_simulated(attic: Attic) -> None:
    said = attic.json("readings", "simulate", "machine", "--for", "1h")
    assert 0 < said["rows"] + said["duplicates"] <= 360, "a simulated device is silent in one quarter of a hundred"
    rows = attic.json("query", "SELECT count(*) AS n FROM hive.default.sensor_data WHERE quality = 'simulated'")
    assert rows[0]["n"] >= said["rows"] > 0
    wrong = attic.run("readings", "simulate", "machine", "--for", "2hh", code=1)
    assert "is not a duration" in wrong.stderr

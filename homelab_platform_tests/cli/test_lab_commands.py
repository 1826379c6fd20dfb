"""What a person sees of `homelab init`, `check`, `show` and `schema`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from homelab_platform.paths import project_path
from homelab_platform_tests.cli.conftest import Homelab

EXAMPLES = sorted(p.parent for p in project_path("examples").glob("*/lab.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_init_writes_a_lab_that_check_accepts(homelab: Homelab, tmp_path: Path) -> None:
    folder = tmp_path / "attic"
    assert homelab("init", folder).code == 0
    said = homelab("check", folder)
    assert said.code == 0
    assert "1 item with state and no backup: cluster" in said.err
    assert "No errors" in said.out
    first = (folder / "lab.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=lab.schema.json"
    assert (folder / "lab.schema.json").is_file()


def test_init_never_overwrites_a_lab(homelab: Homelab, tmp_path: Path) -> None:
    path = write(tmp_path, "lab: mine\n")
    said = homelab("init", tmp_path)
    assert said.code == 1
    assert "left as it was" in said.err
    assert path.read_text(encoding="utf-8") == "lab: mine\n"


def test_init_from_an_example_brings_its_files_along(homelab: Homelab, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert homelab("init", folder, "--from", "pi-cluster").code == 0
    assert homelab("check", folder).code == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_every_example_passes_check(homelab: Homelab, example: Path) -> None:
    said = homelab("check", example, "--json")
    assert said.code == 0
    assert [problem for problem in said.json()["problems"] if problem["level"] == "error"] == []


def test_check_names_what_has_no_effect_in_this_version_and_is_content(homelab: Homelab, tmp_path: Path) -> None:
    assert homelab("init", tmp_path, "--from", "pi-cluster").code == 0
    said = homelab("check", tmp_path)
    assert said.code == 0
    assert "without effect in this version" in said.err
    assert "terraform: no Terraform files are generated" in said.err


def test_check_says_what_took_the_place_of_an_old_name(homelab: Homelab, tmp_path: Path) -> None:
    assert homelab("init", tmp_path, "--from", "single-nixos").code == 0
    path = tmp_path / "lab.yaml"
    write(tmp_path, path.read_text(encoding="utf-8").replace("  seerr:", "  jellyseerr:"))
    said = homelab("check", tmp_path)
    assert said.code == 0
    assert "jellyseerr: Jellyseerr and Overseerr became Seerr" in said.out


def test_check_says_every_error_with_its_place_and_leaves_with_1(homelab: Homelab, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "lab: attic\n"
        "domain: lab.example.org\n"
        "hosts:\n"
        "  pi-1: {board: pi5-8gb, os: raspios, adress: 192.168.0.11}\n"
        "  pi-2: {board: pi5-8gb, os: rasbios, address: 192.168.0.12}\n",
    )
    said = homelab("check", path)
    assert said.code == 1
    assert f"{path}:4:" in said.err
    assert f"{path}:5:" in said.err
    assert "Did you mean address?" in said.err
    assert "raspios" in said.err
    assert said.err.rstrip().endswith("Nothing was changed.")


def test_a_missing_lab_file_is_one_clear_line(homelab: Homelab, tmp_path: Path) -> None:
    said = homelab("check", tmp_path / "nowhere")
    assert said.code == 1
    assert "no lab file is here" in said.err
    assert "Traceback" not in said.err


def test_errors_come_as_json_when_json_was_asked_for(homelab: Homelab, tmp_path: Path) -> None:
    said = homelab("show", "--lab", tmp_path / "nowhere", "--json")
    assert said.code == 1
    assert said.json()["problems"][0]["what"] == "no lab file is here"


def test_a_wrong_option_leaves_with_1_because_2_means_changes_pending(homelab: Homelab) -> None:
    said = homelab("check", "--nonsense")
    assert said.code == 1
    assert "--nonsense" in said.err


def test_show_json_is_the_resolved_lab_and_the_same_in_every_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from homelab_platform.cli.main import run; run()",
        "show",
        "--json",
        "--lab",
        str(project_path("examples", "pi-cluster")),
    ]
    outputs = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b'"pi-worker-3"' in outputs.pop()


def test_show_one_workload_says_where_it_runs_and_is_reached(homelab: Homelab) -> None:
    said = homelab("show", "workload/trino", "--lab", project_path("examples", "pi-cluster"))
    assert said.code == 0
    assert "placement: pi-worker-1" in said.out
    assert "trino.lab.example.org" in said.out


def test_show_why_names_the_origin_of_each_value(homelab: Homelab) -> None:
    said = homelab("show", "workload/trino", "--why", "--lab", project_path("examples", "pi-cluster"))
    assert said.code == 0
    assert "lab.yaml:" in said.out
    assert "helm/trino/workload.yaml" in said.out


def test_show_an_unknown_name_lists_what_there_is(homelab: Homelab) -> None:
    said = homelab("show", "host/pi-9", "--lab", project_path("examples", "pi-cluster"))
    assert said.code == 1
    assert "pi-worker-1" in said.err


def test_schema_is_json_schema_with_descriptions(homelab: Homelab) -> None:
    schema = homelab("schema").json()
    assert schema["properties"]["hosts"]["description"]
    assert "$schema" in schema

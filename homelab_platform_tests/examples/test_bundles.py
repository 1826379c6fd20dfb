"""A bundle's name in a lab file means its members."""

from __future__ import annotations

from pathlib import Path

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import Position
from homelab_platform.lab.check import check_loaded
from homelab_platform.lab.load import load_lab

LAB = """\
lab: home
hosts:
  server: {board: vm, os: nixos, cpu: 8, memory: 32Gi, address: 192.168.1.10, k3s: server, disks: {nvme: 1Ti}}
network: {lan: 192.168.1.0/24, gateway: 192.168.1.1}
storage: {media: {on: local, size: 500Gi}}
workloads:
"""


def check(folder: Path, workloads: str) -> tuple[list[tuple[int, str]], set[str], dict[str, str]]:
    """Line and text of each problem, the names that run, and how each is signed in to."""
    path = folder / "lab.yaml"
    path.write_text(LAB + workloads, encoding="utf-8")
    problems, resolved = check_loaded(load_lab(path), load_catalogue())
    assert resolved is not None
    found = [(p.where.line if isinstance(p.where, Position) else 0, p.what) for p in problems]
    return found, set(resolved.workloads), {name: w.exposure for name, w in resolved.workloads.items()}


def test_its_members_run_in_its_place_as_it_says(tmp_path: Path) -> None:
    _, names, ways = check(tmp_path, "  arr-stack: {expose: cluster}\n")
    assert names == {"prowlarr", "qbittorrent", "sonarr", "radarr"}
    assert set(ways.values()) == {"cluster"}


def test_what_is_said_of_a_member_itself_wins(tmp_path: Path) -> None:
    _, names, ways = check(tmp_path, "  arr-stack: {expose: cluster}\n  sonarr: {expose: none}\n")
    assert names == {"prowlarr", "qbittorrent", "sonarr", "radarr"}
    assert ways["sonarr"] == "none"
    assert ways["radarr"] == "cluster"


def test_what_is_wrong_with_a_bundle_is_shown_where_it_stands(tmp_path: Path) -> None:
    problems, _, _ = check(tmp_path, "  # a comment\n  arr-stack: {colour: red}\n")
    assert {(line, what) for line, what in problems if "colour" in what} == {
        (8, f"{name}: unknown key colour") for name in ("prowlarr", "qbittorrent", "sonarr", "radarr")
    }


def test_a_workload_brings_the_operator_that_runs_it(tmp_path: Path) -> None:
    problems, names, _ = check(tmp_path, "  postgresql:\n")
    assert problems == []
    assert names == {"postgresql", "cloudnative-pg"}


def test_what_is_said_of_an_operator_is_kept(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB + "  postgresql:\n  cnpg: {memory: 200Mi}\n", encoding="utf-8")
    _, resolved = check_loaded(load_lab(tmp_path / "lab.yaml"), load_catalogue())
    assert resolved is not None
    assert {name: w.memory for name, w in resolved.workloads.items() if name != "postgresql"} == {"cnpg": 200 * 2**20}

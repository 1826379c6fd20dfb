"""Each example lab is one seed, whole: every component it names, no problem found, the same bytes every time."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.lab.check import check_lab, load_resolved
from homelab_platform.lab.load import load_lab
from homelab_platform.paths import PROJECT
from homelab_platform_tests.examples.seeds import SEEDS

FOLDER = PROJECT / "examples"
LABS = sorted(SEEDS)
SEED_TEXTS = PROJECT.parent / "shared" / "seeds"
# how the seed says it where its own words are in another order
SAID = {"Elasticsearch of ELK Stack": "ELK Stack", "Ansible on Raspberry Pis": "Ansible on Raspberry Pis"}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def lab_file(name: str) -> Path:
    return FOLDER / name / "lab.yaml"


@functools.cache
def loaded(name: str) -> Any:
    """The lab as plain data."""
    return load_lab(lab_file(name)).lab.model_dump(mode="json", by_alias=True)


@functools.cache
def resolved(name: str) -> Any:
    """`lab.json` as plain data."""
    return json.loads(load_resolved(lab_file(name), load_catalogue()).to_json())


def value_at(tree: Any, path: str) -> Any:
    """What stands at `a.b.c`; fails the test when a part of the path is missing."""
    for part in path.split("."):
        if not isinstance(tree, dict) or part not in tree:
            pytest.fail(f"{path}: nothing is called {part}")
        tree = tree[part]
    return tree


def test_there_is_one_example_for_each_seed() -> None:
    found = {path.parent.name for path in FOLDER.glob("*/lab.yaml")}
    assert sorted(found - {"test-lab"}) == LABS  # that one is no seed: it describes the lab that tests start
    assert sorted(number for number, _ in SEEDS.values()) == ["000", "001", "002", "003", "004"]


@pytest.mark.parametrize("name", LABS)
def test_no_problem_is_found(name: str, catalogue: Catalogue) -> None:
    assert [str(problem) for problem in check_lab(lab_file(name), catalogue)] == []


@pytest.mark.parametrize(
    ("name", "component", "place"),
    [(name, component, place) for name in LABS for component, place in SEEDS[name][1].items()],
)
def test_every_component_that_the_seed_names_is_in_the_example(name: str, component: str, place: str) -> None:
    path, _, wanted = place.partition("=")
    found = value_at(resolved(name) if path.startswith("lab.json:") else loaded(name), path.removeprefix("lab.json:"))
    if wanted:
        words = [str(item) for item in (found if isinstance(found, list) else [found])]
        assert wanted in words, component
    else:
        assert found not in ("", [], ()), component


@pytest.mark.parametrize("name", LABS)
def test_the_components_are_words_of_the_seed(name: str) -> None:
    number, components = SEEDS[name]
    texts = sorted(SEED_TEXTS.glob(f"{number}_*"))
    if not texts:
        pytest.skip("the seeds are not beside this checkout")
    text = " ".join(texts[0].read_text(encoding="utf-8").lower().split())
    assert [c for c in components if " ".join(SAID.get(c, c).lower().split()) not in text] == []


@pytest.mark.parametrize("name", LABS)
def test_it_has_streams_of_readings_and_backups_that_are_proven(name: str) -> None:
    lab = load_lab(lab_file(name)).lab
    assert lab.streams
    assert all(stream.sensors for stream in lab.streams.values())
    assert lab.backups.plans
    assert all(plan.drill != "never" for plan in lab.backups.plans.values())


def test_the_fleet_has_fifteen_nixos_machines() -> None:
    hosts = load_lab(lab_file("nixos-fleet")).lab.hosts
    assert sum(host.os == "nixos" for host in hosts.values()) >= 15


@pytest.mark.parametrize("name", LABS)
def test_keys_are_public_and_each_person_has_their_own(name: str) -> None:
    keys = [path.read_text(encoding="ascii") for path in (FOLDER / name / "keys").glob("*.pub")]
    assert keys
    assert all(key.startswith("ssh-ed25519 ") and "PRIVATE" not in key for key in keys)
    assert len({key.split()[1] for key in keys}) == len(keys)


@pytest.mark.parametrize("name", LABS)
def test_it_resolves_to_the_same_bytes_in_any_process(name: str, catalogue: Catalogue, tmp_path: Path) -> None:
    here = load_resolved(lab_file(name), catalogue).to_json()
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from homelab_platform.catalog.load import load_catalogue\n"
        "from homelab_platform.lab.check import load_resolved\n"
        "sys.stdout.buffer.write(load_resolved(Path(sys.argv[1]), load_catalogue()).to_json())\n"
    )
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code, lab_file(name)],
            env={"PYTHONHASHSEED": seed, "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            check=True,
        )
        assert there.stdout == here
    assert sorted(json.loads(here)["hosts"]) == sorted(load_lab(lab_file(name)).lab.hosts)

"""Many files make one lab: includes, values of one workload, public keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import check_lab
from homelab_platform.lab.load import load_lab
from homelab_platform.lab.resolve.lab import resolve
from homelab_platform_tests.lab.helpers import complaints, loaded, write
from homelab_platform_tests.lab.strategies import catalogue, example_paths

HOST = "{board: pi5-8gb, os: raspios}"


def test_included_files_join_by_name_and_keep_their_places(tmp_path: Path) -> None:
    write(tmp_path, f"hosts:\n  pi-2: {HOST}\n", "hosts/two.yaml")
    write(tmp_path, f"hosts:\n  pi-3: {HOST}\nworkloads:\n  trino:\n", "hosts/three.yaml")
    lab = loaded(tmp_path, f"lab: x\ninclude: hosts/*.yaml\nhosts:\n  pi-1: {HOST}\n")
    assert sorted(lab.lab.hosts) == ["pi-1", "pi-2", "pi-3"]
    assert "trino" in lab.lab.workloads
    assert str(lab.positions.at("hosts", "pi-2", "board")) == "hosts/two.yaml:2:17"
    assert [f.name for f in lab.files] == ["lab.yaml", "three.yaml", "two.yaml"]


def test_a_name_in_two_files_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, f"hosts:\n  pi-1: {HOST}\n", "more.yaml")
    said = complaints(tmp_path, f"lab: x\ninclude: more.yaml\nhosts:\n  pi-1: {HOST}\n")
    assert said.startswith("more.yaml:2:3: hosts.pi-1 is already in lab.yaml:4:3")


def test_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "hosts:\n  pi-2: {board: pi9, os: raspios}\n", "a.yaml")
    write(tmp_path, "hosts: {\n", "b.yaml")
    write(tmp_path, "include: c.yaml\nlab: y\n", "c.yaml")
    said = complaints(tmp_path, "lab: x\ninclude: [a.yaml, b.yaml, c.yaml, gone.yaml, /etc/passwd]\nstorge: nfs\n")
    for part in (
        "a.yaml:2:17: pi-2: board: pi9 is not a board",
        "b.yaml:2:1: this is not YAML",
        "c.yaml:1:1: include stands in an included file",
        "c.yaml:2:1: lab stands in an included file",
        "lab.yaml:2:35: no file matches gone.yaml",
        "lab.yaml:2:46: /etc/passwd is not a path beside the lab file",
        "lab.yaml:3:1: unknown key storge",
    ):
        assert part in said


def test_a_file_that_includes_itself_is_read_once(tmp_path: Path) -> None:
    assert loaded(tmp_path, "lab: x\ninclude: '*.yaml'\n").lab.lab == "x"


def test_values_of_a_workload_lie_under_those_of_the_lab_file(tmp_path: Path) -> None:
    write(tmp_path, "server: {workers: 1, node: {env: prod}}\nkeep: [1]\n", "workloads/trino/values.yaml")
    lab = loaded(tmp_path, "lab: x\nworkloads:\n  trino: {values: {server: {workers: 2}}}\n")
    assert lab.lab.workloads["trino"].values == {"server": {"workers": 2, "node": {"env": "prod"}}, "keep": [1]}
    path = ("workloads", "trino", "values", "server", "node", "env")
    assert str(lab.positions.at(*path)) == "workloads/trino/values.yaml:1:34"
    assert str(lab.positions.at("workloads", "trino", "values", "server", "workers")).startswith("lab.yaml:3")


def test_values_reach_a_workload_of_which_nothing_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a: 1\n", "workloads/trino/values.yaml")
    assert loaded(tmp_path, "lab: x\nworkloads: [trino]\n").lab.workloads["trino"].values == {"a": 1}


def test_values_of_a_workload_that_the_lab_has_not_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a: 1\n", "workloads/trin/values.yaml")
    said = complaints(tmp_path, "lab: x\nworkloads: {trino: }\n")
    assert said == "workloads/trin/values.yaml: the lab has no workload trin\n    Did you mean trino?"


def test_public_keys_are_read_and_private_ones_never(tmp_path: Path) -> None:
    write(tmp_path, "ssh-ed25519 AAAAC3Nz ada@x\n", "keys/ada.pub")
    write(tmp_path, "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n", "keys/ben")
    lab = loaded(
        tmp_path,
        """\
        lab: x
        people:
          ada: {role: admin, ssh: [keys/ada.pub, ssh-rsa AAAAB3 spare]}
          ben: {role: dev, ssh: keys/ben}
          cy: {role: dev, ssh: keys/gone.pub}
        """,
    )
    people = resolve(lab, catalogue()).people
    assert people["ada"].ssh_keys == ("ssh-ed25519 AAAAC3Nz ada@x", "ssh-rsa AAAAB3 spare")
    assert people["ben"].ssh_keys == ("keys/ben",)
    assert people["cy"].ssh_keys == ("keys/gone.pub",)


def test_an_unknown_workload_and_its_settings_are_answered(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        lab: x
        workloads:
          trnio:
          trino: {memry: 2Gi}
          monitoring: {keep: forever, profile: huge}
          my-app: {image: 'ghcr.io/ada/my-app:1', ports: {http: 8080}}
        """,
    )
    said = "\n".join(str(p) for p in check_lab(path, catalogue()))
    assert "lab.yaml:3:3: no workload is called trnio\n    Did you mean trino?" in said
    assert "lab.yaml:4:11: trino: unknown key memry\n    Did you mean memory?" in said
    assert "lab.yaml:5:22: monitoring: keep: forever is not a duration" in said
    assert "lab.yaml:5:40: monitoring: profile: huge is not one of lite, full" in said
    assert "my-app: unknown" not in said


def test_no_setting_of_the_catalogue_hides_behind_a_key_of_every_workload() -> None:
    from homelab_platform.lab.model.workloads import Workload

    common = {info.alias or name for name, info in Workload.model_fields.items()}
    hidden = {f"{name}.{key}" for name in catalogue() for key in catalogue()[name].settings if key in common}
    assert hidden == set()


@pytest.mark.parametrize("path", example_paths(), ids=lambda p: p.parent.name)
def test_every_example_passes_every_check(path: Path) -> None:
    assert check_lab(path, catalogue()) == []


def test_a_folder_without_a_lab_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(HomelabError, match="there is no such file"):
        load_lab(tmp_path / "lab.yaml")

"""What the platform's own chart is told follows from the lab: its file, its servers, who may open the page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.paths import project_path
from homelab_platform.plan import platform_values
from homelab_platform.plan.values import values_of

WORKLOADS = """workloads:
  postgresql: {on: pi-1, size: 1Gi}
  seaweedfs: {on: pi-1, size: 2Gi}
  dagster: {expose: cluster, values: {runs: {retries: 5}}}

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The test lab's example with the platform in it."""
    folder = tmp_path / "lab"
    shutil.copytree(project_path("examples", "test-lab"), folder)
    text = (folder / "lab.yaml").read_text()
    start, end = text.index("workloads:\n"), text.index("streams:\n")
    (folder / "lab.yaml").write_text(text[:start] + WORKLOADS + text[end:])
    return folder


def told(folder: Path) -> dict[str, Any]:
    """The values of the platform."""
    catalogue = load_catalogue(folder / "helm")
    lab = load_resolved(folder / "lab.yaml", catalogue)
    return values_of(lab, lab.workloads["dagster"], catalogue["dagster"], folder)


def test_the_labs_own_servers_and_its_files_are_used(folder: Path) -> None:
    values = told(folder)
    assert values["postgres"]["host"] == "postgresql.data-platform.svc"
    assert values["s3"]["url"] == "http://seaweedfs.data-platform.svc:8333"
    assert values["network"]["apiServers"] == [{"cidr": "10.77.0.11/32", "port": 6443}]
    assert values["network"]["from"] == [], "nobody opens a page without a sign-in"
    assert values["runs"] == {"retries": 5}, "what a person says comes on top"
    assert values["lab"]["lab.yaml"] == (folder / "lab.yaml").read_text()
    assert {"keys/ada.pub", "helm/postgresql/workload.yaml"} <= values["lab"].keys()


def include(folder: Path, name: str, text: str) -> None:
    """Write a file and have the lab file read it."""
    (folder / name).write_text(text)
    lab = folder / "lab.yaml"
    lab.write_text(lab.read_text().replace("workloads:\n", f"include: {name}\nworkloads:\n", 1))


def test_text_of_the_lab_that_looks_like_a_reference_stays_as_it_is(folder: Path) -> None:
    include(folder, "own.yaml", "# ${HOME} ${workload.name}\ntasks: {}\n")
    assert told(folder)["lab"]["own.yaml"] == "# ${HOME} ${workload.name}\ntasks: {}\n"


def test_what_only_lies_beside_the_lab_file_stays_where_it_is(folder: Path) -> None:
    for name in ("kubeconfig.yaml", "compose/app.yml", "secrets/dns.yaml", "notes.sql", ".hidden.yaml", "known_hosts"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("password: cAnArY\n")
    assert "cAnArY" not in str(told(folder))


def test_a_secret_in_a_file_that_the_lab_reads_is_refused(folder: Path) -> None:
    include(folder, "own.yaml", "# token ghp_" + "a1B2" * 8 + "\ntasks: {}\n")
    with pytest.raises(HomelabError, match=r"own\.yaml: holds a GitHub token in plain text"):
        told(folder)


def test_a_lab_too_large_for_a_configmap_is_refused_with_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_values, "LARGEST", 1000)
    with pytest.raises(HomelabError, match="no ConfigMap takes"):
        told(folder)

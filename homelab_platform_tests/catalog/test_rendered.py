"""Every entry that runs as pods, in every example lab: rendered where its chart is ours, else held to its facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from homelab_platform.catalog.load import Catalogue, load_catalogue
from homelab_platform.catalog.lock import digest_of, input_files
from homelab_platform.lab.check import check_lab
from homelab_platform.paths import project_path
from homelab_platform.plan.workload.manifests import manifests_of
from homelab_platform.servers.install.helm import helm_binary
from homelab_platform.tools.kube.api import Cluster
from homelab_platform.tools.kube.releases import Helm
from homelab_platform_tests.catalog.rendering import EXAMPLES, Scene, example_scenes, own_scene, paths_of


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The project's."""
    return load_catalogue()


@pytest.fixture(scope="module")
def scenes(catalogue: Catalogue) -> list[tuple[str, Scene]]:
    """Every workload of the example labs, and every entry that is not refused in a lab of its own."""
    found = [(example, scene) for example in EXAMPLES for scene in example_scenes(example, catalogue)]
    own = [entry for entry in catalogue.values() if entry.kind in ("helm", "kustomize") and entry.refusal is None]
    return [*found, *(("own", own_scene(entry, catalogue)) for entry in own if entry.name not in ALONE)]


ALONE = {"dagster", "collector"}
"""Of our own charts, told things that only a whole lab has; their own tests render them."""


def test_no_entry_is_unverified(catalogue: Catalogue) -> None:
    assert [name for name, entry in catalogue.items() if entry.verified == "unverified"] == []


def test_what_cannot_be_deployed_is_refused_at_the_line_that_names_it(catalogue: Catalogue, tmp_path: Path) -> None:
    lines = [
        "version: 1",
        "lab: x",
        "domain: x.example.org",
        "hosts:",
        "  pi: {board: pi5-8gb, os: raspios, k3s: server}",
    ]
    refused = [name for name, entry in catalogue.items() if entry.refusal is not None]
    (tmp_path / "lab.yaml").write_text("\n".join([*lines, "workloads:", *(f"  {name}:" for name in refused)]) + "\n")
    found = {p.where.line for p in check_lab(tmp_path / "lab.yaml", catalogue) if p.rule == "refused-workload"}  # type: ignore[union-attr]
    assert found == {len(lines) + 2 + index for index in range(len(refused))}
    assert len(refused) >= 45


@pytest.mark.slow
def test_our_own_charts_lose_nothing_and_open_nothing(scenes: list[tuple[str, Scene]]) -> None:
    helm = Helm(helm_binary(), Cluster(Path("/nonexistent")))
    found = {}
    judged = 0
    named = {scene.workload.catalogue for lab, scene in scenes if lab != "own"}
    for lab, scene in scenes:
        if scene.entry is None or scene.entry.chart_source is not None or scene.workload.chart == "homelab-platform":
            continue
        if lab == "own" and scene.entry.name in named:
            continue
        faults = scene.faults(scene.rendering(helm))
        judged += 1
        if faults:
            found[lab, scene.workload.name] = faults
    assert found == {}
    assert judged >= 25


@pytest.mark.slow
def test_vendors_charts_are_told_what_was_rendered(scenes: list[tuple[str, Scene]]) -> None:
    """A change of values without a new rendering, and a value that no chart was seen to read, are found."""
    for lab, scene in scenes:
        entry = scene.entry
        if entry is None or entry.chart_source is None:
            continue
        assert entry.lock is not None, entry.name
        again = f"{lab}/{entry.name}: run scripts/catalogue-lock {entry.name}"
        assert entry.lock.version.lstrip("v") == entry.chart_source.version.lstrip("v"), again
        assert entry.lock.inputs == digest_of(input_files(project_path("helm", entry.name))), again
        assert set(paths_of(scene.values())) - set(entry.lock.keys) == set(), again


def test_services_and_labels_are_those_of_the_renderings(scenes: list[tuple[str, Scene]]) -> None:
    for lab, scene in scenes:
        entry, workload = scene.entry, scene.workload
        if entry is None or entry.lock is None or lab != "own":
            continue
        beside = {item["metadata"]["name"] for item in manifests_of(scene.lab, workload, scene.folder)}
        made_by_operators = not entry.lock.pods
        for port, service in workload.services.items():
            assert service in {*entry.lock.services, *beside} or made_by_operators, f"{entry.name}: {port}"
        for pods in entry.lock.pods:
            assert any(labels.items() <= pods.labels.items() for labels in workload.labels()), (
                f"{entry.name}: {pods.object}"
            )


def test_whether_a_lab_fits_counts_what_the_pods_request(catalogue: Catalogue) -> None:
    """Sidecars included: the verdict of `check` is never kinder than the scheduler's."""
    short = {}
    for name, entry in catalogue.items():
        for what in ("memory", "cpu") if entry.lock is not None else ():
            pods = entry.lock.pods  # type: ignore[union-attr]
            asked = sum(getattr(found, what) * (1 if found.per_node else found.replicas) for found in pods)
            if asked > getattr(entry, what):
                short[name, what] = asked
    assert short == {}


def test_the_same_lab_renders_the_same_values_whatever_the_environment(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [scene.values() for scene in example_scenes("single-pi", catalogue)]
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert [scene.values() for scene in example_scenes("single-pi", catalogue)] == first
